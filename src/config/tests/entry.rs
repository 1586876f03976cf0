//! Errors of one entry: its settings, and the environment in them.

use super::refuse;

/// The column, the key below the entry, and the message of each error.
type Findings<'f> = &'f [(u32, &'f str, &'f str)];

/// Checks the errors of a sound entry with one line added, the fourth. An error is its column, its
/// key below the entry, and its message.
#[track_caller]
pub(super) fn check_entry(cases: &[(&str, Findings<'_>)]) {
    for (line, expected) in cases {
        let whole = format!("databases:\n  - path: /a.db\n    name: a\n    {line}\n");
        let expected: Vec<String> = expected
            .iter()
            .map(|(column, key, message)| format!("4:{column}: databases[0].{key}: {message}"))
            .collect();
        assert_eq!(refuse(&whole), expected, "--- in\n{whole}");
    }
}

#[test]
fn settings() {
    let label = "is not a label name; use letters, digits and `_`, not beginning with a digit";
    check_entry(&[
        (
            "labels: {job: a, a-b: c, 1a: d}",
            &[
                (14, "labels.job", "is reserved; choose another name, such as `app_job`"),
                (22, "labels.a-b", label),
                (30, "labels.1a", label),
            ],
        ),
        (
            "labels: {__a: b, ok: {}}",
            &[
                (14, "labels.__a", "is reserved: label names with `__` in front belong to Prometheus"),
                (26, "labels.ok", "must be a single value, not a mapping"),
            ],
        ),
        ("labels: [a]", &[(13, "labels", "must be a mapping of keys to values, not a list")]),
        ("row_counts: some", &[(17, "row_counts", "must be a list of tables or the word `all`, not `some`")]),
        (
            "row_counts: [a, '', [b]]",
            &[
                (21, "row_counts[1]", "must not be empty"),
                (25, "row_counts[2]", "must be a single value, not a list"),
            ],
        ),
        ("row_counts: {a: b}", &[(17, "row_counts", "must be a list, not a mapping")]),
        ("table_interval: 500ms", &[(21, "table_interval", "must be from 1s to 1w, not `500ms`")]),
        ("count_timeout: 0s", &[(20, "count_timeout", "must be from 1ms to 1m, not `0s`")]),
        ("table_sizes_interval: 1s", &[(27, "table_sizes_interval", "must be from 1m to 30d, not `1s`")]),
        ("table_sizes_top: 0", &[(22, "table_sizes_top", "must be a whole number from 1 to 1000, not `0`")]),
        ("table_sizes_timeout: 2m", &[(26, "table_sizes_timeout", "must be from 1ms to 1m, not `2m`")]),
        (
            "collectors: {schema: nah, timestamps: offf}",
            &[
                (
                    26,
                    "collectors.schema",
                    "must be one of `on`, `off`, `true`, `false`, `yes` and `no`, not `nah`",
                ),
                (
                    43,
                    "collectors.timestamps",
                    "must be one of `on`, `off`, `true`, `false`, `yes` and `no`, not `offf`; did you mean `off`?",
                ),
            ],
        ),
        (
            "timestamps: [{column: a}, {table: t, column: b, format: unix}]",
            &[
                (18, "timestamps[0].table", "missing key; write `table: logs`"),
                (
                    61,
                    "timestamps[1].format",
                    "must be one of `auto`, `iso8601`, `rfc2822`, `unix_seconds`, `unix_milliseconds`, \
             `unix_microseconds`, `unix_nanoseconds`, `julian_day`, `webkit_microseconds`, `apple_seconds`, \
             `dotnet_ticks`, `windows_filetime`, `yyyymmdd`, `yyyymmddhhmm` and `yyyymmddhhmmss`, not `unix`",
                ),
            ],
        ),
        (
            "timestamps: [{table: t, column: b, format: {epoch: 2001-13-01, unit: 1 fortnight}}]",
            &[
                (
                    56,
                    "timestamps[0].format.epoch",
                    "`2001-13-01` is not a date; write it as in `2001-01-01` or `2001-01-01T12:00:00Z`",
                ),
                (
                    74,
                    "timestamps[0].format.unit",
                    "`1 fortnight` is not a unit; write it as in `1ns`, `100ns`, `1us`, `1ms`, `1s`, `1m`, `1h` or `1d`",
                ),
            ],
        ),
        (
            "sealed: [{table: t}, {table: u, where: a}, {table: U, where: b}]",
            &[
                (14, "sealed[0].where", "missing key; write `where: closed = 1`"),
                (48, "sealed[2]", "the table `U` is listed already; join its conditions with OR"),
            ],
        ),
        (
            "timestamps: [{table: t, column: a}, {table: t, column: b}]",
            &[(41, "timestamps[1]", "the table `t` is already listed; a table has one time column")],
        ),
    ]);
}

#[test]
fn labels_that_the_agent_sets_itself() {
    for name in [
        "job",
        "instance",
        "db",
        "path",
        "journal_mode",
        "auto_vacuum",
        "encoding",
        "application_id",
        "profile",
    ] {
        let message = format!("is reserved; choose another name, such as `app_{name}`");
        check_entry(&[(&format!("labels: {{{name}: x}}"), &[(14, &format!("labels.{name}"), &message)])]);
    }
}

#[test]
fn the_environment() {
    check_entry(&[
        (
            "labels: {a: '${NO} ${PORT} ${ALSO}'}",
            &[
                (
                    17,
                    "labels.a",
                    "the environment variable `NO` is not set; set it, or give a default as in `${NO:-default}`",
                ),
                (
                    17,
                    "labels.a",
                    "the environment variable `ALSO` is not set; set it, or give a default as in `${ALSO:-default}`",
                ),
            ],
        ),
        ("labels: {a: '${NO'}", &[(17, "labels.a", "`${` without `}`; write `$$` for a plain `$`")]),
        (
            "labels: {a: '${}'}",
            &[(
                17,
                "labels.a",
                "`${}` is not a variable; write `${NAME}` or `${NAME:-default}`, or `$$` for a plain `$`",
            )],
        ),
        (
            "labels: {a: '${A:?no}'}",
            &[(
                17,
                "labels.a",
                "`${A:?no}` is not a variable; write `${NAME}` or `${NAME:-default}`, or `$$` for a plain `$`",
            )],
        ),
        // What a variable holds is typed like any other text, and is quoted on one line.
        (
            "table_interval: ${STRUCTURE}",
            &[(
                21,
                "table_interval",
                "`a\\n  - path: /injected.db # ${PORT}` is not a duration; write it as in `250ms`, `15s`, `5m`, `1h30m` or `2d`",
            )],
        ),
    ]);
}
