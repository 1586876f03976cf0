//! Reads which rows of a table stay: by age, by the moment of their expiry, by number or by size.

use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use crate::config::Retention;
use crate::config::TimestampFormat;
use crate::config::decode::Decoder;
use crate::config::decode::Fields;
use crate::config::decode::Value;
use crate::config::decode::quoted;
use crate::config::paths::resolve_path;
use crate::config::settings::read_format;
use crate::config::tasks_read::DAY;
use crate::config::tasks_read::SECOND;
use crate::config::tasks_read::read;

/// A retention below this deletes what somebody may still look at today.
const SHORT_RETENTION: Duration = DAY;

const RETENTION: RangeInclusive<Duration> = SECOND..=Duration::from_secs(100 * 365 * 86_400);

/// The retention of one table; `base` is the file's directory, for relative paths.
pub(super) fn read_retention(value: &Value<'_>, base: &Path, decoder: &mut Decoder<'_>) -> Option<Retention> {
    let known = [
        "table",
        "column",
        "format",
        "retention",
        "max_rows",
        "max_bytes",
        "expires",
        "grace",
        "allow_short_retention",
        "condition",
        "keep_latest",
        "archive",
        "max_newest_age",
        "cascade",
        "set_null",
    ];
    let fields = decoder.fields(value, &known)?;
    let mut text =
        |name, example| decoder.require(&fields, name, example).and_then(|value| decoder.text(&value));
    let table = text("table", "table: logs");
    let is_limited = ["max_rows", "max_bytes"].iter().any(|name| fields.given(name).is_some());
    let by_age = !is_limited || ["retention", "expires"].iter().any(|name| fields.given(name).is_some());
    // Without a column, rows go in the order in which they were inserted.
    let column = if by_age || fields.given("column").is_some() {
        Some(text("column", "column: created_at"))
    } else {
        None
    };
    let expires = read(&fields, "expires", false, |value| decoder.switch(value));
    let age = read_age(&fields, (expires, is_limited), decoder)?;
    let allowed = read(&fields, "allow_short_retention", false, |value| decoder.switch(value));
    if age.is_some_and(|age| age < SHORT_RETENTION) && !allowed && !expires {
        let message = "is below one day; if that is meant, write `allow_short_retention: on` beside it";
        decoder.refuse(fields.position_of("retention"), &fields.child("retention"), message);
    }
    refuse_unused(&fields, age.is_some(), column.is_some(), decoder);
    let max_newest_age = (age.unwrap_or_default() / 3).clamp(DAY, 30 * DAY);
    let mut optional = |name| fields.given(name).and_then(|value| decoder.text(&value));
    let (condition, archive) = (optional("condition"), optional("archive"));
    let mut rows = |name| {
        let number = fields.given(name).and_then(|value| decoder.number(&value, 1..=usize::MAX >> 1));
        number.map(|rows| rows as u64)
    };
    let (max_rows, keep_latest) = (rows("max_rows"), rows("keep_latest"));
    Some(Retention {
        table: table?,
        column: column.map_or(Some(None), |column| column.map(Some))?,
        format: read(&fields, "format", TimestampFormat::Auto, |value| read_format(value, decoder)),
        retention: age,
        max_rows,
        max_bytes: fields.given("max_bytes").and_then(|value| decoder.bytes(&value)),
        expires,
        allow_short_retention: allowed,
        condition,
        keep_latest,
        archive: archive.map(|directory| resolve_path(base, &directory)),
        cascade: read(&fields, "cascade", Vec::new(), |value| decoder.texts(value)),
        set_null: read(&fields, "set_null", Vec::new(), |value| decoder.texts(value)),
        max_newest_age: read(&fields, "max_newest_age", max_newest_age, |value| {
            decoder.duration(value, SECOND..=*RETENTION.end())
        }),
    })
}

/// How old a row becomes, or how long it stays after it has expired. Beside a number of rows or bytes, only what is written.
fn read_age(
    fields: &Fields<'_>,
    (expires, is_limited): (bool, bool),
    decoder: &mut Decoder<'_>,
) -> Option<Option<Duration>> {
    if expires {
        return Some(Some(read_grace(fields, decoder)));
    }
    if fields.given("grace").is_some() {
        let message = "goes with `expires: on`, where it is how long a row stays after its time; write `retention` for the age";
        decoder.refuse(fields.position_of("grace"), &fields.child("grace"), message);
    }
    let written = if is_limited { fields.given("retention") } else { fields.find("retention") };
    match written {
        Some(value) => decoder.duration(&value, RETENTION).map(Some),
        None if is_limited => Some(None),
        None => default_retention(fields, decoder).map(Some),
    }
}

/// Refuses what means nothing where rows go by their number or size alone.
fn refuse_unused(fields: &Fields<'_>, by_age: bool, by_column: bool, decoder: &mut Decoder<'_>) {
    let of_age = ["allow_short_retention", "max_newest_age"].map(|name| (name, !by_age, "retention"));
    let of_column = [("format", !by_column, "column")];
    for (name, is_unused, with) in of_age.into_iter().chain(of_column) {
        if is_unused && fields.given(name).is_some() {
            let message = format!("means nothing without `{with}`; write that too, or remove this");
            decoder.refuse(fields.position_of(name), &fields.child(name), message);
        }
    }
    let is_limited = ["max_rows", "max_bytes"].iter().any(|name| fields.given(name).is_some());
    if is_limited && fields.given("keep_latest").is_some() {
        let message =
            "does not go with `max_rows` and `max_bytes`, which say already how many of the newest rows stay";
        decoder.refuse(fields.position_of("keep_latest"), &fields.child("keep_latest"), message);
    }
}

/// The retention where nothing is said.
const DEFAULT_RETENTION_DAYS: u64 = 90;

/// The variable with the default of the retention, in days.
const RETENTION_VARIABLE: &str = "LOG_RETENTION_DAYS";

/// How long a row stays after the moment of its expiry. A retention and a bound of the newest row's age mean nothing beside it.
fn read_grace(fields: &Fields<'_>, decoder: &mut Decoder<'_>) -> Duration {
    const GRACE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(100 * 365 * 86_400);
    for name in
        ["retention", "max_rows", "max_bytes", "allow_short_retention", "max_newest_age", "keep_latest"]
    {
        if fields.given(name).is_some() {
            let message = "does not go with `expires: on`, which deletes rows once the time in their column has passed; \
                           write `grace` for how long they stay after that, or remove `expires`";
            decoder.refuse(fields.position_of(name), &fields.child(name), message);
        }
    }
    read(fields, "grace", Duration::ZERO, |value| decoder.duration(value, GRACE))
}

/// The retention where none is written: the environment's, else 90 days.
fn default_retention(fields: &Fields<'_>, decoder: &mut Decoder<'_>) -> Option<Duration> {
    const MOST_DAYS: u64 = 36_500;
    let Some(text) = decoder.variable(RETENTION_VARIABLE) else {
        return Some(DEFAULT_RETENTION_DAYS as u32 * DAY);
    };
    match text.trim().parse::<u64>() {
        Ok(days) if (1..=MOST_DAYS).contains(&days) => Some(Duration::from_secs(days * DAY.as_secs())),
        Ok(_) | Err(_) => {
            let message = format!(
                "comes from the environment here, where {RETENTION_VARIABLE} is {}; it must be a number of days from 1 to \
                 {MOST_DAYS}",
                quoted(&text)
            );
            decoder.refuse(fields.position, &fields.child("retention"), message);
            None
        }
    }
}
