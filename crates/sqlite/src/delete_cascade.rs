//! What a deletion also does to rows that refer to the deleted ones, however many steps away: SQL
//! for counting them, and for the statements that the configuration asks for.
//!
//! The tables and their references are a graph, as tables may refer to themselves and to each
//! other. Which rows of it go is asked by one recursive query that starts at the rows that are to
//! be deleted.

use super::reference::ReferenceAction;
use super::tables::quoted;

/// The name of the recursive table; no alias in these queries is called so.
const GONE: &str = "litekeeper_gone";

/// A table that loses rows; the first of a graph is the one that is cleaned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AffectedTable {
    pub name: String,
    /// SQL for the columns that find a row.
    pub key: Vec<String>,
    /// SQL for the bytes of a row's values.
    pub bytes: String,
    /// What deletes its rows.
    pub action: ReferenceAction,
}

/// A foreign key by which the deletion of a row reaches another row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edge {
    /// The table that is referred to, by its place among the losing ones.
    pub parent: usize,
    /// The table that refers; it loses rows, or has its reference set to NULL.
    pub child: Child,
    pub columns: Vec<String>,
    pub parent_columns: Vec<String>,
}

/// What refers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Child {
    /// A table that loses the row, by its place.
    AffectedTable(usize),
    /// A table whose reference is set to NULL.
    SetNull(AffectedTable),
}

/// Everything that the deletion of rows of one table reaches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Graph {
    pub tables: Vec<AffectedTable>,
    pub edges: Vec<Edge>,
}

/// Rows of one kind that a deletion reaches.
pub(super) struct ReachedTable<'g> {
    pub table: &'g str,
    pub action: ReferenceAction,
}

/// The number in the recursive table of expired rows of the cleaned table that go by its own ON
/// DELETE CASCADE.
pub(super) const OWN_EXPIRED: i64 = -1;

impl Graph {
    /// Whether a deletion reaches nothing else.
    pub fn is_empty(&self) -> bool {
        self.edges.is_empty()
    }

    /// Whether rows of the cleaned table may go because other rows of it do.
    pub fn reaches_itself(&self) -> bool {
        self.edges.iter().any(|edge| edge.child == Child::AffectedTable(0))
    }

