//! The values that collectors took of one database, by collector.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// A value of a collector: of any type that can be shared and printed.
pub trait CollectedValue: Any + fmt::Debug + Send + Sync {}

impl<T: Any + fmt::Debug + Send + Sync> CollectedValue for T {}

/// Values of collectors. A clone shares them, and none cost no memory.
#[derive(Debug, Clone, Default)]
pub struct Readings(Option<Arc<[Entry]>>);

#[derive(Debug, Clone)]
struct Entry {
    collector: &'static str,
    part: usize,
    value: Arc<dyn CollectedValue>,
}

impl Readings {
    /// The value of a type, which belongs to one collector; of its first part, if it has several.
    #[must_use]
    pub fn get<T: 'static>(&self) -> Option<&T> {
        self.parts().next().map(|(_, value)| value)
    }

    /// The values of a type by part.
    pub fn parts<T: 'static>(&self) -> impl Iterator<Item = (usize, &T)> {
        self.entries().iter().filter_map(|entry| {
            let value: &dyn Any = &*entry.value;
            Some((entry.part, value.downcast_ref()?))
        })
    }

    /// Whether a collector has a value.
    #[must_use]
    pub fn has(&self, collector: &str) -> bool {
        self.entries().iter().any(|entry| entry.collector == collector)
    }

    /// Sets the value of a part of a collector, or removes it.
    pub fn set(&mut self, collector: &'static str, part: usize, value: Option<Arc<dyn CollectedValue>>) {
        let is_same = |entry: &Entry| (entry.collector, entry.part) == (collector, part);
        if value.is_none() && !self.entries().iter().any(is_same) {
            return;
        }
        let others = self.entries().iter().filter(|entry| !is_same(entry)).cloned();
        let mut entries: Vec<Entry> =
            others.chain(value.map(|value| Entry { collector, part, value })).collect();
        entries.sort_by_key(|entry| (entry.collector, entry.part));
        self.0 = (!entries.is_empty()).then(|| entries.into());
    }

    fn entries(&self) -> &[Entry] {
        self.0.as_deref().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_type_and_part() {
        let mut readings = Readings::default();
        readings.set("text", 1, Some(Arc::new("one")));
        readings.set("text", 0, Some(Arc::new("zero")));
        readings.set("number", 0, Some(Arc::new(7_u64)));
        let parts = |readings: &Readings| -> Vec<(usize, &'static str)> {
            readings.parts::<&'static str>().map(|(part, text)| (part, *text)).collect()
        };
        assert_eq!(parts(&readings), [(0, "zero"), (1, "one")]);
        assert_eq!((readings.get::<u64>(), readings.get::<i8>()), (Some(&7), None));
        readings.set("text", 0, Some(Arc::new("null")));
        readings.set("text", 1, None);
        assert_eq!(parts(&readings), [(0, "null")]);
        assert!(readings.has("number") && !readings.has("date"));
    }
}
