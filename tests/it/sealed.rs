//! Sealed rows: what an auditor expects of every kind of table, value, schema change and fault.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::Trial;
use litekeeper::internals::config::Config;
use litekeeper::internals::database::Database;
use litekeeper::internals::database::DatabaseName;
use litekeeper::internals::database_files::DatabaseFiles;
use litekeeper::internals::limits::QueryLimits;
use litekeeper::internals::sealed::SealedError;
use litekeeper::internals::sealed::SealedFindingKind;
use litekeeper::internals::sealed::SealedRequest;
use litekeeper::internals::sealed::SealedTableReport;
use litekeeper::internals::sealed::compare_sealed_table;
use litekeeper::internals::sealed::sealed_problems;
use litekeeper::internals::sealed::sealed_status;

use crate::support::Agent;
use crate::support::SecondProcess;
use crate::support::TestDatabase;
use crate::support::litekeeper;
use crate::support::test;

pub fn trials() -> Vec<Trial> {
    vec![
        test("sealed_rows_of_every_kind_of_table", sealed_rows_of_every_kind_of_table),
        test("sealed_rows_keep_the_type_of_every_value", sealed_rows_keep_the_type_of_every_value),
        test("sealed_rows_and_changes_of_the_schema", sealed_rows_and_changes_of_the_schema),
        test("tables_and_conditions_that_cannot_be_sealed", tables_and_conditions_that_cannot_be_sealed),
        test("sealed_findings_stay_until_accepted_or_healed", sealed_findings_stay_until_accepted_or_healed),
        test("sealed_rows_of_many_blocks", sealed_rows_of_many_blocks),
        test("a_rotten_store_is_never_a_finding", a_rotten_store_is_never_a_finding),
        test("a_comparison_that_is_killed_loses_nothing", a_comparison_that_is_killed_loses_nothing),
        test("a_huge_sealed_value_is_compared", a_huge_sealed_value_is_compared),
        test("sealed_rows_beside_a_writer", sealed_rows_beside_a_writer),
        test("sealed_rows_at_the_command_line", sealed_rows_at_the_command_line),
        test("a_retention_of_sealed_rows_is_a_problem", a_retention_of_sealed_rows_is_a_problem),
        test("a_scrub_compares_sealed_rows", a_scrub_compares_sealed_rows),
        test("findings_in_sealed_rows_are_published", findings_in_sealed_rows_are_published),
    ]
}

/// A database with one table and the directory with its store.
struct Sealed {
    fixture: TestDatabase,
    store: tempfile::TempDir,
    condition: &'static str,
    now: std::cell::Cell<i64>,
}

impl Sealed {
    fn new(sql: &str) -> Self {
        let fixture = TestDatabase::new("sealed").sql(sql);
        if let Some((encoding, _)) =
            sql.split_once(';').filter(|(first, _)| first.starts_with("PRAGMA encoding"))
        {
            // Before there is any table.
            fixture.connect().execute_batch(&format!("{encoding}; CREATE TABLE first (a)")).unwrap();
        }
        let fixture = fixture.make();
        let store = tempfile::tempdir().unwrap();
        Self { fixture, store, condition: "closed = 1", now: std::cell::Cell::new(1_000) }
    }

    fn sql(&self, sql: &str) -> &Self {
        self.fixture.connect().execute_batch(sql).unwrap();
        self
    }

    fn try_compare(&self, accept: bool) -> Result<SealedTableReport, SealedError> {
        let path = self.fixture.path();
        self.now.set(self.now.get() + 1_000);
        compare_sealed_table(&SealedRequest {
            path: &path,
            files: &DatabaseFiles::of(&path),
            table: "vouchers",
            condition: self.condition,
            directory: self.store.path(),
            impact_limits: None,
            limits: &QueryLimits::with_timeout(Duration::from_secs(600)),
            accept,
            now: self.now.get(),
        })
    }

    fn compare(&self) -> SealedTableReport {
        self.try_compare(false).unwrap()
    }

    fn store_file(&self) -> std::path::PathBuf {
        let files = std::fs::read_dir(self.store.path()).unwrap().flatten().map(|entry| entry.path());
        let stores: Vec<_> = files.filter(|path| path.extension().is_some_and(|is| is == "seal")).collect();
        assert_eq!(stores.len(), 1, "{stores:?}");
        stores[0].clone()
    }
}

/// Sealed, added, changed, deleted and unsealed rows.
fn counts(report: &SealedTableReport) -> [u64; 5] {
    assert_eq!(report.problem, None);
    [report.rows, report.added, report.found.changed, report.found.deleted, report.found.unsealed]
}

fn named(report: &SealedTableReport) -> Vec<(SealedFindingKind, &str)> {
    report.findings.iter().map(|finding| (finding.kind, finding.key.as_str())).collect()
}

