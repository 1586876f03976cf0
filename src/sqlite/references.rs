//! What refers to the rows of a table by foreign keys, and what that means when they are deleted: rows that stay protected,
//! rows that go with them, and rows that the configuration has deleted or cut off first.
//!
//! It makes SQL and runs none of it but the reading of the schema.

use std::collections::BTreeMap;

use rusqlite::Connection;

use super::foreign_keys::gather;
use super::shape::TableShape;
use super::tables::quoted;

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
pub enum Action {
    /// They keep it from being deleted: RESTRICT, NO ACTION, or SET NULL of a column that may not be NULL.
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
    pub action: Action,
    pub children: Vec<Node>,
}

/// What refers to the rows of one table.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct References {
    table: String,
    key: Vec<String>,
    nodes: Vec<Node>,
    /// SQL for the bytes of a row's values, by table.
    bytes: BTreeMap<String, String>,
}

/// Rows of another table that a deletion also changes, as a condition on them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Consequence {
    pub table: String,
    pub action: Action,
    /// True for the rows concerned.
    condition: String,
    bytes: String,
    columns: Vec<String>,
}

impl Consequence {
    /// Counts the rows and the bytes of their values.
    pub fn tally(&self) -> String {
        let Self { table, condition, bytes, .. } = self;
        format!("SELECT count(*), ifnull(sum({bytes}), 0) FROM main.{} WHERE {condition}", quoted(table))
    }

    /// The statement that litekeeper runs first; `None` where SQLite does it.
    pub fn statement(&self) -> Option<String> {
        let table = quoted(&self.table);
        match self.action {
            Action::Protect | Action::Cascade => None,
            Action::DeleteFirst => Some(format!("DELETE FROM main.{table} WHERE {}", self.condition)),
            Action::SetNullFirst => {
                let set: Vec<String> =
                    self.columns.iter().map(|column| format!("{} = NULL", quoted(column))).collect();
                Some(format!("UPDATE main.{table} SET {} WHERE {}", set.join(", "), self.condition))
            }
        }
    }
}

fn tuple(columns: &[String], of: &str) -> String {
    let columns: Vec<String> = columns.iter().map(|column| format!("{of}{}", quoted(column))).collect();
    match columns.as_slice() {
        [one] => one.clone(),
        several => format!("({})", several.join(", ")),
    }
}

/// The references that keep rows of `parent`, as (table, SQL that is true where one does).
fn protections(
    nodes: &[Node],
    parent: &str,
    own: Option<(&str, &[String])>,
    depth: usize,
) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (number, node) in nodes.iter().enumerate() {
        let alias = format!("r{depth}_{number}");
        // The parent's column stands first, as its collation decides.
        let pairs = node.parent_columns.iter().zip(&node.columns);
        let mut joined: Vec<String> =
            pairs.map(|(to, from)| format!("{parent}.{} = {alias}.{}", quoted(to), quoted(from))).collect();
        let from = format!("SELECT 1 FROM main.{} AS {alias} WHERE", quoted(&node.table));
        match node.action {
            Action::Protect => {
                if let Some((root, key)) = own.filter(|(root, _)| node.table.eq_ignore_ascii_case(root)) {
                    // A row that refers to itself keeps nobody.
                    let same = key.iter().map(|part| format!("{alias}.{part} IS {}.{part}", quoted(root)));
                    joined.push(format!("NOT ({})", same.collect::<Vec<_>>().join(" AND ")));
                }
                found.push((node.table.clone(), format!("EXISTS ({from} {})", joined.join(" AND "))));
            }
            Action::Cascade | Action::DeleteFirst => {
                for (table, deeper) in protections(&node.children, &alias, None, depth + 1) {
                    let joined = joined.join(" AND ");
                    found.push((table, format!("EXISTS ({from} {joined} AND {deeper})")));
                }
            }
            Action::SetNullFirst => {}
        }
    }
    found
}

impl References {
    /// Reads what refers to a table; inside, why the configuration does not fit.
    pub(super) fn read(
        connection: &Connection,
        shape: &TableShape,
        rules: ReferenceRules<'_>,
    ) -> rusqlite::Result<Result<Self, String>> {
        if !rules.enforced {
            return Ok(Ok(Self::default()));
        }
        let gathered = gather(connection, &shape.name, rules)?;
        let (table, key) = (shape.name.clone(), shape.key.clone());
        Ok(gathered.map(|(nodes, bytes)| Self { table, key, nodes, bytes }))
    }

    /// Whether the table refers to itself so that its rows keep each other.
    #[must_use]
    pub fn is_self_referencing(&self) -> bool {
        self.own().is_some()
    }

    /// Whether nothing refers to the table.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The table whose rows are deleted.
    pub(super) fn table(&self) -> &str {
        &self.table
    }

    /// Every table that loses rows, the cleaned one first.
    #[must_use]
    pub fn tables_that_lose_rows(&self) -> Vec<String> {
        let consequences = self.consequences(&|columns| columns.to_owned());
        let lost = consequences.into_iter().filter(|one| one.action != Action::SetNullFirst);
        std::iter::once(self.table.clone()).chain(lost.map(|one| one.table)).collect()
    }

    /// Whether a name is that of the table whose rows are deleted.
    pub(super) fn is_of(&self, table: &str) -> bool {
        self.table.eq_ignore_ascii_case(table)
    }