    /// What a number in the recursive table stands for.
    pub fn reached(&self, number: i64) -> Option<ReachedTable<'_>> {
        let number = usize::try_from(number).ok()?;
        let losing =
            self.tables.get(number).or_else(|| match &self.edges.get(number - self.tables.len())?.child {
                Child::SetNull(table) => Some(table),
                Child::AffectedTable(_) => None,
            })?;
        Some(ReachedTable { table: &losing.name, action: losing.action })
    }

    /// The table whose rows a foreign key reaches, with its number.
    fn child_of(&self, number: usize) -> Option<(usize, &AffectedTable)> {
        match &self.edges.get(number)?.child {
            Child::AffectedTable(place) => Some((*place, self.tables.get(*place)?)),
            Child::SetNull(table) => Some((self.tables.len() + number, table)),
        }
    }

    fn width(&self) -> usize {
        let children = (0..self.edges.len()).filter_map(|edge| self.child_of(edge)).map(|(_, table)| table);
        children.chain(&self.tables).map(|table| table.key.len()).max().unwrap_or(1)
    }

    fn key_names(&self) -> String {
        (0..self.width()).map(|number| format!("k{number}")).collect::<Vec<_>>().join(", ")
    }

    /// The recursive table of all rows that go: `t` is a number of [`Graph::reached`], `k0` and so
    /// on are the row's key. `root` selects the rows that are deleted first, from `FROM` on.
    fn gone(&self, root: &str) -> String {
        let row = |number: usize, key: &[String], of: &str| {
            let mut parts = vec![number.to_string()];
            parts.extend(key.iter().map(|part| format!("{of}{part}")));
            parts.resize(1 + self.width(), "NULL".to_owned());
            parts.join(", ")
        };
        let Some(first) = self.tables.first() else { return String::new() };
        let mut sql = format!(
            "WITH RECURSIVE {GONE}(t, {}) AS (SELECT {} {root}",
            self.key_names(),
            row(0, &first.key, "")
        );
        for (number, edge) in self.edges.iter().enumerate() {
            let (Some(parent), Some((child, table))) = (self.tables.get(edge.parent), self.child_of(number))
            else {
                continue;
            };
            // The parent's column stands first, as its collation decides.
            let pairs = edge.parent_columns.iter().zip(&edge.columns);
            let link: Vec<String> =
                pairs.map(|(to, from)| format!("p.{} = c.{}", quoted(to), quoted(from))).collect();
            sql.push_str(&format!(
                " UNION SELECT {} FROM {GONE} CROSS JOIN main.{} AS p ON {GONE}.t = {} AND {} JOIN main.{} AS c ON {}",
                row(child, &table.key, "c."),
                quoted(&parent.name),
                edge.parent,
                same_key(&parent.key, "p."),
                quoted(&table.name),
                link.join(" AND ")
            ));
        }
        sql + ")"
    }

    /// A query for rows and bytes of all that goes along: number of [`Graph::reached`] or
    /// [`OWN_EXPIRED`], rows, bytes. `expired` is the condition of a row of the cleaned table that
    /// has expired wherever it is in the walk, `from` that table.
    pub fn tally(&self, root: &str, (from, expired): (&str, &str)) -> Option<String> {
        let first = self.tables.first().filter(|_| !self.is_empty())?;
        let mut bytes = String::new();
        let set_null = (0..self.edges.len()).filter_map(|edge| self.child_of(edge));
        let all = self.tables.iter().enumerate().chain(set_null);
        for (number, table) in all {
            bytes.push_str(&format!(
                " WHEN {number} THEN (SELECT {} FROM main.{} AS x WHERE {})",
                table.bytes,
                quoted(&table.name),
                same_key(&table.key, "x.")
            ));
        }
        let number = if self.reaches_itself() {
            let own = same_key(&first.key, "");
            format!(
                "CASE WHEN t = 0 AND EXISTS (SELECT 1 FROM {from} WHERE {expired} AND {own}) THEN {OWN_EXPIRED} ELSE t END"
            )
        } else {
            "t".to_owned()
        };
        let which = if self.reaches_itself() { "" } else { " WHERE t > 0" };
        Some(format!(
            "{} SELECT {number}, count(*), ifnull(sum(CASE t{bytes} END), 0) FROM {GONE}{which} GROUP BY 1",
            self.gone(root)
        ))
    }

    /// SQL that is true for a row of the cleaned table that goes with those that `root` selects,
    /// they among them.
    pub fn own(&self, root: &str) -> Option<String> {
        let first = self.tables.first().filter(|_| self.reaches_itself())?;
        Some(self.is_gone(root, 0, &first.key))
    }

    fn is_gone(&self, root: &str, number: usize, key: &[String]) -> String {
        let names: Vec<String> = (0..key.len()).map(|part| format!("k{part}")).collect();
        let names = names.join(", ");
        let key = if key.len() == 1 { key.join("") } else { format!("({})", key.join(", ")) };
        format!("{key} IN ({} SELECT {names} FROM {GONE} WHERE t = {number})", self.gone(root))
    }

    /// The statements that the configuration has run first: references set to NULL, then rows
    /// deleted, children before parents.
    pub fn statements(&self, root: &str) -> Vec<String> {
        let mut statements = Vec::new();
        for (number, edge) in self.edges.iter().enumerate() {
            if let Child::SetNull(table) = &edge.child {
                let set: Vec<String> =
                    edge.columns.iter().map(|column| format!("{} = NULL", quoted(column))).collect();
                let gone = self.is_gone(root, self.tables.len() + number, &table.key);
                statements.push(format!(
                    "UPDATE main.{} SET {} WHERE {gone}",
                    quoted(&table.name),
                    set.join(", ")
                ));
            }
        }
        for number in self.children_first() {
            if let Some(table) =
                self.tables.get(number).filter(|table| table.action == ReferenceAction::DeleteFirst)
            {
                let gone = self.is_gone(root, number, &table.key);
                statements.push(format!("DELETE FROM main.{} WHERE {gone}", quoted(&table.name)));
            }
        }
        statements
    }

    /// The tables but the cleaned one, each after those that refer to it, as far as they do not
    /// refer to each other.
    fn children_first(&self) -> Vec<usize> {
        fn visit(graph: &Graph, table: usize, seen: &mut Vec<usize>, order: &mut Vec<usize>) {
            if seen.contains(&table) {
                return;
            }
            seen.push(table);
            for edge in graph.edges.iter().filter(|edge| edge.parent == table) {
                if let Child::AffectedTable(child) = edge.child {
                    visit(graph, child, seen, order);
                }
            }
            order.push(table);
        }
        let (mut seen, mut order) = (Vec::new(), Vec::new());
        visit(self, 0, &mut seen, &mut order);
        order.retain(|table| *table != 0);
        order
    }
}

/// SQL that is true for the row of a table whose key is that of a row of the recursive table.
fn same_key(key: &[String], of: &str) -> String {
    let parts = key.iter().enumerate().map(|(number, part)| format!("{of}{part} = {GONE}.k{number}"));
    parts.collect::<Vec<_>>().join(" AND ")
}
