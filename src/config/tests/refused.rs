//! Every kind of error: its place, its key, and what it says.

use super::entry::check_entry;
use super::refuse;
use crate::config::tree::MAX_FILE_BYTES;

const TOP_KEYS: &str = "the keys here are `listen`, `web`, `state`, `timezone`, `temp_directory`, `pause_file`, `max_jobs`, `max_jobs_per_filesystem`, `catch_up_delay`, `history_retention`, `sample_interval`, `discovery_interval`, \
     `max_databases`, `series_limit`, `tracing`, `profiles` and `databases`";

const ENTRY_KEYS: &str = "the keys here are `path`, `glob`, `directory`, `name`, `exclude`, `include`, \
     `recursive`, `profile`, `labels`, `row_counts`, `timestamps`, `custom_metrics`, `table_interval`, \
     `count_timeout`, `table_sizes_interval`, `table_sizes_top`, `table_sizes_timeout`, `collectors`, `owner_busy_timeout`, `sealed`, `tasks` and `alerts`";

/// Checks the errors of whole files; `TOP` and `ENTRY` stand for the lists of keys.
#[track_caller]
fn check(cases: &[(&str, &[&str])]) {
    for (text, expected) in cases {
        let expected: Vec<String> =
            expected.iter().map(|line| line.replace("TOP", TOP_KEYS).replace("ENTRY", ENTRY_KEYS)).collect();
        assert_eq!(refuse(text), expected, "--- in\n{text}");
    }
}

/// Checks the one error of a single line in front of a sound list of databases. The error begins
/// with its column; the line is the first, and the key is the line's.
#[track_caller]
fn check_top(cases: &[(&str, &str)]) {
    for (line, expected) in cases {
        let (column, message) = expected.split_once(' ').unwrap();
        let (key, _) = line.split_once(':').unwrap();
        let whole = format!("{line}\ndatabases: [{{path: /a.db}}]\n");
        assert_eq!(refuse(&whole), [format!("1:{column}: {key}: {message}")], "--- in\n{whole}");
    }
}

#[test]
fn the_file_as_a_whole() {
    let empty = "is empty; write at least `databases: [{path: /srv/app/app.db}]`";
    let missing = "1:1: databases: missing key; write `databases: [{path: /srv/app/app.db}]`";
    check(&[
        ("", &[&format!("1:1: {empty}")]),
        ("# nothing\n", &[&format!("2:1: {empty}")]),
        ("- a\n", &["1:1: must be a mapping of keys to values, not a list"]),
        // A byte-order mark shifts neither the columns nor the spelling of a number.
        (
            "\u{feff}max_databases: 0x0\ndatabases: [{path: /a}]\n",
            &["1:16: max_databases: must be a whole number from 1 to 100000, not `0x0`"],
        ),
        ("a\n", &["1:1: must be a mapping of keys to values, not the text `a`"]),
        ("listen: 127.0.0.1:1\n", &[missing]),
        ("databases:\n", &["1:10: databases: has no value; it must be a list"]),
        (
            "databases: []\n",
            &["1:12: databases: must name at least one database, as in `- path: /srv/app/app.db`"],
        ),
        ("databases: /a.db\n", &["1:12: databases: must be a list, not the text `/a.db`"]),
        // A typo is one error, not a missing key as well.
        ("database: []\n", &["1:1: database: unknown key; did you mean `databases`?"]),
        ("? [a]\n: b\ndatabases: [{path: /a.db}]\n", &["1:3: a key must be text, not a list"]),
    ]);
}

