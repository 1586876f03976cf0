//! Names that become part of the exposition: labels, and the metrics of the user.
//!
//! These names are in every scrape: one that Prometheus would rename, merge with another series or
//! reject is refused here.

/// Labels of `sqlite_db_info` that are not the user's to set.
const INFO_LABELS: [&str; 11] = [
    "job",
    "instance",
    "db",
    "path",
    "journal_mode",
    "auto_vacuum",
    "encoding",
    "application_id",
    "profile",
    "le",
    "quantile",
];

/// Labels that a custom metric has by itself, gets from Prometheus, or that mean something to it.
const METRIC_LABELS: [&str; 5] = ["db", "job", "instance", "le", "quantile"];

/// Endings that `OpenMetrics` gives a meaning or adds by itself.
const RESERVED_SUFFIXES: [&str; 6] = ["_total", "_count", "_sum", "_bucket", "_info", "_created"];

/// The prefix of every custom metric.
const CUSTOM_PREFIX: &str = "sqlite_custom_";

/// What is wrong with a static label's name, if anything.
pub(super) fn info_label_problem(name: &str) -> Option<String> {
    label_problem(name, &INFO_LABELS)
}

/// What is wrong with a custom metric's label column, if anything.
pub(super) fn metric_label_problem(name: &str) -> Option<String> {
    label_problem(name, &METRIC_LABELS)
}

fn label_problem(name: &str, reserved: &[&str]) -> Option<String> {
    if !is_identifier(name, |character| character.is_ascii_alphabetic() || character == '_') {
        return Some(
            "is not a label name; use letters, digits and `_`, not beginning with a digit".to_owned(),
        );
    }
    if name.starts_with("__") {
        return Some("is reserved: label names with `__` in front belong to Prometheus".to_owned());
    }
    reserved.contains(&name).then(|| format!("is reserved; choose another name, such as `app_{name}`"))
}

/// What is wrong with a custom metric's name, if anything.
pub(super) fn metric_name_problem(name: &str) -> Option<String> {
    if let Some(rest) = name.strip_prefix(CUSTOM_PREFIX) {
        return Some(format!("the prefix is added by itself; write `{rest}`"));
    }
    if !is_identifier(name, |character| character.is_ascii_lowercase()) || name.contains(char::is_uppercase) {
        let message = "is not a metric name; use small letters, digits and `_`, beginning with a letter";
        return Some(message.to_owned());
    }
    let suffix = RESERVED_SUFFIXES.iter().find(|suffix| name.ends_with(**suffix))?;
    let rest = name.strip_suffix(suffix).filter(|rest| !rest.is_empty()).unwrap_or("items");
    let reason =
        if *suffix == "_total" { "is added to counters by itself" } else { "is reserved by OpenMetrics" };
    Some(format!("must not end in `{suffix}`, which {reason}; write for example `{rest}`"))
}

fn is_identifier(name: &str, first: fn(char) -> bool) -> bool {
    name.starts_with(first)
        && name.chars().all(|character| character.is_ascii_alphanumeric() || character == '_')
}
