//! What refers to the rows of a table by foreign keys, and what that means when they are deleted:
//! rows that stay protected, rows that go with them, and rows that the configuration has deleted or
//! cut off first.
//!
//! It makes SQL and runs none of it but the reading of the schema.

use rusqlite::Connection;

use super::delete_cascade::Graph;
use super::foreign_keys::build_graph;
use super::reference::Node;
use super::reference::ReferenceAction;
use super::reference::ReferenceRules;
use super::scan_table::ScanTable;
use super::tables::quoted;

/// A foreign key whose rows no index finds, so that SQLite reads all of their table for each
/// deleted row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnindexedReference {
    /// The table that refers.
    pub table: String,
    /// The statement that makes the index; `None` where there is one that is of no use, because the
    /// columns have another type or collation than those that they refer to.
    pub create_index: Option<String>,
}

/// What refers to the rows of one table.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct References {
    table: String,
    key: Vec<String>,
    nodes: Vec<Node>,
    pub(super) graph: Graph,
}

fn tuple(columns: &[String], of: &str) -> String {
    let columns: Vec<String> = columns.iter().map(|column| format!("{of}{}", quoted(column))).collect();
    match columns.as_slice() {
        [one] => one.clone(),
        several => format!("({})", several.join(", ")),
    }
}

/// SQL that is true for a row of `parent` to which a row refers by a foreign key, of which `rest`
/// is true.
fn is_referred_to(node: &Node, parent: &str, alias: &str, rest: &str) -> String {
    // The parent's column stands first, as its collation decides.
    let pairs = node.parent_columns.iter().zip(&node.columns);
    let from = format!("FROM main.{} AS {alias} WHERE", quoted(&node.table));
    if node.is_indexed {
        let joined: Vec<String> =
            pairs.map(|(to, from)| format!("{parent}.{} = {alias}.{}", quoted(to), quoted(from))).collect();
        return format!("EXISTS (SELECT 1 {from} {}{rest})", joined.join(" AND "));
    }
    // Without an index, all rows are looked at once for the statement, and not once for each row of
    // it.
    let known: Vec<String> =
        node.columns.iter().map(|column| format!("{alias}.{} IS NOT NULL", quoted(column))).collect();
    let columns: Vec<String> =
        node.columns.iter().map(|column| format!("{alias}.{}", quoted(column))).collect();
    format!(
        "ifnull({} IN (SELECT {} {from} {}{rest}), 0)",
        tuple(&node.parent_columns, &format!("{parent}.")),
        columns.join(", "),
        known.join(" AND ")
    )
}

/// The references that keep rows of `parent`, as (table, SQL that is true where one does).
fn protections(nodes: &[Node], parent: &str, own: Option<&str>, depth: usize) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (number, node) in nodes.iter().enumerate() {
        let alias = format!("r{depth}_{number}");
        match node.action {
            // Rows of the cleaned table that keep each other are judged together, see
            // `kept_by_own`.
            ReferenceAction::Protect if own.is_some_and(|own| node.table.eq_ignore_ascii_case(own)) => {}
            ReferenceAction::Protect => {
                found.push((node.table.clone(), is_referred_to(node, parent, &alias, "")))
            }
            ReferenceAction::Cascade | ReferenceAction::DeleteFirst => {
                for (table, deeper) in protections(&node.children, &alias, None, depth + 1) {
                    found.push((table, is_referred_to(node, parent, &alias, &format!(" AND {deeper}"))));
                }
            }
            ReferenceAction::SetNullFirst => {}
        }
    }
    found
}

impl References {
    /// Reads what refers to a table; inside, why the configuration does not fit.
    pub(super) fn read(
        connection: &Connection,
        shape: &ScanTable,
        rules: ReferenceRules<'_>,
    ) -> rusqlite::Result<Result<Self, String>> {
        if !rules.enforced {
            return Ok(Ok(Self::default()));
        }
        let gathered = build_graph(connection, shape, rules)?;
        let (table, key) = (shape.name.clone(), shape.key.clone());
        Ok(gathered.map(|(nodes, graph)| Self { table, key, nodes, graph }))
    }

    /// Whether the table refers to itself so that its rows keep each other.
    #[must_use]
    pub fn is_self_referencing(&self) -> bool {
        self.own().next().is_some()
    }

    /// Whether rows of the table go along with other rows of it, by ON DELETE CASCADE.
    #[must_use]
    pub fn reaches_itself(&self) -> bool {
        self.graph.reaches_itself()
    }

    /// Whether rows are best deleted before older ones: those that refer to older rows of their
    /// table.
    pub(super) fn newest_first(&self) -> bool {
        self.is_self_referencing() || self.graph.reaches_itself()
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
        self.graph.tables.iter().map(|table| table.name.clone()).collect()
    }

