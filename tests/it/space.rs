//! The space of tables and indexes, beside SQLite's own analyzer and hostile schemas.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::Trial;
use litekeeper::internals::collectors::SizeCollection;
use litekeeper::internals::collectors::TableSizes;
use litekeeper::internals::collectors::collect_table_sizes;
use litekeeper::internals::config::Collectors;
use litekeeper::internals::config::DatabaseSettings;
use litekeeper::internals::database::Database;
use litekeeper::internals::database::DatabaseName;
use litekeeper::internals::limits::QueryLimits;
use litekeeper::internals::sqlite::Access;
use litekeeper::internals::sqlite::Reader;

use crate::maintenance::serve;
use crate::support::SecondProcess;
use crate::support::TestDatabase;
use crate::support::eventually;
use crate::support::test;
use crate::support::test_with_tool;
use crate::support::tool;

pub fn trials() -> Vec<Trial> {
    vec![
        test_with_tool(
            "space_is_as_the_analyzer_says",
            tool("sqlite3_analyzer"),
            space_is_as_the_analyzer_says,
        ),
        test("hostile_schemas_do_not_mislead_the_space", hostile_schemas_do_not_mislead_the_space),
        test("a_tree_that_never_ends_is_left", a_tree_that_never_ends_is_left),
        test("what_was_not_measured_in_time_stays_old", what_was_not_measured_in_time_stays_old),
        test("a_locked_database_keeps_its_space", a_locked_database_keeps_its_space),
        test("space_is_published_where_it_is_asked_for", space_is_published_where_it_is_asked_for),
    ]
}

fn look(
    path: &Path,
    before: &TableSizes,
    change: impl FnOnce(&mut DatabaseSettings),
) -> Option<SizeCollection> {
    let mut settings = DatabaseSettings {
        table_sizes_top: 1_000,
        table_sizes_timeout: Duration::from_secs(20),
        ..DatabaseSettings::default()
    };
    change(&mut settings);
    let name = DatabaseName::new("measured");
    collect_table_sizes(&Database::new(name, path.to_owned(), Arc::new(settings), 5_000), before).unwrap()
}

fn measured(path: &Path) -> TableSizes {
    let look = look(path, &TableSizes::default(), |_| {}).unwrap();
    assert_eq!(look.problems, Vec::<String>::new());
    look.readings
}

/// Bytes, and for tables unused bytes, by the name in the schema.
fn by_name(readings: &TableSizes) -> BTreeMap<String, (u64, Option<u64>)> {
    let mut sizes = BTreeMap::new();
    for table in &readings.tables {
        let own = table.own.unwrap();
        sizes.insert(table.table.clone(), (own.bytes, Some(own.unused)));
        sizes.extend(table.indexes.iter().map(|index| (index.index.clone(), (index.bytes, None))));
    }
    sizes
}

/// Many kinds of b-tree, with values on overflow pages, holes, and names that must be quoted.
const SHAPES: &str = "
    CREATE INDEX by_text ON items (text);
    CREATE TABLE keyed (name TEXT PRIMARY KEY, body) WITHOUT ROWID;
    INSERT INTO keyed SELECT text, zeroblob(id % 3000) FROM items;
    CREATE TABLE wide (id INTEGER PRIMARY KEY, body BLOB, note TEXT UNIQUE);
    INSERT INTO wide SELECT id, zeroblob(id * 17 % 40000), 'note ' || id FROM items WHERE id <= 400;
    DELETE FROM items WHERE id % 3 = 0;
    CREATE TABLE \"odd \"\"name\"\" 'here'\" (a, b);
    CREATE INDEX \"odd index\" ON \"odd \"\"name\"\" 'here'\" (b DESC, a);
    CREATE TABLE \"x'; DROP TABLE items; --\" (a);
    CREATE TABLE empty (a);
    CREATE VIRTUAL TABLE found USING fts5 (text);
    INSERT INTO found SELECT text FROM items LIMIT 500;
    CREATE TABLE counted (id INTEGER PRIMARY KEY AUTOINCREMENT, a);
    INSERT INTO counted (a) VALUES (1);
    CREATE VIEW seen AS SELECT * FROM wide;
    ANALYZE;";