/// The kinds of tables whose rows have a key that lasts: their columns, and the key of the third row as it is shown.
const TABLES: [(&str, &str, &str); 9] = [
    ("INTEGER PRIMARY KEY", "(id INTEGER PRIMARY KEY, number TEXT, closed)", "id=3"),
    ("WITHOUT ROWID", "(id INTEGER, number TEXT, closed, PRIMARY KEY (number)) WITHOUT ROWID", "number='n3'"),
    (
        "composite",
        "(id INTEGER, number TEXT, closed, PRIMARY KEY (number, id)) WITHOUT ROWID",
        "number='n3', id=3",
    ),
    (
        "composite, descending",
        "(id INTEGER, number TEXT, closed, PRIMARY KEY (id DESC, number)) WITHOUT ROWID",
        "id=3, number='n3'",
    ),
    ("text key with a row id", "(id INTEGER, number TEXT PRIMARY KEY, closed)", "number='n3'"),
    (
        "unique columns",
        "(id INTEGER NOT NULL, number TEXT NOT NULL, closed, UNIQUE (number, id))",
        "number='n3', id=3",
    ),
    ("NOCASE", "(id INTEGER, number TEXT COLLATE NOCASE PRIMARY KEY, closed)", "number='n3'"),
    ("STRICT", "(id INTEGER PRIMARY KEY, number TEXT, closed ANY) STRICT", "id=3"),
    ("key of its own and unique", "(id INTEGER PRIMARY KEY DESC, number TEXT UNIQUE, closed)", "id=3"),
];

fn sealed_rows_of_every_kind_of_table() {
    use SealedFindingKind::Changed;
    use SealedFindingKind::Deleted;
    use SealedFindingKind::Unsealed;
    for (kind, columns, third) in TABLES {
        let db = Sealed::new(&format!(
            "CREATE TABLE vouchers {columns}; INSERT INTO vouchers (id, number, closed)
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40) SELECT i, 'n' || i, i % 2 FROM n;"
        ));
        assert_eq!(counts(&db.compare()), [20, 20, 0, 0, 0], "{kind}");
        db.sql("DELETE FROM vouchers WHERE closed = 0 AND id < 20; VACUUM");
        assert_eq!(counts(&db.compare()), [20, 0, 0, 0, 0], "{kind}: VACUUM, and rows that are not final go");
        db.sql(
            "INSERT INTO vouchers (id, number, closed) VALUES (2, 'n2', 1), (100, 'n100', 1), (-5, 'm', 1)",
        );
        assert_eq!(counts(&db.compare()), [23, 3, 0, 0, 0], "{kind}: additions at any place");
        db.sql("UPDATE vouchers SET closed = 1.0 WHERE id = 3");
        let report = db.compare();
        assert_eq!(named(&report), [(Changed, third)], "{kind}");
        db.sql(
            "UPDATE vouchers SET closed = 1 WHERE id = 3; UPDATE vouchers SET closed = 0 WHERE id = 5;
             DELETE FROM vouchers WHERE id = 7; UPDATE vouchers SET id = 9, number = 'n9b' WHERE id = 9;",
        );
        let report = db.compare();
        let of_kind = |kind| report.findings.iter().filter(|finding| finding.kind == kind).count();
        assert_eq!(report.healed, 1, "{kind}: {report:?}");
        assert_eq!((of_kind(Unsealed), report.found.unsealed), (1, 1), "{kind}: {report:?}");
        // A row with another key is gone under the old one.
        let key_changed = !columns.contains("id INTEGER PRIMARY KEY");
        let moved = u64::from(key_changed);
        assert_eq!(
            (report.found.changed, report.found.deleted, report.added),
            (1 - moved, 1 + moved, moved),
            "{kind}: {report:?}"
        );
        assert_eq!(of_kind(Deleted) as u64, report.found.deleted, "{kind}");
    }
}