#[test]
fn what_is_no_yaml() {
    check(&[
        ("listen: [1\nb: 2\n", &["2:2: is not valid YAML: illegal placement of ':' indicator"]),
        ("a: \"open\n", &["1:4: is not valid YAML: unclosed quote"]),
        ("a: *nope\n", &["1:4: is not valid YAML: reference to unknown value"]),
        ("a: &a [*a]\n", &["1:8: is not valid YAML: Recursive reference not allowed here"]),
        (
            "a: 1\n---\nb: 2\n",
            &["3:1: is not valid YAML: only single YAML document expected but multiple found"],
        ),
        (
            "databases: [{path: ${PORT}}]\n",
            &[
                "1:21: is not valid YAML: while parsing a flow mapping, did not find expected ',' or '}'; inside `{ }` and `[ ]`, quote a value with `${…}`",
            ],
        ),
        ("databases: !all []\n", &["1:17: is not valid YAML: unsupported tag `!all`"]),
    ]);
}

#[test]
fn small_files_that_would_be_large_trees() {
    let list = |item: &str| vec![item; 50].join(",");
    let mut aliases = format!("a: &a [{}]\n", list("x"));
    for (name, inner) in [("b", "*a"), ("c", "*b"), ("d", "*c"), ("e", "*d")] {
        aliases.push_str(&format!("{name}: &{name} [{}]\n", list(inner)));
    }
    let scalar = format!("a: &a {}\nb: [{}]\n", "x".repeat(500_000), list("*a"));
    let deep: String = (0..500).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    for (text, position) in
        [(aliases, "4:8"), (scalar, "2:50"), (deep, "33:33"), ("[".repeat(100_000), "1:33")]
    {
        let errors = refuse(&text);
        let [error] = errors.as_slice() else { panic!("one error, not {errors:?}") };
        assert!(error.starts_with(&format!("{position}: is not valid YAML: ")), "{error}");
        assert!(error.contains("too large or too complex") || error.contains("recursion limit"), "{error}");
    }
    let large = " ".repeat(MAX_FILE_BYTES + 1);
    assert_eq!(refuse(&large), [" is too large: 1048577 bytes, of at most 1048576; is it a configuration?"]);
}

#[test]
fn keys() {
    check(&[
        ("databases:\n  - pth: /a.db\n", &["2:5: databases[0].pth: unknown key; did you mean `path`?"]),
        ("nothing: 1\ndatabases: [{path: /a.db}]\n", &["1:1: nothing: unknown key; TOP"]),
        ("interval: 1\ndatabases: [{path: /a.db}]\n", &["1:1: interval: unknown key; TOP"]),
        (
            "listen: 127.0.0.1:1\nlisten: 127.0.0.1:2\ndatabases: [{path: /a.db, path: /b.db}]\n",
            &[
                "2:1: listen: duplicate key; it is already on line 1",
                "3:27: databases[0].path: duplicate key; it is already on line 3",
            ],
        ),
        (
            "profiles: {a: {path: /x}, a: {}, '': {}}\ndatabases: [{path: /a.db}]\n",
            &[
                "1:16: profiles.a.path: unknown key; the keys here are `labels`, `row_counts`, `timestamps`, \
             `custom_metrics`, `table_interval`, `count_timeout`, `table_sizes_interval`, `table_sizes_top`, `table_sizes_timeout`, `collectors`, `owner_busy_timeout`, `sealed`, `tasks` and `alerts`",
                "1:27: profiles.a: duplicate key; it is already on line 1",
                "1:34: profiles.: a profile needs a name",
            ],
        ),
    ]);
    check_entry(&[
        ("metrics: []", &[(5, "metrics", "unknown key; did you mean `custom_metrics`?")]),
        (
            "collectors: {row_count: on}",
            &[(18, "collectors.row_count", "unknown key; did you mean `row_counts`?")],
        ),
    ]);
}

