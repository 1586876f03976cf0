//! Reads which foreign keys refer to a table, and to the rows that go with its own.

use rusqlite::Connection;

use super::delete_cascade::AffectedTable;
use super::delete_cascade::Child;
use super::delete_cascade::Edge;
use super::delete_cascade::Graph;
use super::names::Name;
use super::names::bound;
use super::names::is_not_utf8;
use super::names::name_in;
use super::reference::Node;
use super::reference::ReferenceAction;
use super::reference::ReferenceRules;
use super::scan_table::ScanTable;
use super::scan_table::key_of;
use super::schema::TableSchema;
use super::tables::quoted;

/// How deep chains of references are followed. What lies deeper is seen by SQLite itself when a row
/// is deleted.
const MAX_DEPTH: usize = 6;

/// How often a table may stand in one chain, as one that refers to itself does.
const MAX_REPEATS: usize = 3;

/// One row of `PRAGMA foreign_key_list`, put together by key.
struct ForeignKeyRow {
    table: String,
    columns: Vec<String>,
    parent_columns: Vec<Option<String>>,
    on_delete: String,
}

fn referring(connection: &Connection, parent: &str) -> rusqlite::Result<Vec<ForeignKeyRow>> {
    let sql = "SELECT t.name, f.id, f.\"from\", f.\"to\", f.on_delete \
               FROM main.sqlite_schema AS t, pragma_foreign_key_list(t.name) AS f \
               WHERE t.type = 'table' AND f.\"table\" = ?1 COLLATE NOCASE ORDER BY t.name, f.id, f.seq";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([bound(parent)])?;
    let mut found: Vec<(i64, ForeignKeyRow)> = Vec::new();
    while let Some(row) = rows.next()? {
        let (table, id): (String, i64) = (name_in(row, 0)?, row.get(1)?);
        if found.last().is_none_or(|(last, key)| *last != id || key.table != table) {
            let key =
                ForeignKeyRow { table, columns: vec![], parent_columns: vec![], on_delete: row.get(4)? };
            found.push((id, key));
        }
        if let Some((_, key)) = found.last_mut() {
            key.columns.push(name_in(row, 2)?);
            key.parent_columns.push(row.get::<_, Option<Name>>(3)?.map(|Name(name)| name));
        }
    }
    Ok(found.into_iter().map(|(_, key)| key).collect())
}

/// Columns of a table: name, whether it may be NULL, place in the primary key.
fn columns_of(connection: &Connection, table: &str) -> rusqlite::Result<Vec<(String, bool, i64)>> {
    let sql = "SELECT name, \"notnull\", pk FROM pragma_table_xinfo(?1) ORDER BY cid";
    let mut statement = connection.prepare(sql)?;
    let rows = statement
        .query_map([bound(table)], |row| Ok((name_in(row, 0)?, !row.get::<_, bool>(1)?, row.get(2)?)))?;
    rows.collect()
}

/// What is gathered while the schema is read.
struct GraphBuilder<'g> {
    connection: &'g Connection,
    rules: ReferenceRules<'g>,
    root: &'g ScanTable,
    /// Tables of the configuration that were met.
    used: Vec<String>,
    problem: Option<String>,
}