fn sealed_rows_keep_the_type_of_every_value() {
    // Each pair is equal to some comparison of SQLite, or the same bytes, and is not the same content.
    for (kind, encoding, columns, before, after) in [
        ("integer and real", "UTF-8", "v", "1", "1.0"),
        ("number and text", "UTF-8", "v", "1", "'1'"),
        ("text and blob", "UTF-8", "v", "'1'", "x'31'"),
        ("NULL and empty text", "UTF-8", "v", "NULL", "''"),
        ("empty text and empty blob", "UTF-8", "v", "''", "x''"),
        ("case", "UTF-8", "v TEXT COLLATE NOCASE", "'a'", "'A'"),
        ("spaces", "UTF-8", "v TEXT COLLATE RTRIM", "'a'", "'a '"),
        ("after a NUL", "UTF-8", "v", "CAST(x'610062' AS TEXT)", "CAST(x'610063' AS TEXT)"),
        ("text that is not UTF-8", "UTF-8", "v", "CAST(x'ff' AS TEXT)", "CAST(x'fe' AS TEXT)"),
        ("text that is not UTF-8 and what stands for it", "UTF-8", "v", "CAST(x'ff' AS TEXT)", "char(65533)"),
        ("UTF-16 that is not valid", "UTF-16le", "v", "CAST(x'00d8' AS TEXT)", "CAST(x'01d8' AS TEXT)"),
        ("UTF-16 text and blob", "UTF-16le", "v", "'a'", "x'6100'"),
        ("the sign of zero", "UTF-8", "v", "0.0", "-0.0"),
        ("last bit of a real", "UTF-8", "v", "1.0", "1.0000000000000002"),
        ("large integers", "UTF-8", "v", "9007199254740993", "9007199254740992"),
        ("STORED generated", "UTF-8", "w, v AS (w || '!') STORED", "w=1", "w=2"),
    ] {
        let generated = columns.contains("STORED");
        let (column, before, after) = if generated { ("w", "1", "2") } else { ("v", before, after) };
        let db = Sealed::new(&format!(
            "PRAGMA encoding = '{encoding}'; CREATE TABLE vouchers (id INTEGER PRIMARY KEY, closed, {columns});
             INSERT INTO vouchers (id, closed, {column}) VALUES (1, 1, {before}), (2, 1, 'other');"
        ));
        db.compare();
        db.sql("VACUUM");
        assert_eq!(counts(&db.compare()), [2, 0, 0, 0, 0], "{kind}: VACUUM");
        db.sql(&format!("UPDATE vouchers SET {column} = {after} WHERE id = 1"));
        let report = db.compare();
        assert_eq!(named(&report), [(SealedFindingKind::Changed, "id=1")], "{kind}");
        db.sql(&format!("UPDATE vouchers SET {column} = {before} WHERE id = 1"));
        assert_eq!(db.compare().healed, 1, "{kind}");
    }
    // What SQLite stores as the same value is the same: -0.0 as 0.0, NaN as NULL, 1 in a REAL column as 1.0.
    for (column, before, after) in [
        ("v REAL", "0.0", "-0.0"),
        ("v", "NULL", "9e999 - 9e999"),
        ("v REAL", "1", "1.0"),
        ("v INTEGER", "1", "'1'"),
    ] {
        let db = Sealed::new(&format!(
            "CREATE TABLE vouchers (id INTEGER PRIMARY KEY, closed, {column}); INSERT INTO vouchers VALUES (1, 1, {before});"
        ));
        db.compare();
        db.sql(&format!("UPDATE vouchers SET v = {after}"));
        assert_eq!(counts(&db.compare()), [1, 0, 0, 0, 0], "{column}: {before} and {after}");
    }
    // Content cannot move from one column to the next.
    let db = Sealed::new(
        "CREATE TABLE vouchers (id INTEGER PRIMARY KEY, closed, a, b); INSERT INTO vouchers VALUES (1, 1, 'ab', 'c');",
    );
    db.compare();
    db.sql("UPDATE vouchers SET a = 'a', b = 'bc'");
    assert_eq!(counts(&db.compare()), [1, 0, 1, 0, 0]);
}

const PLAIN: &str = "CREATE TABLE vouchers (id INTEGER PRIMARY KEY, amount, note, closed);
    INSERT INTO vouchers VALUES (1, 10, 'a', 1), (2, 20, 'b', 1), (3, 30, 'c', 0);";