#[test]
fn addresses_durations_and_numbers() {
    let no_duration = "is not a duration; write it as in `250ms`, `15s`, `5m`, `1h30m` or `2d`";
    let listen = "is not an address with a port; write it as in `127.0.0.1:10321` or `[::1]:10321`, `:10321` for all interfaces, or `unix:/run/litekeeper/web.sock`";
    check_top(&[
        ("listen: :99999", &format!("9 `:99999` {listen}")),
        ("listen: example.org:80", &format!("9 `example.org:80` {listen}")),
        ("listen: 10321", &format!("9 `10321` {listen}")),
        ("listen: 127.0.0.1:99999", &format!("9 `127.0.0.1:99999` {listen}")),
        ("listen: []", "9 must name at least one address, as in `127.0.0.1:10321`"),
        ("sample_interval: 15", "18 `15` has no unit; write `15s` for seconds, or use ms, m, h, d or w"),
        ("sample_interval: 0x10 # hex", &format!("18 `0x10` {no_duration}")),
        ("sample_interval: 1.5s", &format!("18 `1.5s` {no_duration}")),
        ("sample_interval: 5m1h", &format!("18 `5m1h` {no_duration}")),
        ("sample_interval: 1s1s", &format!("18 `1s1s` {no_duration}")),
        ("sample_interval: 99999999999999y", &format!("18 `99999999999999y` {no_duration}")),
        ("sample_interval: ''", &format!("18 `` {no_duration}")),
        ("sample_interval: 999ms", "18 must be from 1s to 1h, not `999ms`"),
        ("sample_interval: 61m", "18 must be from 1s to 1h, not `61m`"),
        ("discovery_interval: 2d", "21 must be from 1s to 1d, not `2d`"),
        ("max_databases: 0", "16 must be a whole number from 1 to 100000, not `0`"),
        ("max_databases: 1e3", "16 must be a whole number from 1 to 100000, not `1e3`"),
        ("series_limit: -1", "15 must be a whole number from 1 to 100000, not `-1`"),
        ("series_limit: {}", "15 must be a single value, not a mapping"),
        ("series_limit:", "13 has no value; it must be a single value"),
    ]);
}

#[test]
fn targets() {
    check(&[
        (
            "databases: [{labels: {a: b}}]\n",
            &["1:13: databases[0]: names no files; write one of `path`, `glob` and `directory`"],
        ),
        (
            "databases: [{glob: /b, path: /a.db}]\n",
            &[
                "1:24: databases[0].path: an entry may have only one of `path`, `glob` and `directory`; split it into two entries",
            ],
        ),
        (
            "databases:\n  - {glob: /b, name: x}\n  - {path: /a, exclude: [], recursive: on}\n",
            &[
                "2:16: databases[0].name: is valid only with `path`, not with `glob`; remove it",
                "3:16: databases[1].exclude: is valid only with `glob` and `directory`, not with `path`; remove it",
                "3:29: databases[1].recursive: is valid only with `directory`, not with `path`; remove it",
            ],
        ),
        (
            "databases: [{path: app.db-wal}, {path: /b-shm}, {path: /c.db-journal}]\n",
            &[
                "1:20: databases[0].path: is the write-ahead log of a database, not a database; name the main file: `/etc/app.db`",
                "1:40: databases[1].path: is the shared memory of a database, not a database; name the main file: `/b`",
                "1:56: databases[2].path: is the rollback journal of a database, not a database; name the main file: `/c.db`",
            ],
        ),
        (
            "databases:\n  - {path: a.db, name: x}\n  - {path: /etc/./a.db}\n  - {path: b.db, name: x}\n",
            &[
                "3:12: databases[1].path: is already monitored by `databases[0]`; remove one of the two",
                "4:24: databases[2].name: `x` is already the name of `databases[0]`; names must be unique",
            ],
        ),
        (
            "databases: [{path: '/x/*.db'}, {path: ' '}, 5]\n",
            &[
                "1:20: databases[0].path: is one file; for a pattern write `glob: /x/*.db`",
                "1:39: databases[1].path: must not be empty",
                "1:45: databases[2]: must be a mapping of keys to values, not the text `5`",
            ],
        ),
    ]);
}

