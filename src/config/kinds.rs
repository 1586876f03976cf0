//! Kinds of keys around other kinds: optional and required ones, sections, groups and tasks.

use serde::Serialize;
use serde::ser::SerializeMap;

use crate::config::context::ParseContext;
use crate::config::decode::Decoder;
use crate::config::decode::Fields;
use crate::config::decode::Value;
use crate::config::section::Change;
use crate::config::section::Entries;
use crate::config::section::Kind;
use crate::config::section::Section;
use crate::config::section::assign;
use crate::config::tree::Node;
use crate::config::values::Plain;
use crate::config::values::on_or_off;

/// A value that may be `null`, or left out.
pub(super) struct Optional<K>(pub K);

impl<K: Plain> Kind<Option<K::Value>> for Optional<K> {
    fn read(
        &self,
        key: &'static str,
        fields: &Fields<'_>,
        context: &mut ParseContext<'_>,
        decoder: &mut Decoder<'_>,
    ) -> Option<Change<Option<K::Value>>> {
        let value = self.0.parse(&fields.given(key)?, context, decoder)?;
        Some(assign(Some(value)))
    }

    fn show<M: SerializeMap>(
        &self,
        key: &'static str,
        value: &Option<K::Value>,
        entries: &mut Entries<M>,
    ) -> Result<(), M::Error> {
        entries.add(key, &value.as_ref().map(|value| self.0.shown(value)))
    }
}

/// A key that is left out when it is `null`.
pub(super) struct Given<K>(pub K);

impl<T, K: Kind<T>> Kind<T> for Given<K> {
    fn read(
        &self,
        key: &'static str,
        fields: &Fields<'_>,
        context: &mut ParseContext<'_>,
        decoder: &mut Decoder<'_>,
    ) -> Option<Change<T>> {
        fields.given(key)?;
        self.0.read(key, fields, context, decoder)
    }

    fn show<M: SerializeMap>(
        &self,
        key: &'static str,
        value: &T,
        entries: &mut Entries<M>,
    ) -> Result<(), M::Error> {
        self.0.show(key, value, entries)
    }
}

/// A key that must be there, with an example for the one who left it out.
pub(super) struct Required<K>(pub &'static str, pub K);

impl<T, K: Kind<T>> Kind<T> for Required<K> {
    fn read(
        &self,
        key: &'static str,
        fields: &Fields<'_>,
        context: &mut ParseContext<'_>,
        decoder: &mut Decoder<'_>,
    ) -> Option<Change<T>> {
        decoder.require(fields, key, self.0)?;
        self.1.read(key, fields, context, decoder)
    }

    fn show<M: SerializeMap>(
        &self,
        key: &'static str,
        value: &T,
        entries: &mut Entries<M>,
    ) -> Result<(), M::Error> {
        self.1.show(key, value, entries)
    }
}

/// A collection to which a database adds, and does not replace that of its profile.
pub(super) struct Merged<K>(pub K);

impl<K: Plain> Kind<K::Value> for Merged<K>
where
    K::Value: IntoIterator + Extend<<K::Value as IntoIterator>::Item>,
{
    fn read(
        &self,
        key: &'static str,
        fields: &Fields<'_>,
        context: &mut ParseContext<'_>,
        decoder: &mut Decoder<'_>,
    ) -> Option<Change<K::Value>> {
        let value = self.0.parse(&fields.find(key)?, context, decoder)?;
        Some(Box::new(move |place: &mut K::Value| place.extend(value.clone())))
    }

    fn show<M: SerializeMap>(
        &self,
        key: &'static str,
        value: &K::Value,
        entries: &mut Entries<M>,
    ) -> Result<(), M::Error> {
        entries.add(key, &self.0.shown(value))
    }
}

/// A section below the key.
pub(super) struct Nested;

impl<T: Section + Serialize> Kind<T> for Nested {
    fn read(
        &self,
        key: &'static str,
        fields: &Fields<'_>,
        context: &mut ParseContext<'_>,
        decoder: &mut Decoder<'_>,
    ) -> Option<Change<T>> {
        let fields = decoder.fields(&fields.find(key)?, &T::keys())?;
        let layer = T::read(&fields, context, decoder);
        Some(Box::new(move |section| layer.apply(section)))
    }

    fn show<M: SerializeMap>(
        &self,
        key: &'static str,
        value: &T,
        entries: &mut Entries<M>,
    ) -> Result<(), M::Error> {
        entries.add(key, value)
    }
}

/// A section whose keys stand among those of the one around it.
pub(super) struct Group;

impl<T: Section> Kind<T> for Group {
    fn keys(&self, _: &'static str, keys: &mut Vec<&'static str>) {
        keys.extend(T::keys());
    }

    fn read(
        &self,
        _: &'static str,
        fields: &Fields<'_>,
        context: &mut ParseContext<'_>,
        decoder: &mut Decoder<'_>,
    ) -> Option<Change<T>> {
        let layer = T::read(fields, context, decoder);
        Some(Box::new(move |section| layer.apply(section)))
    }

    fn show<M: SerializeMap>(
        &self,
        _: &'static str,
        value: &T,
        entries: &mut Entries<M>,
    ) -> Result<(), M::Error> {
        value.show(entries)
    }
}

/// A task: a section, `on` or nothing for its defaults, or `off`.
pub(super) struct TaskOrOff;

impl<T: Section + Serialize + Clone> Kind<Option<T>> for TaskOrOff {
    fn read(
        &self,
        key: &'static str,
        fields: &Fields<'_>,
        context: &mut ParseContext<'_>,
        decoder: &mut Decoder<'_>,
    ) -> Option<Change<Option<T>>> {
        read_or_off(&fields.find(key)?, T::defaults(), context, decoder).map(assign)
    }

    fn show<M: SerializeMap>(
        &self,
        key: &'static str,
        value: &Option<T>,
        entries: &mut Entries<M>,
    ) -> Result<(), M::Error> {
        match value {
            Some(task) => entries.add(key, task),
            None => entries.add(key, on_or_off(false)),
        }
    }
}

/// Reads a section that may be switched off. `None` when the value is no switch.
pub(super) fn read_or_off<T: Section>(
    value: &Value<'_>,
    defaults: T,
    context: &mut ParseContext<'_>,
    decoder: &mut Decoder<'_>,
) -> Option<Option<T>> {
    let fields = match &value.tree.node {
        Node::Null => Fields::empty(value),
        Node::Scalar(_) if decoder.switch(value)? => Fields::empty(value),
        Node::Scalar(_) => return Some(None),
        Node::Sequence(_) | Node::Mapping(_) => decoder.fields(value, &T::keys())?,
    };
    Some(Some(T::read(&fields, context, decoder).over(defaults)))
}

/// A field that no key sets.
pub(super) struct NoKey;

impl<T> Kind<T> for NoKey {
    fn keys(&self, _: &'static str, _: &mut Vec<&'static str>) {}

    fn read(
        &self,
        _: &'static str,
        _: &Fields<'_>,
        _: &mut ParseContext<'_>,
        _: &mut Decoder<'_>,
    ) -> Option<Change<T>> {
        None
    }

    fn show<M: SerializeMap>(&self, _: &'static str, _: &T, _: &mut Entries<M>) -> Result<(), M::Error> {
        Ok(())
    }
}