fn sealed_rows_and_changes_of_the_schema() {
    let has = |report: &SealedTableReport, words: &str| {
        assert!(report.notices.iter().any(|notice| notice.contains(words)), "{words}: {report:?}");
    };
    let db = Sealed::new(PLAIN);
    db.compare();
    db.sql("ALTER TABLE vouchers ADD COLUMN tax DEFAULT 7; UPDATE vouchers SET closed = 1 WHERE id = 3");
    let report = db.compare();
    assert_eq!(
        (counts(&report), report.on_older_columns),
        ([3, 1, 0, 0, 0], 2),
        "a new column changes no row"
    );
    has(&report, "2 rows are compared over the columns that the table had");
    db.sql("UPDATE vouchers SET tax = 8");
    assert_eq!(named(&db.compare()), [(SealedFindingKind::Changed, "id=3")], "new rows have the new column");
    db.sql("UPDATE vouchers SET tax = 7 WHERE id = 3; UPDATE vouchers SET amount = 11 WHERE id = 1");
    assert_eq!(named(&db.compare()), [(SealedFindingKind::Changed, "id=1")], "old rows have the old ones");
    let accepted = db.try_compare(true).unwrap();
    assert_eq!((accepted.accepted, accepted.on_older_columns), (1, 0));
    db.sql("UPDATE vouchers SET tax = 9 WHERE id = 2");
    assert_eq!(named(&db.compare()), [(SealedFindingKind::Changed, "id=2")], "accepting seals all columns");

    let db = Sealed::new(PLAIN);
    db.compare();
    db.sql(
        "ALTER TABLE vouchers RENAME COLUMN note TO remark; ALTER TABLE vouchers RENAME COLUMN id TO number",
    );
    let report = db.compare();
    assert_eq!(counts(&report), [2, 0, 0, 0, 0]);
    has(&report, "column remark is taken for note");
    assert_eq!((counts(&db.compare()), db.compare().notices), ([2, 0, 0, 0, 0], Vec::new()), "once");
    db.sql("UPDATE vouchers SET remark = 'x' WHERE number = 2");
    assert_eq!(named(&db.compare()), [(SealedFindingKind::Changed, "number=2")]);

    let db = Sealed::new(PLAIN);
    db.compare();
    db.sql("ALTER TABLE vouchers DROP COLUMN note");
    let report = db.compare();
    assert_eq!(counts(&report), [2, 0, 2, 0, 0], "what was in it is lost");
    has(&report, "column note is gone");
    assert_eq!(db.try_compare(true).unwrap().accepted, 2);
    assert_eq!(counts(&db.compare()), [2, 0, 0, 0, 0]);

    let db = Sealed::new(PLAIN);
    db.compare();
    db.sql(
        "CREATE TABLE copy (closed, note, amount, id INTEGER PRIMARY KEY); INSERT INTO copy SELECT closed, note, amount, id
         FROM vouchers; DROP TABLE vouchers; ALTER TABLE copy RENAME TO vouchers;",
    );
    assert_eq!(counts(&db.compare()), [2, 0, 0, 0, 0], "columns in another order");
    db.sql("ALTER TABLE vouchers RENAME TO elsewhere");
    let report = db.compare();
    assert_eq!(counts(&report), [2, 0, 0, 2, 0], "a table that is gone");
    has(&report, "the table no longer exists");
    db.sql("ALTER TABLE elsewhere RENAME TO vouchers");
    assert_eq!(db.compare().healed, 2);
    db.sql("ALTER TABLE vouchers RENAME TO old; CREATE TABLE vouchers (id, amount, note, closed, number PRIMARY KEY);
            INSERT INTO vouchers SELECT id, amount, note, closed, 'n' || id FROM old;");
    let error = db.try_compare(false).unwrap_err().to_string();
    assert!(error.contains("sealed by the key (id), which is (number) now"), "{error}");
    let accepted = db.try_compare(true).unwrap();
    assert_eq!((accepted.rows, accepted.added), (2, 2));
}

fn tables_and_conditions_that_cannot_be_sealed() {
    let refusal = |sql: &str, condition: &'static str| {
        let db = Sealed { condition, ..Sealed::new(sql) };
        db.try_compare(false).unwrap_err().to_string()
    };
    for (sql, condition, words) in [
        (
            "CREATE TABLE vouchers (a, closed)",
            "closed = 1",
            "the rows of vouchers have no key of their own, and VACUUM may renumber",
        ),
        (
            "CREATE TABLE vouchers (a, closed); CREATE UNIQUE INDEX part ON vouchers (a) WHERE closed = 1",
            "closed = 1",
            "no key",
        ),
        ("CREATE TABLE vouchers (a, closed); CREATE INDEX many ON vouchers (a)", "closed = 1", "no key"),
        (
            "CREATE TABLE vouchers (a, closed); CREATE UNIQUE INDEX lower ON vouchers (lower(a))",
            "closed = 1",
            "no key",
        ),
        ("CREATE TABLE others (a)", "closed = 1", "there is no table vouchers"),
        ("CREATE VIEW vouchers AS SELECT 1 AS closed", "closed = 1", "vouchers is a view"),
        ("CREATE VIRTUAL TABLE vouchers USING fts5 (closed)", "closed = 1", "virtual table"),
        (PLAIN, "shut = 1", "is not valid: no such column: shut"),
        (PLAIN, "closed = ", "is not valid: "),
        (PLAIN, "closed = 1; DELETE FROM vouchers", "is not valid"),
        (PLAIN, "1) ; DELETE FROM vouchers; --", "does something else than read"),
        (PLAIN, "count(*) > 1", "is not valid: misuse of aggregate"),
        (PLAIN, "own_function(closed)", "is not valid: no such function: own_function"),
        (PLAIN, "closed = random()", "calls random()"),
        (PLAIN, "closed < current_timestamp", "calls current_timestamp()"),
        (PLAIN, "amount < date('now')", "calls date() with 'now'"),
        (PLAIN, "amount < strftime('%s')", "without a time"),
        (PLAIN, "load_extension('x')", "calls load_extension()"),
        (PLAIN, "closed IN (SELECT page_size FROM pragma_page_size)", "reads a PRAGMA"),
    ] {
        let error = refusal(sql, condition);
        assert!(error.contains(words), "{condition}: {error}");
    }
    // What depends on the database alone is right, a comment at its end too.
    for condition in [
        "closed = 1 -- final",
        "id IN (SELECT id FROM vouchers WHERE closed)",
        "date(note) IS NULL AND closed",
    ] {
        let db = Sealed { condition, ..Sealed::new(PLAIN) };
        assert_eq!(counts(&db.compare())[0], 2, "{condition}");
    }
    // A row without a key is said, and not forgotten.
    let db = Sealed::new(
        "CREATE TABLE vouchers (number TEXT PRIMARY KEY, closed);
         INSERT INTO vouchers VALUES ('a', 1), (NULL, 1), (NULL, 0);",
    );
    let report = db.compare();
    assert_eq!((report.rows, report.without_key), (1, 1));
    assert!(report.notices.iter().any(|notice| notice.contains("1 row with NULL in the key")), "{report:?}");
}

