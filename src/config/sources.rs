//! The keys `profiles` and `databases`: what is watched, and how.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde::Serializer;
use serde::ser::SerializeMap;

use crate::config::context::ParseContext;
use crate::config::databases::DatabaseSettings;
use crate::config::decode::Decoder;
use crate::config::decode::Fields;
use crate::config::decode::Value;
use crate::config::environment::escape;
use crate::config::location::Locations;
use crate::config::location::SourceLocation;
use crate::config::messages::closest;
use crate::config::messages::listing;
use crate::config::messages::quoted;
use crate::config::section::Change;
use crate::config::section::Entries;
use crate::config::section::Kind;
use crate::config::section::Layer;
use crate::config::section::Section;
use crate::config::section::assign;
use crate::config::tasks::read_zone;

/// One entry of `databases`.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// Where its files are.
    pub location: SourceLocation,
    /// How its databases are watched.
    pub settings: Arc<DatabaseSettings>,
}

impl Source {
    /// The keys of an entry.
    pub(super) fn keys() -> Vec<&'static str> {
        let mut keys = SourceLocation::keys();
        keys.push("profile");
        keys.extend(DatabaseSettings::keys());
        keys
    }
}

impl Serialize for Source {
    /// As the configuration spells it.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut entries = Entries::new(serializer.serialize_map(None)?, Vec::new());
        self.location.show(&mut entries)?;
        if !self.settings.profile.is_empty() {
            entries.add("profile", &escape(&self.settings.profile))?;
        }
        self.settings.show(&mut entries)?;
        entries.end()
    }
}

/// Both keys: profiles are laid under the databases that name them.
pub(super) struct ProfilesAndDatabases;

impl Kind<Vec<Source>> for ProfilesAndDatabases {
    fn keys(&self, _: &'static str, keys: &mut Vec<&'static str>) {
        keys.extend(["profiles", "databases"]);
    }

    fn read(
        &self,
        _: &'static str,
        fields: &Fields<'_>,
        context: &mut ParseContext<'_>,
        decoder: &mut Decoder<'_>,
    ) -> Option<Change<Vec<Source>>> {
        context.timezone = decoder.without_notes(|decoder| read_zone(fields, context, decoder));
        let profiles = fields.find("profiles").map(|value| read_profiles(&value, context, decoder));
        let profiles = profiles.unwrap_or_default();
        let entries = decoder.require(fields, "databases", "databases: [{path: /srv/app/app.db}]")?;
        let items = decoder.items(&entries)?;
        if items.is_empty() {
            decoder
                .refuse_value(&entries, "must name at least one database, as in `- path: /srv/app/app.db`");
        }
        let mut locations = Locations::default();
        let sources: Vec<Source> = items
            .iter()
            .filter_map(|item| read_entry(item, &profiles, &mut locations, context, decoder))
            .collect();
        Some(assign(sources))
    }

    fn show<M: SerializeMap>(
        &self,
        _: &'static str,
        sources: &Vec<Source>,
        entries: &mut Entries<M>,
    ) -> Result<(), M::Error> {
        // Empty profiles: their settings stand at each database, while the names are labels.
        let names = sources.iter().map(|source| source.settings.profile.as_str());
        let profiles: BTreeMap<&str, BTreeMap<&str, &str>> =
            names.filter(|name| !name.is_empty()).map(|name| (name, BTreeMap::new())).collect();
        entries.add("profiles", &profiles)?;
        entries.add("databases", sources)
    }
}

type Profiles = BTreeMap<String, Layer<DatabaseSettings>>;

fn read_profiles(value: &Value<'_>, context: &mut ParseContext<'_>, decoder: &mut Decoder<'_>) -> Profiles {
    let mut profiles = Profiles::new();
    for (name, position, tree) in decoder.entries(value).unwrap_or_default() {
        let profile = Value { tree, key: format!("{}.{name}", value.key) };
        if name.trim().is_empty() {
            decoder.refuse(position, &profile.key, "a profile needs a name");
        }
        let fields = decoder.fields(&profile, &DatabaseSettings::keys());
        let layer = fields.map(|fields| DatabaseSettings::read(&fields, context, decoder));
        // The name is known even where its settings are wrong: an error is reported once.
        profiles.insert(name.to_owned(), layer.unwrap_or_default());
    }
    profiles
}

fn read_entry(
    value: &Value<'_>,
    profiles: &Profiles,
    locations: &mut Locations,
    context: &mut ParseContext<'_>,
    decoder: &mut Decoder<'_>,
) -> Option<Source> {
    let fields = decoder.fields(value, &Source::keys())?;
    let location = locations.read(&fields, context.base, decoder);
    let mut settings = DatabaseSettings::default();
    let own = DatabaseSettings::read(&fields, context, decoder);
    if let Some(value) = fields.find("profile")
        && let Some(name) = decoder.text(&value)
    {
        match profiles.get(&name) {
            Some(profile) => {
                refuse_repeated_metrics(profile, &own, &name, &fields, decoder);
                profile.apply(&mut settings);
            }
            None => decoder.refuse_value(&value, unknown_profile(&name, profiles)),
        }
        settings.profile = name;
    }
    own.apply(&mut settings);
    Some(Source { location: location?, settings: Arc::new(settings) })
}

/// A metric in a profile and in an entry that uses it would be the same series twice.
fn refuse_repeated_metrics(
    profile: &Layer<DatabaseSettings>,
    own: &Layer<DatabaseSettings>,
    name: &str,
    fields: &Fields<'_>,
    decoder: &mut Decoder<'_>,
) {
    let metrics = |layer: &Layer<DatabaseSettings>| layer.over(DatabaseSettings::default()).custom_metrics;
    let inherited = metrics(profile);
    for metric in metrics(own) {
        if inherited.iter().any(|other| other.name == metric.name) {
            let message =
                format!("{} is already defined by the profile {}", quoted(&metric.name), quoted(name));
            decoder.refuse(fields.position_of("custom_metrics"), &fields.child("custom_metrics"), message);
        }
    }
}

fn unknown_profile(name: &str, profiles: &Profiles) -> String {
    let known: Vec<&String> = profiles.keys().collect();
    let hint = match closest(name, profiles.keys().map(String::as_str)) {
        Some(guess) => format!("did you mean `{guess}`?"),
        None if known.is_empty() => "the file has no `profiles`".to_owned(),
        None => format!("the profiles are {}", listing(&known)),
    };
    format!("there is no profile {}; {hint}", quoted(name))
}
