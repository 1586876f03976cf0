//! Which rows of a table stay: by age, by the time at which they expire, by number or by size.

use std::path::PathBuf;
use std::time::Duration;

use serde::ser::SerializeMap;

use crate::config::context::ParseContext;
use crate::config::decode::Decoder;
use crate::config::decode::Fields;
use crate::config::decode::Value;
use crate::config::kinds::Optional;
use crate::config::kinds::Required;
use crate::config::messages::quoted;
use crate::config::section::Change;
use crate::config::section::Entries;
use crate::config::section::Kind;
use crate::config::section::Section;
use crate::config::section::assign;
use crate::config::section::section;
use crate::config::table_columns::TimestampFormat;
use crate::config::table_columns::read_format;
use crate::config::units::DAY;
use crate::config::units::SECOND;
use crate::config::units::format_duration;
use crate::config::values::Between;
use crate::config::values::Bytes;
use crate::config::values::FilePath;
use crate::config::values::Plain;
use crate::config::values::Serialized;
use crate::config::values::Switch;
use crate::config::values::Text;
use crate::config::values::Texts;

/// A retention below this deletes rows that may still be needed today.
const SHORT_RETENTION: Duration = DAY;

/// A hundred years.
const MAX_RETENTION: Duration = Duration::from_secs(100 * 365 * 86_400);

/// The largest number of rows in a table.
const MAX_ROWS: u64 = i64::MAX.unsigned_abs();

/// The retention without the key and without the variable.
const DEFAULT_RETENTION_DAYS: u32 = 90;

/// The variable with the default of the retention, in days.
const RETENTION_VARIABLE: &str = "LOG_RETENTION_DAYS";

section! {
    /// The retention of one table.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Retention {
        /// The table.
        pub table: String = String::new() => Required("table: logs", Text),
        /// Its time column; without one, rows go in the order of their row ids.
        pub column: Option<String> = None => Column,
        /// How the column writes a time.
        pub format: TimestampFormat = TimestampFormat::Auto => Serialized(read_format),
        /// Whether the column holds the time at which a row expires, and not that at which it was
        /// made.
        pub expires: bool = false => Switch,
        /// The age at which rows go; with `expires`, how long they stay after they have expired.
        /// `None` where age does not count.
        pub retention: Option<Duration> = None => Age,
        /// The number of newest rows that stay, while all others go.
        pub max_rows: Option<u64> = None => Optional(Between(1, MAX_ROWS)),
        /// The bytes of the newest rows' values that stay, while all others go.
        pub max_bytes: Option<u64> = None => Optional(Bytes),
        /// Whether a retention below one day is meant.
        pub allow_short_retention: bool = false => Switch,
        /// Only rows for which this SQL is true are deleted.
        pub condition: Option<String> = None => Optional(Text),
        /// The number of newest rows that stay whatever their age.
        pub keep_latest: Option<u64> = None => Optional(Between(1, MAX_ROWS)),
        /// Where rows are copied before they are deleted.
        pub archive: Option<PathBuf> = None => Optional(FilePath),
        /// Tables whose rows that refer to a deleted one by a foreign key are deleted first.
        pub cascade: Vec<String> = Vec::new() => Texts,
        /// Tables whose references to a deleted row are set to NULL first.
        pub set_null: Vec<String> = Vec::new() => Texts,
        /// The greatest age of the newest row. When it is older, the clock is taken for wrong. By
        /// default it depends on the retention.
        pub max_newest_age: Duration = Duration::ZERO => Between(SECOND, MAX_RETENTION),
    }
    hiding Retention::unused_keys
}

impl Retention {
    /// Keys that have no effect beside the others. A file that has them is refused, so they are not
    /// shown.
    fn unused_keys(&self) -> Vec<&'static str> {
        let mut keys = Vec::new();
        if self.expires {
            keys.extend(["retention", "max_rows", "max_bytes"]);
        } else {
            keys.extend(["expires", "grace"]);
        }
        if self.expires || self.retention.is_none() {
            keys.extend(["allow_short_retention", "max_newest_age"]);
        }
        if self.column.is_none() {
            keys.push("format");
        }
        keys
    }
}

/// Reads the retention of one table.
pub(super) fn read_retention(
    value: &Value<'_>,
    context: &mut ParseContext<'_>,
    decoder: &mut Decoder<'_>,
) -> Option<Retention> {
    let fields = decoder.fields(value, &Retention::keys())?;
    let before = decoder.error_count();
    let mut retention = Retention::read(&fields, context, decoder).over(Retention::defaults());
    let is_short = retention.retention.is_some_and(|age| age < SHORT_RETENTION);
    if is_short && !retention.allow_short_retention && !retention.expires {
        let message = "is below one day; if that is intended, add `allow_short_retention: on`";
        decoder.refuse(fields.position_of("retention"), &fields.child("retention"), message);
    }
    let by_age = retention.expires || !is_limited(&fields) || fields.given("retention").is_some();
    let by_column = needs_column(&fields) || fields.given("column").is_some();
    refuse_unused(&fields, by_age, by_column, decoder);
    if fields.find("max_newest_age").is_none() {
        retention.max_newest_age = (retention.retention.unwrap_or_default() / 3).clamp(DAY, 30 * DAY);
    }
    (decoder.error_count() == before).then_some(retention)
}

/// Whether rows go by their number or size.
fn is_limited(fields: &Fields<'_>) -> bool {
    ["max_rows", "max_bytes"].iter().any(|name| fields.given(name).is_some())
}