fn sealed_findings_stay_until_accepted_or_healed() {
    let db = Sealed::new(PLAIN);
    db.compare();
    let matched_at = db.compare().compared_at;
    db.sql("UPDATE vouchers SET amount = 1 WHERE id = 1; DELETE FROM vouchers WHERE id = 2");
    let first = db.compare();
    let second = db.compare();
    assert_eq!(named(&second), [(SealedFindingKind::Changed, "id=1"), (SealedFindingKind::Deleted, "id=2")]);
    assert_eq!(first.findings, second.findings, "the finding keeps its time");
    assert_eq!(second.findings[0].last_matched_at, matched_at);
    assert_eq!(second.findings[0].found_at, first.compared_at);
    let path = db.fixture.path();
    let status = sealed_status(db.store.path(), &path, "VOUCHERS").unwrap();
    assert_eq!(
        (status.rows, status.found.changed, status.found.deleted, status.found.unsealed),
        (2, 1, 1, 0)
    );
    assert_eq!(status.compared_at, second.compared_at);
    assert_eq!(status.baseline_at, 2_000);

    db.sql("INSERT INTO vouchers VALUES (2, 20, 'b', 1)");
    let report = db.compare();
    assert_eq!((report.healed, counts(&report)), (1, [2, 0, 1, 0, 0]));
    let accepted = db.try_compare(true).unwrap();
    assert_eq!((accepted.accepted, named(&accepted)), (1, vec![(SealedFindingKind::Changed, "id=1")]));
    assert_eq!(counts(&db.compare()), [2, 0, 0, 0, 0]);
    db.sql("DELETE FROM vouchers WHERE id = 1; UPDATE vouchers SET closed = 0 WHERE id = 2");
    db.compare();
    assert_eq!(db.try_compare(true).unwrap().accepted, 2);
    assert_eq!(counts(&db.compare()), [0, 0, 0, 0, 0]);

    // Another condition in the configuration releases rows that are as they were, and no others.
    let db = Sealed::new(PLAIN);
    db.compare();
    db.sql("UPDATE vouchers SET amount = 21 WHERE id = 2");
    let db = Sealed { condition: "closed = 1 AND id > 2", ..db };
    let report = db.compare();
    assert_eq!(named(&report), [(SealedFindingKind::Unsealed, "id=2")]);
    assert!(report.notices.iter().any(|notice| notice.contains("1 row no longer sealed")), "{report:?}");
    assert!(sealed_status(db.store.path(), Path::new("/elsewhere.db"), "vouchers").is_none());
}

const MANY: &str = "CREATE TABLE vouchers (id INTEGER PRIMARY KEY, body, closed);
    INSERT INTO vouchers WITH RECURSIVE n (i) AS (SELECT 10 UNION ALL SELECT i + 10 FROM n WHERE i < 200000)
    SELECT i, 'voucher ' || i, i % 3 > 0 FROM n;";

fn sealed_rows_of_many_blocks() {
    let db = Sealed::new(MANY);
    let first = db.compare();
    assert_eq!(first.added, first.rows);
    let sealed = first.rows;
    assert!(sealed > 13_000, "{sealed}");
    assert!(first.store_bytes < 30 * sealed, "{} bytes for {sealed} rows", first.store_bytes);
    // Rows between the old ones and around them, in several comparisons, and findings all over.
    db.sql("INSERT INTO vouchers SELECT id + 5, body, 1 FROM vouchers WHERE id % 20 = 0 AND id BETWEEN 20000 AND 90000");
    let second = db.compare();
    assert_eq!((second.matched, second.found.total()), (sealed, 0));
    db.sql("INSERT INTO vouchers SELECT -id, body, 1 FROM vouchers WHERE id BETWEEN 20000 AND 120000");
    let third = db.compare();
    assert_eq!((third.matched, third.found.total()), (second.rows, 0));
    db.sql(
        "UPDATE vouchers SET body = body || '!' WHERE id % 10010 = 0 AND closed;
         DELETE FROM vouchers WHERE id BETWEEN 150000 AND 170000; UPDATE vouchers SET closed = 0 WHERE id % 7007 = 0;
         VACUUM",
    );
    let expected = |sql: &str| {
        db.fixture.connect().query_row(sql, (), |row| row.get::<_, i64>(0)).unwrap().unsigned_abs()
    };
    let still = expected("SELECT count(*) FROM vouchers WHERE closed");
    let report = db.compare();
    assert_eq!(report.rows, third.rows, "findings stay");
    assert_eq!(report.matched + report.found.changed, still, "{report:?}");
    assert!(
        report.found.changed > 0 && report.found.deleted > 1_000 && report.found.unsealed > 0,
        "{report:?}"
    );
    assert_eq!(report.findings.len(), 100, "named up to a bound");
    let again = db.compare();
    assert_eq!(counts(&again), counts(&report), "nothing is lost or counted twice");
    let accepted = db.try_compare(true).unwrap();
    assert_eq!((accepted.accepted, accepted.rows), (report.found.total(), still));
    let last = db.compare();
    assert_eq!((last.rows, last.matched, last.added), (still, still, 0));
}

