//! Custom metrics: names, labels, and one family a name.

use super::refuse;

/// Checks the errors of one metric; what is given is added to (and may repeat no key of) a sound
/// one. An error is its key below the metric and its message.
#[track_caller]
fn check(cases: &[(&str, &[(&str, &str)])]) {
    for (metric, expected) in cases {
        let whole = format!("databases: [{{path: /a.db, custom_metrics: [{{{metric}}}]}}]\n");
        let found: Vec<String> = refuse(&whole).iter().map(|line| place_cut(line)).collect();
        let expected: Vec<String> =
            expected.iter().map(|(key, message)| format!("{key}: {message}")).collect();
        assert_eq!(found, expected, "--- in\n{whole}");
    }
}

/// A line from the key below the metric on.
fn place_cut(line: &str) -> String {
    line.split_once(" databases[0].custom_metrics[0].").map_or(line, |(_, rest)| rest).to_owned()
}

const SOUND: &str = "type: gauge, help: A., sql: SELECT 1";

#[test]
fn names() {
    let shape = "is not a metric name; use small letters, digits and `_`, beginning with a letter";
    let reserved = |name: &str, suffix: &str, rest: &str| {
        format!(
            "`{name}` must not end in `{suffix}`, which is reserved by OpenMetrics; write for example `{rest}`"
        )
    };
    let cases = [
        ("Jobs", format!("`Jobs` {shape}")),
        ("jobS", format!("`jobS` {shape}")),
        ("9a", format!("`9a` {shape}")),
        ("_a", format!("`_a` {shape}")),
        ("a-b", format!("`a-b` {shape}")),
        ("a:b", format!("`a:b` {shape}")),
        ("ä", format!("`ä` {shape}")),
        ("sqlite_custom_jobs", "`sqlite_custom_jobs` the prefix is added by itself; write `jobs`".to_owned()),
        (
            "a_total",
            "`a_total` must not end in `_total`, which is added to counters by itself; write for example `a`"
                .to_owned(),
        ),
        ("a_count", reserved("a_count", "_count", "a")),
        ("a_sum", reserved("a_sum", "_sum", "a")),
        ("a_bucket", reserved("a_bucket", "_bucket", "a")),
        ("a_info", reserved("a_info", "_info", "a")),
        ("a_created", reserved("a_created", "_created", "a")),
    ];
    for (name, message) in cases {
        check(&[(&format!("name: {name}, {SOUND}"), &[("name", &message)])]);
    }
}

#[test]
fn fields() {
    let label = "is not a label name; use letters, digits and `_`, not beginning with a digit";
    let with = |more: &str| format!("name: a, {SOUND}, {more}");
    check(&[
        (
            "value: v",
            &[
                ("help", "missing key; write `help: Jobs that wait.`"),
                ("name", "missing key; write `name: queue_depth`"),
                ("sql", "missing key; write `sql: SELECT count(*) AS value FROM jobs`"),
                ("type", "missing key; write `type: gauge`"),
            ],
        ),
        (
            "name: a, type: guage, help: '', sql: ' '",
            &[
                ("type", "must be one of `gauge` and `counter`, not `guage`; did you mean `gauge`?"),
                ("help", "must not be empty"),
                ("sql", "must not be empty"),
            ],
        ),
        (
            &with("labels: [db, 'a b', __x, ok, ok, le]"),
            &[
                ("labels[0]", "`db` is reserved; choose another name, such as `app_db`"),
                ("labels[1]", &format!("`a b` {label}")),
                ("labels[2]", "`__x` is reserved: label names with `__` in front belong to Prometheus"),
                ("labels[4]", "`ok` is listed already"),
                ("labels[5]", "`le` is reserved; choose another name, such as `app_le`"),
            ],
        ),
        (
            &with("labels: [n], value: n"),
            &[("labels", "`n` is the column of the value and cannot be a label too")],
        ),
        (
            &with("interval: 100ms, timeout: 2m, max_rows: 0"),
            &[
                ("interval", "must be from 1s to 1w, not `100ms`"),
                ("timeout", "must be from 1ms to 1m, not `2m`"),
                ("max_rows", "must be a whole number from 1 to 10000, not `0`"),
            ],
        ),
        (
            &with("query: x"),
            &[(
                "query",
                "unknown key; the keys here are `name`, `type`, `help`, `sql`, `value`, `labels`, `interval`, \
             `timeout` and `max_rows`",
            )],
        ),
    ]);
}

#[test]
fn one_family_a_name() {
    let text = "\
profiles:
  p:
    custom_metrics:
      - {name: a, type: gauge, help: A., sql: SELECT 1, labels: [x, y]}
databases:
  - path: /same
    custom_metrics: [{name: a, type: gauge, help: ' A. ', sql: SELECT 2, labels: [y, x]}]
  - path: /other
    custom_metrics:
      - {name: a, type: counter, help: B., sql: SELECT 1}
  - path: /twice
    profile: p
    custom_metrics:
      - {name: a, type: gauge, help: A., sql: SELECT 1, labels: [x, y]}
      - {name: b, type: gauge, help: B., sql: SELECT 1}
      - {name: b, type: gauge, help: B., sql: SELECT 2}
";
    let has_another = |key: &str| {
        format!(
            "`a` has another {key} in profiles.p.custom_metrics[0]; a metric has one type, help and set of \
             labels in all databases"
        )
    };
    assert_eq!(
        refuse(text),
        [
            format!("10:9: databases[1].custom_metrics[0].labels: {}", has_another("labels")),
            format!("10:25: databases[1].custom_metrics[0].type: {}", has_another("type")),
            format!("10:40: databases[1].custom_metrics[0].help: {}", has_another("help")),
            "14:7: databases[2].custom_metrics: `a` is already defined by the profile `p`".to_owned(),
            "16:16: databases[2].custom_metrics[2].name: `b` is listed already; a database has a metric once"
                .to_owned(),
        ]
    );
}