fn space_is_as_the_analyzer_says(analyzer: &str) {
    for page_size in [512, 4096, 65_536_i64] {
        let fixture = TestDatabase::new("measured");
        fixture.connect().execute_batch(&format!("PRAGMA page_size = {page_size}; VACUUM")).unwrap();
        let fixture = fixture.rows(3_000).sql(SHAPES).make();
        let output = Command::new(analyzer).arg(fixture.path()).output().unwrap();
        let report = String::from_utf8(output.stdout).unwrap();
        // What it measured stands at the end of its report as SQL.
        let sql = &report[report.find("\nBEGIN;").expect("the report ends in SQL")..];
        let sql = sql.split("COMMIT;").next().unwrap();
        let analyzed = rusqlite::Connection::open_in_memory().unwrap();
        analyzed.execute_batch(&format!("{sql} COMMIT;")).unwrap();
        let mut statement = analyzed
            .prepare(
                "SELECT name, (int_pages + leaf_pages + ovfl_pages) * ?1, \
                 CASE WHEN NOT is_index THEN int_unused + leaf_unused + ovfl_unused END FROM space_used",
            )
            .unwrap();
        let expected: BTreeMap<String, (u64, Option<u64>)> = statement
            .query_map([page_size], |row| {
                let unused: Option<i64> = row.get(2)?;
                let bytes: i64 = row.get(1)?;
                // An empty page of 64 KiB has 65,528 bytes to spare, and not -8 as `dbstat` says.
                let unused = unused.map(|unused| if unused < 0 { unused + page_size } else { unused });
                Ok((row.get(0)?, (bytes.unsigned_abs(), unused.map(i64::unsigned_abs))))
            })
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert!(expected.len() > 15 && expected["wide"].0 > 1_000_000, "{expected:?}");
        // In one transaction, and tree by tree.
        assert_eq!(by_name(&measured(&fixture.path())), expected, "pages of {page_size}");
        let limit = Duration::from_secs(60);
        let mut reader =
            Reader::open(&fixture.path(), Access::Shared, &QueryLimits::with_timeout(limit)).unwrap();
        reader.prepare_btree_sizes().unwrap();
        for tree in reader.btrees().unwrap() {
            let size = reader.btree_size(&tree, limit).unwrap().unwrap();
            let (bytes, unused) = expected[tree.name()];
            assert_eq!((size.bytes, unused.unwrap_or(size.unused)), (bytes, size.unused), "{tree:?}");
        }
    }
}

fn hostile_schemas_do_not_mislead_the_space() {
    let fixture = TestDatabase::new("hostile")
        .rows(2_000)
        .sql(
            "CREATE TABLE dbstat (name, path, pageno, pagetype, ncell, payload, unused, mx_payload, pgoffset, pgsize, schema, aggregate);
             INSERT INTO dbstat (name, pgsize, unused, schema, aggregate) VALUES ('items', 999999999, 7, 'main', 0);
             CREATE TABLE litekeeper_space AS SELECT * FROM dbstat;
             CREATE VIEW pragma_table_list AS SELECT 1/0;",
        )
        .make();
    let sizes = by_name(&measured(&fixture.path()));
    assert!((10_000..200_000).contains(&sizes["items"].0), "{sizes:?}");
    assert_eq!(sizes["dbstat"].0, 4096);
    // Thousands of tables: the limits hold, and what is left out is summed.
    let tables: String = (0..3_000).map(|n| format!("CREATE TABLE t{n} (a PRIMARY KEY);")).collect();
    let fixture = TestDatabase::new("many").rows(2_000).sql(&format!("BEGIN; {tables} COMMIT;")).make();
    let readings = look(&fixture.path(), &TableSizes::default(), |settings| settings.table_sizes_top = 2)
        .unwrap()
        .readings;
    let names: Vec<&str> = readings.tables.iter().map(|table| table.table.as_str()).collect();
    assert_eq!(names, ["sqlite_schema", "items"]);
    assert_eq!((readings.others, readings.others_bytes), (3_000, 3_000 * 2 * 4096));
}

/// Twenty levels of pages, each of which leads to the next one twenty times over: in `dbstat`'s aggregate mode nothing
/// would end the walk over its 20²⁰ ways.
fn a_tree_that_never_ends_is_left() {
    use std::os::unix::fs::FileExt as _;
    const LEVELS: u32 = 20;
    const CELLS: u16 = 20;
    const CONTENT: u16 = 3_000;
    let fixture = TestDatabase::new("endless")
        .rows(50_000)
        .sql("CREATE TABLE other (a); INSERT INTO other VALUES (1);")
        .make();
    let sql = "SELECT rootpage FROM sqlite_schema WHERE name = 'items'";
    let root: u32 = fixture.connect().query_row(sql, (), |row| row.get(0)).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(fixture.path()).unwrap();
    for level in 0..LEVELS {
        let next = root + level + 1;
        let mut page = vec![0_u8; 4096];
        page[0] = 5;
        page[3..5].copy_from_slice(&CELLS.to_be_bytes());
        page[5..7].copy_from_slice(&CONTENT.to_be_bytes());
        page[8..12].copy_from_slice(&next.to_be_bytes());
        for cell in 0..CELLS {
            let at = CONTENT + cell * 5;
            page[12 + usize::from(cell) * 2..][..2].copy_from_slice(&at.to_be_bytes());
            page[usize::from(at)..][..4].copy_from_slice(&next.to_be_bytes());
            page[usize::from(at) + 4] = u8::try_from(cell + 1).unwrap();
        }
        file.write_all_at(&page, u64::from(root + level - 1) * 4096).unwrap();
    }
    let look = look(&fixture.path(), &TableSizes::default(), |settings| {
        settings.table_sizes_timeout = Duration::from_secs(4);
    })
    .unwrap();
    let other = look.readings.tables.iter().find(|table| table.table == "other").unwrap();
    assert_eq!(other.own.unwrap().bytes, 4096);
    assert!(!look.readings.tables.iter().any(|table| table.table == "items"), "{:?}", look.readings);
    assert_eq!(look.readings.timed_out, ["items"]);
    assert!(look.problems[0].contains("items; values from before stay"), "{:?}", look.problems);
}

