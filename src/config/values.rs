//! Kinds of values that depend on their own text alone: numbers, sizes, texts, paths and words.

use std::fmt::Display;
use std::marker::PhantomData;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use chrono_tz::Tz;
use serde::Serialize;
use serde::ser::SerializeMap;

use crate::config::context::ParseContext;
use crate::config::decode::Decoder;
use crate::config::decode::Fields;
use crate::config::decode::Value;
use crate::config::environment::escape;
use crate::config::messages::quoted;
use crate::config::paths::resolve_path;
use crate::config::section::Change;
use crate::config::section::Entries;
use crate::config::section::Kind;
use crate::config::section::assign;
use crate::config::units::format_bytes;
use crate::config::units::format_duration;

/// A kind that depends on the key's value alone.
pub(super) trait Plain {
    /// The type of the field.
    type Value: Clone + 'static;

    /// Reads the value; `None` when it is wrong, which is noted in the decoder then.
    fn parse(
        &self,
        value: &Value<'_>,
        context: &mut ParseContext<'_>,
        decoder: &mut Decoder<'_>,
    ) -> Option<Self::Value>;

    /// The value as a file spells it. Texts pass [`escape`], so that a `$` stays one.
    fn shown(&self, value: &Self::Value) -> impl Serialize;
}

impl<K: Plain> Kind<K::Value> for K {
    fn read(
        &self,
        key: &'static str,
        fields: &Fields<'_>,
        context: &mut ParseContext<'_>,
        decoder: &mut Decoder<'_>,
    ) -> Option<Change<K::Value>> {
        self.parse(&fields.find(key)?, context, decoder).map(assign)
    }

    fn show<M: SerializeMap>(
        &self,
        key: &'static str,
        value: &K::Value,
        entries: &mut Entries<M>,
    ) -> Result<(), M::Error> {
        entries.add(key, &self.shown(value))
    }
}

/// A number or a duration within bounds.
pub(super) struct Between<T>(pub T, pub T);

impl<T: Bounded> Plain for Between<T> {
    type Value = T;

    fn parse(&self, value: &Value<'_>, _: &mut ParseContext<'_>, decoder: &mut Decoder<'_>) -> Option<T> {
        T::parse(value, self.0..=self.1, decoder)
    }

    fn shown(&self, value: &T) -> impl Serialize {
        value.shown()
    }
}

/// What can have bounds.
pub(super) trait Bounded: Copy + 'static {
    fn parse(value: &Value<'_>, bounds: RangeInclusive<Self>, decoder: &mut Decoder<'_>) -> Option<Self>;
    fn shown(self) -> impl Serialize;
}

impl Bounded for Duration {
    fn parse(value: &Value<'_>, bounds: RangeInclusive<Self>, decoder: &mut Decoder<'_>) -> Option<Self> {
        decoder.duration(value, bounds)
    }

    fn shown(self) -> impl Serialize {
        format_duration(self)
    }
}

impl Bounded for f64 {
    fn parse(value: &Value<'_>, bounds: RangeInclusive<Self>, decoder: &mut Decoder<'_>) -> Option<Self> {
        decoder.fraction(value, bounds)
    }

    fn shown(self) -> impl Serialize {
        self
    }
}

macro_rules! bounded_numbers {
    ($($number:ty),*) => {
        $(impl Bounded for $number {
            fn parse(value: &Value<'_>, bounds: RangeInclusive<Self>, decoder: &mut Decoder<'_>) -> Option<Self> {
                decoder.number(value, bounds)
            }

            fn shown(self) -> impl Serialize {
                self
            }
        })*
    };
}

bounded_numbers!(usize, u32, u64);

/// A size in bytes, plain or with a unit.
pub(super) struct Bytes;

impl Plain for Bytes {
    type Value = u64;

    fn parse(&self, value: &Value<'_>, _: &mut ParseContext<'_>, decoder: &mut Decoder<'_>) -> Option<u64> {
        decoder.bytes(value)
    }

    fn shown(&self, value: &u64) -> impl Serialize {
        format_bytes(*value)
    }
}

/// `on` or `off`.
pub(super) struct Switch;

impl Plain for Switch {
    type Value = bool;

    fn parse(&self, value: &Value<'_>, _: &mut ParseContext<'_>, decoder: &mut Decoder<'_>) -> Option<bool> {
        decoder.switch(value)
    }

    fn shown(&self, value: &bool) -> impl Serialize {
        on_or_off(*value)
    }
}