fn a_rotten_store_is_never_a_finding() {
    let db = Sealed::new(MANY);
    let first = db.compare();
    let store = db.store_file();
    let good = std::fs::read(&store).unwrap();
    let length = good.len();
    let flipped = |place: usize| {
        let mut bytes = good.clone();
        bytes[place] ^= 4;
        bytes
    };
    let mut broken: Vec<Vec<u8>> = (0..40).map(|step| flipped(step * length / 40 + 9)).collect();
    broken.extend([0, 1, 8, 20, length - 20, length - 1].map(|cut| good[..cut].to_vec()));
    broken.extend([
        flipped(length - 1),
        flipped(length - 12),
        flipped(8),
        flipped(11),
        b"something else".repeat(99),
    ]);
    for (case, bytes) in broken.iter().enumerate() {
        std::fs::write(&store, bytes).unwrap();
        let report = db.compare();
        assert_eq!((report.found.total(), report.rows), (0, first.rows), "{case}: {report:?}");
        assert!(!report.notices.is_empty(), "{case}: a re-base is said");
    }
    // A file that a kill left half written is of no account.
    std::fs::write(&store, &good).unwrap();
    std::fs::write(store.with_extension("seal.new"), &good[..length / 2]).unwrap();
    assert_eq!(db.compare().matched, first.rows);
    // Another key: all is as if it were new.
    std::fs::remove_file(db.store.path().join("key")).unwrap();
    let report = db.compare();
    assert_eq!((report.found.total(), report.added), (0, first.rows));
    assert!(report.notices[0].contains("made with another key"), "{report:?}");
}

fn a_comparison_that_is_killed_loses_nothing() {
    let db = Sealed::new(MANY);
    let file = db.store.path().join("litekeeper.yml");
    let text = format!(
        "state: {}\ndatabases: [{{name: books, path: {}, sealed: [{{table: vouchers, where: closed = 1}}]}}]",
        db.store.path().join("state.db").display(),
        db.fixture.path().display()
    );
    std::fs::write(&file, text).unwrap();
    let start = || {
        litekeeper()
            .args(["sealed", "--json", "--config"])
            .arg(&file)
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap()
    };
    assert!(start().wait().unwrap().success());
    // Moments all over a comparison; that it is over at some of them does no harm.
    for step in 0..20 {
        let mut running = start();
        std::thread::sleep(Duration::from_millis(step * 15));
        running.kill().unwrap();
        running.wait().unwrap();
    }
    let output = start().wait_with_output().unwrap();
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let table = &json["databases"][0]["tables"][0];
    assert_eq!((output.status.code(), &table["matched"]), (Some(0), &table["rows"]), "{table}");
    assert_eq!((&table["added"], &table["notices"]), (&0.into(), &serde_json::json!([])), "{table}");
}

fn a_huge_sealed_value_is_compared() {
    let db = Sealed::new(
        "CREATE TABLE vouchers (id INTEGER PRIMARY KEY, scan, closed); INSERT INTO vouchers VALUES (1, zeroblob(100000000), 1);",
    );
    db.compare();
    assert_eq!(counts(&db.compare()), [1, 0, 0, 0, 0]);
    db.sql("UPDATE vouchers SET scan = CAST(zeroblob(99999999) || x'01' AS BLOB)");
    assert_eq!(counts(&db.compare()), [1, 0, 1, 0, 0]);
}

fn sealed_rows_beside_a_writer() {
    for journal in ["wal", "delete"] {
        let db = Sealed::new(&format!("PRAGMA journal_mode = {journal}; {MANY}"));
        let first = db.compare();
        // An owner that commits all the time.
        let mut owner = SecondProcess::open(&db.fixture.path());
        owner.run("PRAGMA busy_timeout = 60000");
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let until = Arc::clone(&stop);
        let writer = std::thread::spawn(move || {
            let mut commits = 0_u64;
            while !until.load(std::sync::atomic::Ordering::Relaxed) {
                owner.run("UPDATE vouchers SET body = body || 'x' WHERE id = 30; INSERT INTO vouchers (body, closed) VALUES ('new', 0)");
                commits += 1;
            }
            commits
        });
        let second = db.compare();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        let commits = writer.join().unwrap();
        assert_eq!((second.matched, second.found.total()), (first.rows, 0), "{journal}: {second:?}");
        assert!(commits > 0, "{journal}");
    }
}