impl GraphBuilder<'_> {
    fn nodes(&mut self, parent: &str, path: &[String]) -> rusqlite::Result<Vec<Node>> {
        let mut nodes = Vec::new();
        for key in referring(self.connection, parent)? {
            let repeats = path.iter().filter(|table| table.eq_ignore_ascii_case(&key.table)).count();
            let columns = columns_of(self.connection, &key.table)?;
            let Some(action) = self.action(&key, &columns) else { continue };
            // Rows that go in the same statement keep nobody, and SQLite says so itself where one
            // of them stays.
            if action == ReferenceAction::Protect && repeats > 0 && path.len() > 1 {
                continue;
            }
            let parent_columns = self.parent_columns(&key, parent)?;
            if parent_columns.len() != key.columns.len() {
                continue;
            }
            let goes = matches!(action, ReferenceAction::Cascade | ReferenceAction::DeleteFirst);
            let children = if goes && path.len() < MAX_DEPTH && repeats < MAX_REPEATS {
                let path = [path, std::slice::from_ref(&key.table)].concat();
                self.nodes(&key.table, &path)?
            } else {
                Vec::new()
            };
            let (to, from) =
                ((parent, parent_columns.as_slice()), (key.table.as_str(), key.columns.as_slice()));
            let (is_indexed, has_index) = index_of(self.connection, to, from)?;
            let ForeignKeyRow { table, columns, .. } = key;
            nodes.push(Node { table, columns, parent_columns, action, is_indexed, has_index, children });
        }
        Ok(nodes)
    }

    /// Every table and foreign key that a deletion reaches.
    fn graph(&mut self) -> rusqlite::Result<Graph> {
        let Some(root) = self.losing(&self.root.name.clone(), ReferenceAction::DeleteFirst)? else {
            return Ok(Graph::default());
        };
        let mut graph = Graph { tables: vec![root], edges: vec![] };
        let mut place = 0;
        while let Some(parent) = graph.tables.get(place).map(|table| table.name.clone()) {
            for key in referring(self.connection, &parent)? {
                let columns = columns_of(self.connection, &key.table)?;
                let Some(action) =
                    self.action(&key, &columns).filter(|action| *action != ReferenceAction::Protect)
                else {
                    continue;
                };
                let parent_columns = self.parent_columns(&key, &parent)?;
                let known = graph.tables.iter().position(|table| table.name.eq_ignore_ascii_case(&key.table));
                let child = match (known, self.losing(&key.table, action)?) {
                    _ if parent_columns.len() != key.columns.len() => continue,
                    (_, Some(table)) if action == ReferenceAction::SetNullFirst => Child::SetNull(table),
                    (Some(known), _) => Child::AffectedTable(known),
                    (None, Some(table)) => {
                        graph.tables.push(table);
                        Child::AffectedTable(graph.tables.len() - 1)
                    }
                    (None, None) => continue,
                };
                graph.edges.push(Edge { parent: place, child, columns: key.columns, parent_columns });
            }
            place += 1;
        }
        Ok(graph)
    }

    /// A table whose rows go; `None` where nothing finds its rows one by one, so that only SQLite
    /// can delete them.
    fn losing(&self, table: &str, action: ReferenceAction) -> rusqlite::Result<Option<AffectedTable>> {
        let columns = columns_of(self.connection, table)?;
        if is_not_utf8(table) || columns.iter().any(|(name, ..)| is_not_utf8(name)) {
            return Ok(None);
        }
        let length = |(name, ..): &(String, bool, i64)| format!("ifnull(octet_length({}), 0)", quoted(name));
        let bytes = columns.iter().map(length).collect::<Vec<_>>().join(" + ");
        let key = key_of(self.connection, table)?;
        Ok(key.map(|key| AffectedTable { name: table.to_owned(), key, bytes, action }))
    }

    /// What happens to referring rows; `None` where SQLite changes their reference, so that nothing
    /// is in the way.
    fn action(&mut self, key: &ForeignKeyRow, columns: &[(String, bool, i64)]) -> Option<ReferenceAction> {
        let listed = |tables: &[String]| tables.iter().any(|table| table.eq_ignore_ascii_case(&key.table));
        let can_be_null = key.columns.iter().all(|column| {
            columns.iter().any(|(name, nullable, _)| *nullable && name.eq_ignore_ascii_case(column))
        });
        let (delete, null) = (listed(self.rules.cascade), listed(self.rules.set_null));
        if delete || null {
            self.used.push(key.table.clone());
        }
        match key.on_delete.to_ascii_uppercase().as_str() {
            "CASCADE" => Some(ReferenceAction::Cascade),
            "SET DEFAULT" => None,
            "SET NULL" if can_be_null => None,
            _ if null && !can_be_null => {
                self.problem = Some(format!(
                    "set_null names {}, whose column {} may not be NULL; name the table in `cascade` to delete its rows, \
                     or leave it out to keep the rows that it refers to",
                    key.table,
                    key.columns.join(", ")
                ));
                None
            }
            _ if null => Some(ReferenceAction::SetNullFirst),
            _ if delete && key.table.eq_ignore_ascii_case(&self.root.name) => {
                self.problem = Some(format!(
                    "cascade names {} itself, which would delete rows that have not expired; `set_null: [{}]` cuts them off instead",
                    key.table, key.table
                ));
                None
            }
            _ if delete => Some(ReferenceAction::DeleteFirst),
            _ => Some(ReferenceAction::Protect),
        }
    }

    /// The columns that are referred to; without names they are the parent's primary key.
    fn parent_columns(&self, key: &ForeignKeyRow, parent: &str) -> rusqlite::Result<Vec<String>> {
        let named: Option<Vec<String>> = key.parent_columns.iter().cloned().collect();
        if let Some(named) = named {
            return Ok(named);
        }
        let mut primary: Vec<(i64, String)> = columns_of(self.connection, parent)?
            .into_iter()
            .filter_map(|(name, _, place)| (place > 0).then_some((place, name)))
            .collect();
        primary.sort();
        Ok(primary.into_iter().map(|(_, name)| name).collect())
    }
}