/// Whether rows go by time. Otherwise they go in the order in which they were inserted.
fn needs_column(fields: &Fields<'_>) -> bool {
    !is_limited(fields) || ["retention", "expires"].iter().any(|name| fields.given(name).is_some())
}

/// The time column, which is required where rows go by time.
struct Column;

impl Kind<Option<String>> for Column {
    fn read(
        &self,
        key: &'static str,
        fields: &Fields<'_>,
        context: &mut ParseContext<'_>,
        decoder: &mut Decoder<'_>,
    ) -> Option<Change<Option<String>>> {
        if needs_column(fields) {
            let value = decoder.require(fields, key, "column: created_at")?;
            return Text.parse(&value, context, decoder).map(Some).map(assign);
        }
        Optional(Text).read(key, fields, context, decoder)
    }

    fn show<M: SerializeMap>(
        &self,
        key: &'static str,
        value: &Option<String>,
        entries: &mut Entries<M>,
    ) -> Result<(), M::Error> {
        Optional(Text).show(key, value, entries)
    }
}

/// `retention`, or `grace` beside `expires: on`.
struct Age;

impl Kind<Option<Duration>> for Age {
    fn keys(&self, key: &'static str, keys: &mut Vec<&'static str>) {
        keys.extend([key, "grace"]);
    }

    fn read(
        &self,
        _: &'static str,
        fields: &Fields<'_>,
        context: &mut ParseContext<'_>,
        decoder: &mut Decoder<'_>,
    ) -> Option<Change<Option<Duration>>> {
        let expires = decoder.without_notes(|decoder| {
            fields.find("expires").and_then(|value| Switch.parse(&value, context, decoder))
        });
        read_age(fields, expires == Some(true), decoder).map(assign)
    }

    fn show<M: SerializeMap>(
        &self,
        key: &'static str,
        value: &Option<Duration>,
        entries: &mut Entries<M>,
    ) -> Result<(), M::Error> {
        let age = value.map(format_duration);
        entries.add("grace", &age)?;
        entries.add(key, &age)
    }
}

/// Reads the age at which rows go, or how long they stay after they have expired. Beside a number
/// of rows or bytes there is no default.
fn read_age(fields: &Fields<'_>, expires: bool, decoder: &mut Decoder<'_>) -> Option<Option<Duration>> {
    if expires {
        return read_grace(fields, decoder).map(Some);
    }
    if fields.given("grace").is_some() {
        let message = "is valid only with `expires: on`, where it is the time for which a row is kept after it expired; for the age of \
                       rows write `retention`";
        decoder.refuse(fields.position_of("grace"), &fields.child("grace"), message);
    }
    let is_limited = is_limited(fields);
    let written = if is_limited { fields.given("retention") } else { fields.find("retention") };
    match written {
        Some(value) => decoder.duration(&value, SECOND..=MAX_RETENTION).map(Some),
        None if is_limited => Some(None),
        None => default_retention(fields, decoder).map(Some),
    }
}

/// Reads how long a row stays after it has expired. `retention` and `max_newest_age` have no effect
/// beside it.
fn read_grace(fields: &Fields<'_>, decoder: &mut Decoder<'_>) -> Option<Duration> {
    for name in
        ["retention", "max_rows", "max_bytes", "allow_short_retention", "max_newest_age", "keep_latest"]
    {
        if fields.given(name).is_some() {
            let message = "does not go with `expires: on`, which deletes rows once the time in their column has passed; \
                           write `grace` for how long they stay after that, or remove `expires`";
            decoder.refuse(fields.position_of(name), &fields.child(name), message);
        }
    }
    match fields.find("grace") {
        Some(value) => decoder.duration(&value, Duration::ZERO..=MAX_RETENTION),
        None => Some(Duration::ZERO),
    }
}

/// Refuses keys without effect where rows go by their number or size alone.
fn refuse_unused(fields: &Fields<'_>, by_age: bool, by_column: bool, decoder: &mut Decoder<'_>) {
    let of_age = ["allow_short_retention", "max_newest_age"].map(|name| (name, !by_age, "retention"));
    let of_column = [("format", !by_column, "column")];
    for (name, is_unused, with) in of_age.into_iter().chain(of_column) {
        if is_unused && fields.given(name).is_some() {
            let message = format!("has no effect without `{with}`; add that, or remove this");
            decoder.refuse(fields.position_of(name), &fields.child(name), message);
        }
    }
    if is_limited(fields) && fields.given("keep_latest").is_some() {
        let message = "cannot be combined with `max_rows` and `max_bytes`, which already limit the table to its newest rows";
        decoder.refuse(fields.position_of("keep_latest"), &fields.child("keep_latest"), message);
    }
}

/// The retention where none is written: the environment's, else 90 days.
fn default_retention(fields: &Fields<'_>, decoder: &mut Decoder<'_>) -> Option<Duration> {
    const MAX_DAYS: u32 = 36_500;
    let Some(text) = decoder.variable(RETENTION_VARIABLE) else {
        return Some(DEFAULT_RETENTION_DAYS * DAY);
    };
    match text.trim().parse::<u32>() {
        Ok(days) if (1..=MAX_DAYS).contains(&days) => Some(days * DAY),
        Ok(_) | Err(_) => {
            let message = format!(
                "comes from the environment here, where {RETENTION_VARIABLE} is {}; it must be a number of days from 1 to \
                 {MAX_DAYS}",
                quoted(&text)
            );
            decoder.refuse(fields.position, &fields.child("retention"), message);
            None
        }
    }
}