fn a_retention_of_sealed_rows_is_a_problem() {
    let db = Sealed::new(&format!("{PLAIN} CREATE TABLE logs (id INTEGER PRIMARY KEY, at);"));
    let problems = |cleaning: &str, condition: &str| {
        let text = format!(
            "databases: [{{path: {path}, sealed: [{{table: vouchers, where: {condition}}}],
              tasks: {{scrub: on, log_cleaning: {{tables: [{cleaning}]}}}}}}]",
            path = db.fixture.path().display()
        );
        let file = db.store.path().join("litekeeper.yml");
        std::fs::write(&file, &text).unwrap();
        let config = Config::load(&file).unwrap();
        let settings = Arc::clone(&config.sources[0].settings);
        let database = Database::new(DatabaseName::new("books"), db.fixture.path(), settings, 100);
        sealed_problems(&database, &QueryLimits::with_timeout(Duration::from_secs(60)))
    };
    for (cleaning, condition, words) in [
        ("{table: logs, column: at}", "closed = 1", None),
        ("{table: Vouchers, column: note}", "closed = 1", Some("condition: NOT (closed = 1)")),
        ("{table: vouchers, column: note, condition: closed = 0}", "closed = 1", None),
        (
            "{table: vouchers, column: note, condition: amount > 15}",
            "closed = 1",
            Some("would delete some of them"),
        ),
        ("{table: logs, column: at, cascade: [vouchers]}", "closed = 1", Some("by `cascade`")),
        ("{table: logs, column: at, set_null: [vouchers]}", "closed = 1", Some("by `set_null`")),
        ("{table: logs, column: at}", "shut = 1", Some("no such column: shut")),
    ] {
        let found = problems(cleaning, condition);
        match words {
            None => assert_eq!(found, Vec::<String>::new(), "{cleaning}"),
            Some(words) => assert!(found.len() == 1 && found[0].contains(words), "{cleaning}: {found:?}"),
        }
    }
}

