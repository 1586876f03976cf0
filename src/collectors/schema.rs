//! Objects of the schema by kind. Parsing the schema costs more than the rest of a sample, so it is
//! parsed again only when the schema cookie has moved.

use std::sync::Arc;

use crate::config::DatabaseSettings;
use crate::sqlite::Header;
use crate::sqlite::Reader;
use crate::sqlite::SchemaObjects;
use crate::sqlite::SqliteError;

use super::collector::Collector;
use super::collector::Family;
use super::collector::FamilyGroup;
use super::collector::SampleCollector;
use super::readings::CollectedValue;

pub(super) struct SchemaCollector;

impl Collector for SchemaCollector {
    fn name(&self) -> &'static str {
        "schema"
    }

    fn families(&self) -> &'static [Family] {
        &FAMILIES
    }
}

impl SampleCollector for SchemaCollector {
    fn is_enabled(&self, settings: &DatabaseSettings) -> bool {
        settings.collectors.schema
    }

    fn is_current(&self, before: &Header, now: &Header) -> bool {
        before.schema_version == now.schema_version
    }

    fn collect(&self, reader: &Reader) -> Result<Arc<dyn CollectedValue>, SqliteError> {
        Ok(Arc::new(reader.schema_objects()?))
    }
}

static FAMILIES: [Family; 1] = [Family {
    labels: &["kind"],
    group: FamilyGroup::Identity,
    ..Family::gauge(
        "sqlite_schema_objects",
        "Objects of the schema by kind: tables, indexes, views, triggers; read again when the schema changes",
        |snapshot, writer| {
            let objects = snapshot.facts.as_ref().and_then(|facts| facts.readings.get::<SchemaObjects>());
            let Some(objects) = objects else { return Ok(()) };
            writer.gauge(&[("kind", "tables")], f64::from(objects.tables))?;
            writer.gauge(&[("kind", "indexes")], f64::from(objects.indexes))?;
            writer.gauge(&[("kind", "views")], f64::from(objects.views))?;
            writer.gauge(&[("kind", "triggers")], f64::from(objects.triggers))
        },
    )
}];
