//! Declares a section of the configuration in one place: its type, and for each key the field, the
//! default and the kind of value. Reading, the list of known keys and `config show` follow from it.

use serde::Serialize;
use serde::ser::SerializeMap;

use crate::config::context::ParseContext;
use crate::config::decode::Decoder;
use crate::config::decode::Fields;

/// Sets a field to what its key has in the file.
pub(super) type Change<T> = Box<dyn Fn(&mut T)>;

/// The keys of a section that a file has, as one change each. A layer has no defaults: filled in
/// here, a database's default would hide the value of its profile.
pub(super) struct Layer<T>(Vec<Change<T>>);

impl<T> Default for Layer<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: 'static> Layer<T> {
    /// Adds a change of one field.
    pub fn add<F: 'static>(&mut self, change: Option<Change<F>>, field: fn(&mut T) -> &mut F) {
        if let Some(change) = change {
            self.0.push(Box::new(move |section| change(field(section))));
        }
    }

    /// Changes the fields whose keys the file has, and leaves the others.
    pub fn apply(&self, section: &mut T) {
        self.0.iter().for_each(|change| change(section));
    }

    /// The layer over a section.
    pub fn over(&self, mut section: T) -> T {
        self.apply(&mut section);
        section
    }
}

/// A mapping of the file with known keys. `section!` implements it.
pub(super) trait Section: Sized + 'static {
    /// The section without any key. A required key has a placeholder here.
    fn defaults() -> Self;

    /// The keys that are accepted, in the order of the declaration.
    fn keys() -> Vec<&'static str>;

    /// Reads every key; what is wrong is noted in the decoder.
    fn read(fields: &Fields<'_>, context: &mut ParseContext<'_>, decoder: &mut Decoder<'_>) -> Layer<Self>;

    /// Writes every key with its value.
    fn show<M: SerializeMap>(&self, entries: &mut Entries<M>) -> Result<(), M::Error>;
}

/// How the value of a key is read and shown.
pub(super) trait Kind<T> {
    /// The keys that belong to the field: `key` alone, but for groups.
    fn keys(&self, key: &'static str, keys: &mut Vec<&'static str>) {
        keys.push(key);
    }

    /// Reads the key; `None` when it is not there or wrong, which is noted in the decoder then.
    fn read(
        &self,
        key: &'static str,
        fields: &Fields<'_>,
        context: &mut ParseContext<'_>,
        decoder: &mut Decoder<'_>,
    ) -> Option<Change<T>>;

    /// Writes the key with its value.
    fn show<M: SerializeMap>(
        &self,
        key: &'static str,
        value: &T,
        entries: &mut Entries<M>,
    ) -> Result<(), M::Error>;
}

/// A change that replaces the value.
pub(super) fn assign<T: Clone + 'static>(value: T) -> Change<T> {
    Box::new(move |place| place.clone_from(&value))
}

/// Reads a section over its defaults. `None` when any key is wrong or missing.
pub(super) fn read_section<T: Section>(
    fields: &Fields<'_>,
    context: &mut ParseContext<'_>,
    decoder: &mut Decoder<'_>,
) -> Option<T> {
    let before = decoder.error_count();
    let section = T::read(fields, context, decoder).over(T::defaults());
    (decoder.error_count() == before).then_some(section)
}

/// The mapping that `config show` prints for a section.
pub(super) struct Entries<M> {
    map: M,
    hidden: Vec<&'static str>,
}

impl<M: SerializeMap> Entries<M> {
    /// A mapping that leaves out the `hidden` keys.
    pub fn new(map: M, hidden: Vec<&'static str>) -> Self {
        Self { map, hidden }
    }

    /// Writes a key with its value.
    pub fn add<V: Serialize + ?Sized>(&mut self, key: &'static str, value: &V) -> Result<(), M::Error> {
        if self.hidden.contains(&key) { Ok(()) } else { self.map.serialize_entry(key, value) }
    }

    /// Ends the mapping.
    pub fn end(self) -> Result<M::Ok, M::Error> {
        self.map.end()
    }
}

/// Declares a section: `pub field: Type = default => Kind,` for each key, with `as "key"` where the
/// key is not the field's name. `hiding Type::method` after it names a method that lists the keys
/// which `config show` leaves out.
macro_rules! section {
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            $(
                $(#[$field_meta:meta])*
                pub $field:ident $(as $key:literal)?: $type:ty = $default:expr => $kind:expr,
            )*
        }
        $(hiding $hidden:path)?
    ) => {
        $(#[$meta])*
        pub struct $name {
            $( $(#[$field_meta])* pub $field: $type, )*
        }

        impl $crate::config::section::Section for $name {
            fn defaults() -> Self {
                Self { $( $field: $default, )* }
            }

            fn keys() -> Vec<&'static str> {
                let mut keys = Vec::new();
                $(
                    let key = $crate::config::section::section!(@key $field $($key)?);
                    $crate::config::section::Kind::<$type>::keys(&$kind, key, &mut keys);
                )*
                keys
            }

            fn read(
                fields: &$crate::config::decode::Fields<'_>,
                context: &mut $crate::config::context::ParseContext<'_>,
                decoder: &mut $crate::config::decode::Decoder<'_>,
            ) -> $crate::config::section::Layer<Self> {
                let mut layer = $crate::config::section::Layer::<Self>::default();
                $(
                    let key = $crate::config::section::section!(@key $field $($key)?);
                    let change =
                        $crate::config::section::Kind::<$type>::read(&$kind, key, fields, context, decoder);
                    layer.add(change, |section| &mut section.$field);
                )*
                layer
            }

            fn show<M: serde::ser::SerializeMap>(
                &self,
                entries: &mut $crate::config::section::Entries<M>,
            ) -> Result<(), M::Error> {
                $(
                    let key = $crate::config::section::section!(@key $field $($key)?);
                    $crate::config::section::Kind::<$type>::show(&$kind, key, &self.$field, entries)?;
                )*
                Ok(())
            }
        }

        impl serde::Serialize for $name {
            /// As the configuration spells it.
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let hidden = $crate::config::section::section!(@hidden self $($hidden)?);
                let map = serializer.serialize_map(None)?;
                let mut entries = $crate::config::section::Entries::new(map, hidden);
                $crate::config::section::Section::show(self, &mut entries)?;
                entries.end()
            }
        }
    };
    (@hidden $section:ident) => { Vec::new() };
    (@hidden $section:ident $hidden:path) => { $hidden($section) };
    (@key $field:ident) => { stringify!($field) };
    (@key $field:ident $key:literal) => { $key };
}
pub(super) use section;