    fn own(&self) -> Option<&Node> {
        let is_own =
            |node: &&Node| node.action == Action::Protect && node.table.eq_ignore_ascii_case(&self.table);
        self.nodes.iter().find(is_own)
    }

    /// Tables whose foreign keys keep rows, each with SQL that is true for a row that it keeps.
    pub(super) fn protections(&self) -> Vec<(String, String)> {
        protections(&self.nodes, &quoted(&self.table), Some((&self.table, &self.key)), 0)
    }

    /// SQL that is true for a row that nothing keeps, to be appended to a condition.
    pub(super) fn filter(&self) -> String {
        let kept: Vec<String> = self.protections().into_iter().map(|(_, sql)| sql).collect();
        if kept.is_empty() { String::new() } else { format!(" AND NOT ({})", kept.join(" OR ")) }
    }

    /// A query for the number of expired rows of a table that refers to itself which stay, because a row that stays refers to
    /// them, by however many steps. `from` and `condition` select the expired rows.
    pub(super) fn kept_in_chain(&self, from: &str, condition: &str) -> Option<String> {
        let own = self.own()?;
        let table = format!("main.{}", quoted(&self.table));
        let key = |of: &str| {
            let parts: Vec<String> = self.key.iter().map(|part| format!("{of}{part}")).collect();
            if parts.len() == 1 { parts.join("") } else { format!("({})", parts.join(", ")) }
        };
        let list =
            |of: &str| self.key.iter().map(|part| format!("{of}{part}")).collect::<Vec<_>>().join(", ");
        let names: Vec<String> = (0..self.key.len()).map(|number| format!("k{number}")).collect();
        let names = names.join(", ");
        let refers = |parent: &str, child: &str| {
            let pairs = own.parent_columns.iter().zip(&own.columns);
            let pairs = pairs.map(|(to, from)| format!("{parent}.{} = {child}.{}", quoted(to), quoted(from)));
            pairs.collect::<Vec<_>>().join(" AND ")
        };
        let root = quoted(&self.table);
        let mut first: Vec<String> = self
            .protections()
            .into_iter()
            .filter_map(|(kept_by, sql)| (!kept_by.eq_ignore_ascii_case(&self.table)).then_some(sql))
            .collect();
        first.push(format!(
            "EXISTS (SELECT 1 FROM {table} AS c WHERE {} AND {} NOT IN (SELECT {names} FROM e))",
            refers(&root, "c"),
            key("c.")
        ));
        let same =
            self.key.iter().zip(names.split(", ")).map(|(part, name)| format!("c.{part} = kept.{name}"));
        Some(format!(
            "WITH RECURSIVE e({names}) AS MATERIALIZED (SELECT {own_key} FROM {from} WHERE {condition}), \
             kept({names}) AS (SELECT {own_key} FROM {table} WHERE {in_e} IN (SELECT {names} FROM e) AND ({first}) \
             UNION SELECT {parent_key} FROM kept JOIN {table} AS c ON {same} JOIN {table} AS p ON {link} \
             WHERE {in_p} IN (SELECT {names} FROM e)) SELECT count(*) FROM kept",
            own_key = list(""),
            in_e = key(""),
            first = first.join(" OR "),
            parent_key = list("p."),
            same = same.collect::<Vec<_>>().join(" AND "),
            link = refers("p", "c"),
            in_p = key("p."),
        ))
    }

    /// What a deletion also does, the deepest first. `select` makes the query for given columns of the rows that go.
    pub(super) fn consequences(&self, select: &dyn Fn(&str) -> String) -> Vec<Consequence> {
        let mut found: Vec<(usize, Consequence)> = Vec::new();
        self.gather(&self.nodes, 0, select, &mut found);
        found.sort_by_key(|(depth, _)| std::cmp::Reverse(*depth));
        found.into_iter().map(|(_, consequence)| consequence).collect()
    }

    fn gather(
        &self,
        nodes: &[Node],
        depth: usize,
        select: &dyn Fn(&str) -> String,
        found: &mut Vec<(usize, Consequence)>,
    ) {
        for node in nodes.iter().filter(|node| node.action != Action::Protect) {
            let parents =
                node.parent_columns.iter().map(|column| quoted(column)).collect::<Vec<_>>().join(", ");
            let condition = format!("{} IN ({})", tuple(&node.columns, ""), select(&parents));
            let same = |(_, other): &&mut (usize, Consequence)| {
                other.table == node.table
                    && other.action == node.action
                    && (node.action != Action::SetNullFirst || other.columns == node.columns)
            };
            match found.iter_mut().find(same) {
                Some((deepest, other)) => {
                    *deepest = depth.max(*deepest);
                    other.condition = format!("{} OR {condition}", other.condition);
                }
                None => found.push((
                    depth,
                    Consequence {
                        table: node.table.clone(),
                        action: node.action,
                        condition: condition.clone(),
                        bytes: self.bytes.get(&node.table).cloned().unwrap_or_else(|| "0".to_owned()),
                        columns: node.columns.clone(),
                    },
                )),
            }
            let deeper = |columns: &str| {
                format!("SELECT {columns} FROM main.{} WHERE {condition}", quoted(&node.table))
            };
            self.gather(&node.children, depth + 1, &deeper, found);
        }
    }
}