/// Whether SQLite finds the rows that refer to one without reading all of them, and whether there
/// is an index on their columns, which another type or collation than that of the column that they
/// refer to makes useless.
fn index_of(
    connection: &Connection,
    (parent, parent_columns): (&str, &[String]),
    (table, columns): (&str, &[String]),
) -> rusqlite::Result<(bool, bool)> {
    let pairs = parent_columns.iter().zip(columns);
    let on: Vec<String> = pairs.map(|(to, from)| format!("p.{} = c.{}", quoted(to), quoted(from))).collect();
    let sql = format!(
        "EXPLAIN QUERY PLAN SELECT 1 FROM main.{} AS p CROSS JOIN main.{} AS c ON {}",
        quoted(parent),
        quoted(table),
        on.join(" AND ")
    );
    if is_not_utf8(&sql) {
        return Ok((false, false));
    }
    let mut statement = connection.prepare(&sql)?;
    let details = statement.query_map((), |row| row.get::<_, String>("detail"))?;
    let details = details.collect::<rusqlite::Result<Vec<_>>>()?;
    let is_found =
        details.iter().any(|detail| detail.starts_with("SEARCH c ") && !detail.contains("AUTOMATIC"));
    if is_found {
        return Ok((true, true));
    }
    let schema = TableSchema::read(connection, table.to_owned())?;
    let has_index = schema.complete_indexes().any(|index| index.begins_with_all(columns));
    Ok((is_found, has_index))
}

/// The foreign keys by which rows are kept, and all that a deletion reaches.
type Built = (Vec<Node>, Graph);

/// What refers to a table; inside, why the configuration does not fit.
pub(super) fn build_graph(
    connection: &Connection,
    root: &ScanTable,
    rules: ReferenceRules<'_>,
) -> rusqlite::Result<Result<Built, String>> {
    let mut gatherer = GraphBuilder { connection, rules, root, used: vec![], problem: None };
    let nodes = gatherer.nodes(&root.name, std::slice::from_ref(&root.name))?;
    let graph = gatherer.graph()?;
    let unused = rules
        .cascade
        .iter()
        .chain(rules.set_null)
        .find(|table| !gatherer.used.iter().any(|used| used.eq_ignore_ascii_case(table)));
    if let Some(problem) = gatherer.problem {
        return Ok(Err(problem));
    }
    Ok(match unused {
        Some(table) => Err(format!(
            "{table} is named in `cascade` or `set_null`, but no foreign key of it refers to {} or to rows that go with it",
            root.name
        )),
        None => Ok((nodes, graph)),
    })
}
