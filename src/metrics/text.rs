//! The two text forms. prometheus-client writes OpenMetrics; the older form is made from it.

/// A text form of the exposition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0
    /// (<https://github.com/prometheus/OpenMetrics/blob/v1.0.0/specification/OpenMetrics.md>).
    OpenMetrics,
    /// Prometheus' text format 0.0.4
    /// (<https://prometheus.io/docs/instrumenting/exposition_formats/>).
    Text,
}

impl Format {
    /// The exact Content-Type.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// A part of the text in format 0.0.4.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextPart {
    /// Lines that both forms have, by their place in the OpenMetrics text: nearly all, so that they
    /// are not copied.
    Shared(std::ops::Range<usize>),
    /// Lines of this form alone.
    Own(String),
}

impl TextPart {
    /// The text of the part, which was made from `openmetrics`.
    #[must_use]
    pub fn of<'a>(&'a self, openmetrics: &'a str) -> &'a str {
        match self {
            Self::Shared(range) => &openmetrics[range.clone()],
            Self::Own(text) => text,
        }
    }
}

/// Rewrites OpenMetrics as text 0.0.4.
pub(super) fn to_text_format(openmetrics: &str) -> String {
    let mut text = String::with_capacity(openmetrics.len());
    for piece in text_parts(openmetrics) {
        text.push_str(piece.of(openmetrics));
    }
    text
}

/// Format 0.0.4 as parts of the OpenMetrics text, the way Go's client writes it: HELP and TYPE of a
/// counter stand on `…_total`, an info is a gauge on `…_info`, and there is neither UNIT nor EOF
/// nor an exemplar. `promtool check metrics` requires it.
#[must_use]
pub fn text_parts(openmetrics: &str) -> Vec<TextPart> {
    let mut pieces = Vec::new();
    let mut own = String::new();
    let mut help = None;
    // Sample lines are the bulk and pass as they are, in runs.
    let mut run = 0;
    let mut position = 0;
    let mut may_have_exemplars = false;
    let share = |pieces: &mut Vec<TextPart>, own: &mut String, range: std::ops::Range<usize>| {
        if range.is_empty() {
            return;
        }
        if !own.is_empty() {
            pieces.push(TextPart::Own(std::mem::take(own)));
        }
        pieces.push(TextPart::Shared(range));
    };
    for line in openmetrics.split_inclusive('\n') {
        let end = position + line.len();
        let is_comment = line.starts_with("# ");
        let exemplar = if may_have_exemplars && !is_comment { line.find(" # {") } else { None };
        if is_comment || exemplar.is_some() {
            share(&mut pieces, &mut own, run..position);
            run = end;
        }
        if let Some(at) = exemplar {
            own.push_str(&line[..at]);
            own.push('\n');
        } else if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.trim_end().split_once(' ');
        } else if let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|rest| rest.trim_end().split_once(' '))
        {
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                other => ("", other),
            };
            if let Some((_, words)) = help.take() {
                own.extend(["# HELP ", name, suffix, " ", words, "\n"]);
            }
            own.extend(["# TYPE ", name, suffix, " ", kind, "\n"]);
            // Only these carry exemplars; elsewhere " # {" may be part of a label's value.
            may_have_exemplars = kind == "histogram";
        }
        position = end;
    }
    share(&mut pieces, &mut own, run..position);
    if !own.is_empty() {
        pieces.push(TextPart::Own(own));
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::to_text_format;

    #[test]
    fn the_older_form_is_as_go_writes_it() {
        let openmetrics = "# HELP a Counts.\n# TYPE a counter\na_total{db=\"x # {y}\"} 1\n\
                           # HELP b_seconds Time.\n# TYPE b_seconds gauge\n# UNIT b_seconds seconds\nb_seconds 2.0\n\
                           # HELP c What.\n# TYPE c info\nc_info{v=\"1\"} 1\n\
                           # HELP d How long.\n# TYPE d histogram\nd_sum 1.0\nd_count 1\n\
                           d_bucket{le=\"+Inf\"} 1 # {trace_id=\"abc\"} 1.0 1700000000.0\n# EOF\n";
        let text = "# HELP a_total Counts.\n# TYPE a_total counter\na_total{db=\"x # {y}\"} 1\n\
                    # HELP b_seconds Time.\n# TYPE b_seconds gauge\nb_seconds 2.0\n\
                    # HELP c_info What.\n# TYPE c_info gauge\nc_info{v=\"1\"} 1\n\
                    # HELP d How long.\n# TYPE d histogram\nd_sum 1.0\nd_count 1\n\
                    d_bucket{le=\"+Inf\"} 1\n";
        assert_eq!(to_text_format(openmetrics), text);
    }
}
