//! A scrape in the text format, read back.

/// The samples of one scrape.
#[derive(Debug, Clone)]
pub struct Scrape {
    pub text: String,
}

impl Scrape {
    /// The value of the one sample with this name and at least these labels.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let mut found = self.samples(name, labels);
        let value = found.next()?;
        assert!(found.next().is_none(), "{name} {labels:?} is not one sample");
        Some(value)
    }

    /// How many samples there are with this name and at least these labels.
    pub fn count(&self, name: &str, labels: &[(&str, &str)]) -> usize {
        self.samples(name, labels).count()
    }

    fn samples<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&'a str, &'a str)],
    ) -> impl Iterator<Item = f64> + 'a {
        self.text.lines().filter(|line| !line.starts_with('#')).filter_map(move |line| {
            let (series, value) = line.rsplit_once(' ')?;
            let (family, rest) = series.split_once('{').unwrap_or((series, ""));
            let has = |(key, value): &(&str, &str)| {
                let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
                let label = format!("{key}=\"{value}\"");
                rest.starts_with(&label) || rest.contains(&format!(",{label}"))
            };
            (family == name && labels.iter().all(has)).then(|| value.parse().unwrap())
        })
    }
}