/// A switch as it is shown.
pub(super) fn on_or_off(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

/// A text that is not blank.
pub(super) struct Text;

impl Plain for Text {
    type Value = String;

    fn parse(
        &self,
        value: &Value<'_>,
        _: &mut ParseContext<'_>,
        decoder: &mut Decoder<'_>,
    ) -> Option<String> {
        decoder.text(value)
    }

    fn shown(&self, value: &String) -> impl Serialize {
        escape(value)
    }
}

/// A list of texts that are not blank.
pub(super) struct Texts;

impl Plain for Texts {
    type Value = Vec<String>;

    fn parse(
        &self,
        value: &Value<'_>,
        _: &mut ParseContext<'_>,
        decoder: &mut Decoder<'_>,
    ) -> Option<Vec<String>> {
        decoder.texts(value)
    }

    fn shown(&self, value: &Vec<String>) -> impl Serialize {
        escape_all(value)
    }
}

/// Texts that [`crate::config::environment::expand`] gives back.
pub(super) fn escape_all(texts: &[String]) -> Vec<String> {
    texts.iter().map(|text| escape(text)).collect()
}

/// A path; a relative one is below the file's directory.
pub(super) struct FilePath;

impl Plain for FilePath {
    type Value = PathBuf;

    fn parse(
        &self,
        value: &Value<'_>,
        context: &mut ParseContext<'_>,
        decoder: &mut Decoder<'_>,
    ) -> Option<PathBuf> {
        decoder.text(value).map(|text| resolve_path(context.base, &text))
    }

    fn shown(&self, value: &PathBuf) -> impl Serialize {
        escape(&value.to_string_lossy())
    }
}

/// A directory that must be there when a task runs.
pub(super) struct Directory;

impl Plain for Directory {
    type Value = PathBuf;

    fn parse(
        &self,
        value: &Value<'_>,
        context: &mut ParseContext<'_>,
        decoder: &mut Decoder<'_>,
    ) -> Option<PathBuf> {
        let path = FilePath.parse(value, context, decoder)?;
        decoder.directory(value, &path);
        Some(path)
    }

    fn shown(&self, value: &PathBuf) -> impl Serialize {
        FilePath.shown(value)
    }
}

/// One of some words.
pub(super) struct Choice<T: 'static>(pub &'static [(&'static str, T)]);

impl<T: Copy + PartialEq + 'static> Plain for Choice<T> {
    type Value = T;

    fn parse(&self, value: &Value<'_>, _: &mut ParseContext<'_>, decoder: &mut Decoder<'_>) -> Option<T> {
        decoder.choice(value, self.0)
    }

    fn shown(&self, value: &T) -> impl Serialize {
        self.0.iter().find(|(_, meaning)| meaning == value).map(|(word, _)| *word)
    }
}

/// A value that its own type parses and prints.
pub(super) struct Parsed<T>(PhantomData<T>);

impl<T> Parsed<T> {
    pub fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T: FromStr<Err: Display> + Display + Clone + 'static> Plain for Parsed<T> {
    type Value = T;

    fn parse(&self, value: &Value<'_>, _: &mut ParseContext<'_>, decoder: &mut Decoder<'_>) -> Option<T> {
        decoder.parsed(value)
    }

    fn shown(&self, value: &T) -> impl Serialize {
        escape(&value.to_string())
    }
}

/// A time zone, by its name in the IANA database.
pub(super) struct TimeZone;

impl Plain for TimeZone {
    type Value = Tz;

    fn parse(&self, value: &Value<'_>, _: &mut ParseContext<'_>, decoder: &mut Decoder<'_>) -> Option<Tz> {
        let text = decoder.text(value)?;
        let zone = text.parse().ok();
        if zone.is_none() {
            let message =
                format!("{} is not a time zone; write it as in `Europe/Berlin` or `UTC`", quoted(&text));
            decoder.refuse_value(value, message);
        }
        zone
    }

    fn shown(&self, value: &Tz) -> impl Serialize {
        value.name()
    }
}

type Parse<T> = fn(&Value<'_>, &mut ParseContext<'_>, &mut Decoder<'_>) -> Option<T>;

/// A value that one function reads and another makes ready to be shown.
pub(super) struct By<T, S>(pub Parse<T>, pub fn(&T) -> S);

impl<T: Clone + 'static, S: Serialize> Plain for By<T, S> {
    type Value = T;

    fn parse(
        &self,
        value: &Value<'_>,
        context: &mut ParseContext<'_>,
        decoder: &mut Decoder<'_>,
    ) -> Option<T> {
        self.0(value, context, decoder)
    }

    fn shown(&self, value: &T) -> impl Serialize {
        self.1(value)
    }
}

/// A value that a function reads and that serialises as a file spells it.
pub(super) struct Serialized<T>(pub Parse<T>);

impl<T: Serialize + Clone + 'static> Plain for Serialized<T> {
    type Value = T;

    fn parse(
        &self,
        value: &Value<'_>,
        context: &mut ParseContext<'_>,
        decoder: &mut Decoder<'_>,
    ) -> Option<T> {
        self.0(value, context, decoder)
    }

    fn shown(&self, value: &T) -> impl Serialize {
        value
    }
}