    /// Tables that refer to the deleted rows and neither go along nor give up their reference, so
    /// that they keep rows.
    #[must_use]
    pub fn protecting_tables(&self) -> Vec<String> {
        let mut found: Vec<String> = Vec::new();
        let own = self.own().map(|node| node.table.clone());
        let others = self.protections().into_iter().map(|(table, _)| table);
        others.chain(own).for_each(|table| {
            if !found.contains(&table) {
                found.push(table);
            }
        });
        found
    }

    /// Foreign keys that SQLite follows when a row is deleted, and that no index serves.
    #[must_use]
    pub fn unindexed(&self) -> Vec<UnindexedReference> {
        fn visit(nodes: &[Node], found: &mut Vec<UnindexedReference>) {
            for node in nodes {
                let reference = || {
                    let name = quoted(&format!("{}_by_{}", node.table, node.columns.join("_")));
                    let columns: Vec<String> = node.columns.iter().map(|column| quoted(column)).collect();
                    let create_index =
                        format!("CREATE INDEX {name} ON {} ({});", quoted(&node.table), columns.join(", "));
                    UnindexedReference {
                        table: node.table.clone(),
                        create_index: (!node.has_index).then_some(create_index),
                    }
                };
                if !node.is_indexed && !found.contains(&reference()) {
                    found.push(reference());
                }
                visit(&node.children, found);
            }
        }
        let mut found = Vec::new();
        visit(&self.nodes, &mut found);
        found
    }

    fn own(&self) -> impl Iterator<Item = &Node> {
        let is_own = |node: &&Node| {
            node.action == ReferenceAction::Protect && node.table.eq_ignore_ascii_case(&self.table)
        };
        self.nodes.iter().filter(is_own)
    }

    /// Other tables whose foreign keys keep rows, each with SQL that is true for a row that it
    /// keeps.
    pub(super) fn protections(&self) -> Vec<(String, String)> {
        protections(&self.nodes, &quoted(&self.table), Some(&self.table), 0)
    }

    /// SQL that is true for a row that no other table keeps, to be appended to a condition.
    pub(super) fn filter(&self) -> String {
        let kept: Vec<String> = self.protections().into_iter().map(|(_, sql)| sql).collect();
        if kept.is_empty() { String::new() } else { format!(" AND NOT ({})", kept.join(" OR ")) }
    }

    /// SQL that is true for a row of a set that rows of its own table keep: those to which a row
    /// outside of the set refers, and those to which they refer in turn, by however many steps. All
    /// others of the set can be deleted in one statement. `set` selects it, from `FROM` on.
    pub(super) fn kept_by_own(&self, set: &str) -> Option<String> {
        self.own().next()?;
        let table = format!("main.{}", quoted(&self.table));
        let list =
            |of: &str| self.key.iter().map(|part| format!("{of}{part}")).collect::<Vec<_>>().join(", ");
        let key = |of: &str| if self.key.len() == 1 { list(of) } else { format!("({})", list(of)) };
        let names: Vec<String> = (0..self.key.len()).map(|number| format!("k{number}")).collect();
        let same = |of: &str, with: &str| {
            let pairs = self.key.iter().zip(&names).map(|(part, name)| format!("{of}{part} = {with}.{name}"));
            pairs.collect::<Vec<_>>().join(" AND ")
        };
        let names = names.join(", ");
        let (mut first, mut nth_key_after) = (Vec::new(), Vec::new());
        for node in self.own() {
            let pairs = node.parent_columns.iter().zip(&node.columns);
            let refers: Vec<String> =
                pairs.map(|(to, from)| format!("p.{} = c.{}", quoted(to), quoted(from))).collect();
            let (refers, parent) = (refers.join(" AND "), list("p."));
            let (in_set, outside) = (
                format!("{} IN (SELECT {names} FROM e)", key("p.")),
                format!("{} NOT IN (SELECT {names} FROM e)", key("c.")),
            );
            // With an index from each row of the set to those that refer to it, else once over all
            // rows.
            first.push(if node.is_indexed {
                format!(
                    "SELECT {parent} FROM e CROSS JOIN {table} AS p ON {} CROSS JOIN {table} AS c ON {refers} WHERE {outside}",
                    same("p.", "e")
                )
            } else {
                format!("SELECT {parent} FROM {table} AS c CROSS JOIN {table} AS p ON {refers} WHERE {in_set} AND {outside}")
            });
            nth_key_after.push(format!(
                "SELECT {parent} FROM kept CROSS JOIN {table} AS c ON {} CROSS JOIN {table} AS p ON {refers} WHERE {in_set}",
                same("c.", "kept")
            ));
        }
        Some(format!(
            "{} IN (WITH RECURSIVE e({names}) AS MATERIALIZED (SELECT {} {set}), kept({names}) AS ({} UNION {}) \
             SELECT {names} FROM kept)",
            key(""),
            list(""),
            first.join(" UNION "),
            nth_key_after.join(" UNION ")
        ))
    }
}