fn sealed_rows_at_the_command_line() {
    let db = Sealed::new(&format!("{PLAIN} CREATE TABLE keyless (a, closed);"));
    let file = db.store.path().join("litekeeper.yml");
    let configure = |table: &str, more: &str| {
        let text = format!(
            "state: {state}\ndatabases: [{{name: books, path: {path}, sealed: [{{table: {table}, where: closed = 1}}{more}]}}]",
            state = db.store.path().join("state.db").display(),
            path = db.fixture.path().display()
        );
        std::fs::write(&file, text).unwrap();
    };
    let run = |arguments: &[&str]| {
        let output = litekeeper().args(["sealed", "--config"]).arg(&file).args(arguments).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    configure("vouchers", "");
    let (code, text, _) = run(&[]);
    assert_eq!((code, text.as_str()), (Some(0), "books: vouchers: 2 rows sealed for the first time\n"));
    db.sql("UPDATE vouchers SET amount = 11 WHERE id = 1");
    let (code, text, _) = run(&[]);
    assert_eq!(code, Some(1));
    assert!(
        text.starts_with(
            "books: vouchers: 1 of 2 rows as sealed, 1 changed\n  changed id=1, as sealed until 20"
        ),
        "{text}"
    );
    let (code, json, _) = run(&["--json", "--db", "books"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let table = &json["databases"][0]["tables"][0];
    assert_eq!((code, &table["changed"], &table["findings"][0]["key"]), (Some(1), &1.into(), &"id=1".into()));
    assert_eq!(table["findings"][0]["kind"], "changed");
    let (code, text, log) = run(&["--accept"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("1 accepted\n  accepted: changed id=1"), "{text}");
    assert!(log.contains("changes of sealed rows accepted"), "{log}");
    assert_eq!(run(&[]).0, Some(0));
    configure("vouchers", ", {table: keyless, where: closed = 1}");
    let (code, text, _) = run(&[]);
    assert_eq!(code, Some(3));
    assert!(
        text.contains("books: keyless: not compared: the rows of keyless have no key of their own"),
        "{text}"
    );
    let checked = litekeeper().args(["config", "check"]).arg(&file).output().unwrap();
    let warnings = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(warnings.contains("warning: books: sealed rows: the rows of keyless have no key"), "{warnings}");
    assert!(warnings.contains("nothing compares them on a schedule; write `scrub: {}`"), "{warnings}");
    assert_eq!(run(&["--db", "nobody"]).0, Some(2));
}

impl Sealed {
    /// A configuration with the task `scrub`, and the sealed tables.
    fn configure_scrub(&self, tables: &[&str]) -> std::path::PathBuf {
        let file = self.store.path().join("litekeeper.yml");
        let sealed = tables.iter().map(|table| format!("{{table: {table}, where: closed = 1}}"));
        let text = format!(
            "state: {state}\ntimezone: UTC\ndatabases: [{{name: books, path: {path}, sealed: [{sealed}], \
             tasks: {{scrub: {{schedule: \"0 0 1 1 *\"}}}}}}]",
            state = self.store.path().join("state.db").display(),
            path = self.fixture.path().display(),
            sealed = sealed.collect::<Vec<_>>().join(", "),
        );
        std::fs::write(&file, text).unwrap();
        file
    }

    fn scrub(&self, tables: &[&str], arguments: &[&str]) -> (Option<i32>, String) {
        let file = self.configure_scrub(tables);
        let output =
            litekeeper().args(["run", "scrub", "--config"]).arg(file).args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    }
}

fn a_scrub_compares_sealed_rows() {
    let db = Sealed::new(&format!("{PLAIN} CREATE TABLE keyless (a, closed);"));
    let file = db.configure_scrub(&["vouchers"]);
    let checked = litekeeper().args(["config", "check"]).arg(&file).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&checked.stderr), "", "a scrub compares them");
    let (code, text) = db.scrub(&["vouchers"], &[]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("sealed rows of vouchers: 2 rows sealed for the first time"), "{text}");
    db.sql("UPDATE vouchers SET amount = 11 WHERE id = 1; DELETE FROM vouchers WHERE id = 2");
    let (code, text) = db.scrub(&["vouchers"], &[]);
    assert_eq!(code, Some(1), "{text}");
    for words in [
        "failed (constraint)",
        "sealed rows of vouchers: 1 changed, 1 deleted (changed id=1, as sealed until 20",
        "litekeeper runbook SqliteSealedRowsChanged",
        "; sealed rows: 0 of 2 rows as sealed, 1 changed, 1 deleted\n",
        "    deleted id=2, as sealed until 20",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    // A table that cannot be compared does not hide what is found in another one, nor the pages.
    let (code, json) = db.scrub(&["keyless", "vouchers"], &["--json"]);
    assert_eq!(code, Some(1), "{json}");
    for words in ["the rows of keyless have no key", "1 changed, 1 deleted"] {
        assert!(json.contains(words), "{words}: {json}");
    }
    let run: serde_json::Value = serde_json::from_str(json.trim()).unwrap();
    let scrub = &run["runs"][0]["details"]["scrub"];
    assert!(scrub["mode"].is_string() && scrub["pages"].as_u64() > Some(0), "{json}");
    let kinds = scrub["sealed"][1]["findings"].as_array().unwrap().iter().map(|found| found["kind"].clone());
    assert_eq!(kinds.collect::<Vec<_>>(), ["changed", "deleted"]);
    let (code, text) = db.scrub(&["keyless"], &[]);
    assert!(code == Some(3) && text.contains("sealed rows of keyless were not compared"), "{text}");
    db.sql("DELETE FROM vouchers; INSERT INTO vouchers VALUES (1, 10, 'a', 1), (2, 20, 'b', 0)");
    let (code, text) = db.scrub(&["vouchers"], &[]);
    assert!(code == Some(1) && text.contains("litekeeper runbook SqliteSealedRowsUnsealed"), "{text}");
}

fn findings_in_sealed_rows_are_published() {
    let db = Sealed::new(PLAIN);
    let file = db.configure_scrub(&["vouchers"]);
    let start = || {
        let mut command = litekeeper();
        command.args(["serve", "--config"]).arg(&file);
        Agent::start(command).ready()
    };
    let found = |kind: &'static str| [("db", "books"), ("table", "vouchers"), ("kind", kind)];
    let table = &found("")[..2];
    let agent = start();
    let scrape = agent.until("sqlite_sealed_last_compared_timestamp_seconds", table, 0.0);
    assert_eq!(scrape.count("sqlite_sealed_rows", table), 0, "absent before the first comparison");
    assert_eq!(db.scrub(&["vouchers"], &[]).0, Some(0));
    agent.until("sqlite_sealed_rows", table, 2.0);
    db.sql("UPDATE vouchers SET amount = 11 WHERE id = 1; UPDATE vouchers SET closed = 0 WHERE id = 2");
    assert_eq!(db.scrub(&["vouchers"], &[]).0, Some(1));
    agent.until("sqlite_sealed_findings", &found("changed"), 1.0);
    drop(agent);
    let agent = start();
    let scrape = agent.until("sqlite_sealed_findings", &found("unsealed"), 1.0);
    assert_eq!(scrape.value("sqlite_sealed_findings", &found("deleted")), Some(0.0));
    assert!(scrape.value("sqlite_sealed_last_compared_timestamp_seconds", table) > Some(1e9));
    // An acceptance ends the alert at once, and not with the next scrub.
    let accepted = litekeeper().args(["sealed", "--accept", "--config"]).arg(&file).output().unwrap();
    assert_eq!(accepted.status.code(), Some(0));
    agent.until("sqlite_sealed_findings", &found("changed"), 0.0);
    agent.until("sqlite_sealed_findings", &found("unsealed"), 0.0);
}