#[test]
fn patterns_profiles_and_long_names() {
    check(&[
        (
            "databases:\n  - {glob: '/x/[a.db', exclude: ['{a', b]}\n  - {directory: /x, include: [a/b]}\n  - {directory: /y, include: []}\n",
            &[
                "2:12: databases[0].glob: `/x/[a.db` is not a valid pattern: unclosed character class; missing ']'",
                "2:34: databases[0].exclude[0]: `{a` is not a valid pattern: unclosed alternate group; missing '}' \
             (maybe escape '{' with '[{]'?)",
                "3:30: databases[1].include: must contain file names without `/`; for subdirectories write `recursive: on`",
                "4:30: databases[2].include: must contain at least one pattern, as in `include: [\"*.db\"]`",
            ],
        ),
        (
            "profiles: {tenant: {}}\ndatabases: [{path: /a, profile: tenants}, {path: /b, profile: x}]\n",
            &[
                "2:33: databases[0].profile: there is no profile `tenants`; did you mean `tenant`?",
                "2:63: databases[1].profile: there is no profile `x`; the profiles are `tenant`",
            ],
        ),
    ]);
    check_entry(&[("profile: x", &[(14, "profile", "there is no profile `x`; the file has no `profiles`")])]);
    let long =
        format!("databases: [{{path: /a, name: {}}}, {{path: /b, name: \"a\\tb\"}}]\n", "n".repeat(201));
    check(&[(
        &long,
        &[
            "1:30: databases[0].name: must be one line of at most 200 bytes, because it is a label value",
            "1:251: databases[1].name: must be one line of at most 200 bytes, because it is a label value",
        ],
    )]);
}

#[test]
fn all_errors_at_once_in_the_order_of_the_file() {
    let text = "\
listen: here
sample_interval: 5
profiles:
  tenant:
    labels: {db: x, le: y}
    custom_metrics: [{name: a_total, type: gauge, help: A., sql: SELECT 1}]
databases:
  - pth: /a.db
    row_counts: none
  - glob: /b/*.db
    profile: tenent
    colectors: {schema: off}
max_databases: many
";
    let places: Vec<String> =
        refuse(text).iter().map(|line| line.splitn(4, ':').take(3).collect::<Vec<_>>().join(":")).collect();
    assert_eq!(
        places,
        [
            "1:9: listen",
            "2:18: sample_interval",
            "5:14: profiles.tenant.labels.db",
            "5:21: profiles.tenant.labels.le",
            "6:29: profiles.tenant.custom_metrics[0].name",
            "8:5: databases[0].pth",
            "9:17: databases[0].row_counts",
            "11:14: databases[1].profile",
            "12:5: databases[1].colectors",
            "13:16: max_databases",
        ]
    );
}

#[test]
fn traces_that_would_go_nowhere() {
    let databases = "databases: [{path: /a.db}]\n";
    check(&[
        (
            &format!("tracing: {{timeout: 1s}}\n{databases}"),
            &["1:10: tracing.endpoint: missing key; write `endpoint: http://127.0.0.1:4318`"],
        ),
        (
            &format!("tracing: {{endpoint: \"otel:4317\", client_type: grpc}}\n{databases}"),
            &[
                "1:21: tracing.endpoint: must be a URL, as in `http://127.0.0.1:4318`",
                "1:47: tracing.client_type: OTLP over gRPC is not supported; write `http` and the collector's port for OTLP over \
                 HTTP (usually 4318)",
            ],
        ),
        (
            &format!(
                "tracing: {{endpoint: \"http://a\", headers: {{\"a b\": c}}, sampling_fraction: 2, tls_config: {{key_file: k}}}}\n{databases}"
            ),
            &[
                "1:43: tracing.headers.a b: `a b` is not a header name",
                "1:73: tracing.sampling_fraction: must be a number from 0 to 1, not `2`",
                "1:88: tracing.tls_config: `cert_file` and `key_file` go together",
            ],
        ),
    ]);
}