fn what_was_not_measured_in_time_stays_old() {
    let fixture = TestDatabase::new("slow").rows(200_000).sql("CREATE INDEX by_text ON items (text);").make();
    let before = measured(&fixture.path());
    fixture.connect().execute_batch("DELETE FROM items WHERE id > 100000; VACUUM").unwrap();
    let hurry = |settings: &mut DatabaseSettings| settings.table_sizes_timeout = Duration::from_nanos(10);
    let after = look(&fixture.path(), &before, hurry).unwrap();
    let items = |readings: &TableSizes| {
        readings
            .tables
            .iter()
            .find(|table| table.table == "items")
            .map(|table| (table.own, table.indexes.clone()))
    };
    assert_eq!(items(&after.readings), items(&before), "the values from before");
    assert!(after.readings.timed_out.contains(&"by_text".to_owned()), "{:?}", after.readings.timed_out);
    assert!(after.problems[0].contains("raise table_sizes_timeout"), "{:?}", after.problems);
    // Without a value from before there is none.
    let nothing = look(&fixture.path(), &TableSizes::default(), hurry).unwrap();
    assert_eq!(items(&nothing.readings), None);
    assert_ne!(items(&measured(&fixture.path())), items(&before));
}

fn a_locked_database_keeps_its_space() {
    let fixture = TestDatabase::new("locked").rows(10).make();
    let mut owner = SecondProcess::open(&fixture.path());
    owner.run("BEGIN EXCLUSIVE");
    assert!(look(&fixture.path(), &TableSizes::default(), |_| {}).is_none());
    owner.run("COMMIT");
    assert!(look(&fixture.path(), &TableSizes::default(), |_| {}).is_some());
}

fn space_is_published_where_it_is_asked_for() {
    assert!(!Collectors::default().table_sizes, "it reads every page, so it is asked for");
    let fixture = TestDatabase::new("books").rows(3_000).sql("CREATE INDEX by_text ON items (text);").make();
    let other = fixture.directory().join("quiet.db");
    std::fs::copy(fixture.path(), other).unwrap();
    let file = fixture.directory().join("lk.yml");
    std::fs::write(
        &file,
        "sample_interval: 1s\ndatabases:\n- {path: books.db, collectors: {table_sizes: on}, table_sizes_top: 1}\n- {path: quiet.db}\n",
    )
    .unwrap();
    let agent = serve(file.to_str().unwrap()).ready();
    let labels = [("db", "books"), ("table", "items"), ("index", "by_text")];
    let scrape = eventually("the space is published", || {
        let scrape = agent.metrics();
        scrape.value("sqlite_index_size_bytes", &labels).is_some().then_some(scrape)
    });
    assert!(scrape.value("sqlite_table_size_bytes", &labels[..2]).unwrap() > 50_000.0);
    assert!(scrape.value("sqlite_table_unused_bytes", &labels[..2]).is_some());
    assert!(!scrape.text.contains("sqlite_table_size_bytes{db=\"quiet\""), "{}", scrape.text);
    assert!(!scrape.text.contains("table=\"sqlite_schema\""), "one table is wanted: {}", scrape.text);
    let page = agent.get("/db/books").text();
    assert!(page.contains("Tables by size") && page.contains("by_text"), "{page}");
    assert!(page.contains("1 other table takes 4.0 KiB"), "{page}");
    assert!(!agent.get("/db/quiet").text().contains("Tables by size"));
    let answer: serde_json::Value =
        serde_json::from_slice(&agent.get("/api/v1/databases/books").body).unwrap();
    assert_eq!(answer["table_sizes"]["tables"][0]["indexes"][0]["index"], "by_text", "{answer}");
    let quiet: serde_json::Value =
        serde_json::from_slice(&agent.get("/api/v1/databases/quiet").body).unwrap();
    assert!(quiet["table_sizes"].is_null());
}
