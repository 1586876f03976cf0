//! A foreign key that refers to the rows of a cleaned table, and what the configuration says about
//! it.

/// What the configuration says about tables that refer to a cleaned one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReferenceRules<'r> {
    /// Whether foreign keys are enforced; otherwise nothing refers.
    pub enforced: bool,
    /// Tables whose referring rows are deleted first.
    pub cascade: &'r [String],
    /// Tables whose references are set to NULL first.
    pub set_null: &'r [String],
}

/// What happens to the rows that refer to a deleted one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReferenceAction {
    /// They keep it from being deleted: RESTRICT, NO ACTION, or SET NULL of a column that may not
    /// be NULL.
    Protect,
    /// The schema has them deleted along with it: ON DELETE CASCADE.
    Cascade,
    /// The configuration has them deleted first.
    DeleteFirst,
    /// The configuration has their reference set to NULL first.
    SetNullFirst,
}

/// One foreign key, and those that refer to the rows that go by it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub table: String,
    /// The columns that refer, and those that they refer to.
    pub columns: Vec<String>,
    pub parent_columns: Vec<String>,
    pub action: ReferenceAction,
    /// Whether an index finds the rows that refer to a given one.
    pub is_indexed: bool,
    /// Whether there is an index on the columns, be it of use or not.
    pub has_index: bool,
    pub children: Vec<Node>,
}
