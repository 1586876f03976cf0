//! Charts as SVG, rendered by the server so that they need no scripts.

use std::fmt::Write as _;

use maud::Markup;
use maud::PreEscaped;
use maud::html;

use super::format::relative;

/// The view box of a sparkline.
const SPARK: (f64, f64) = (96.0, 20.0);
/// The view box of a chart.
const CHART: (f64, f64) = (640.0, 160.0);

/// One series of a chart, ordered by time.
pub(super) struct Series<'l> {
    /// A class of the style sheet.
    pub class: &'static str,
    pub label: &'static str,
    /// Seconds since 1970, and the value.
    pub points: &'l [(u64, f64)],
}

/// A sparkline of sizes over the last hours.
pub(super) fn sparkline(points: &[(u64, u64)]) -> Markup {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return html! {} };
    let (least, most) =
        points.iter().fold((u64::MAX, 0), |(least, most), (_, size)| (least.min(*size), most.max(*size)));
    let width = (last.0 - first.0).max(1) as f64;
    let height = (most - least).max(1) as f64;
    let mut path = String::new();
    for (index, (at, size)) in points.iter().enumerate() {
        let x = (at - first.0) as f64 / width * SPARK.0;
        // A constant value is drawn in the middle.
        let y = if most == least { 0.5 } else { 1.0 - (size - least) as f64 / height };
        let _ = write!(path, "{}{x:.0} {:.1}", if index == 0 { "M" } else { "L" }, 1.0 + y * (SPARK.1 - 2.0));
    }
    if points.len() == 1 {
        let _ = write!(path, "H{}", SPARK.0);
    }
    html! {
        svg.sparkline viewBox={ "0 0 " (SPARK.0) " " (SPARK.1) } preserveAspectRatio="none" aria-hidden="true" {
            path d=(path) {}
        }
    }
}

/// A chart between two times, with its maximum. Its label contains the values as text.
pub(super) fn chart(
    title: &str,
    series: &[Series<'_>],
    (from, until): (u64, u64),
    gap: u64,
    format_value: fn(f64) -> String,
) -> Markup {
    let values = || series.iter().flat_map(|series_item| series_item.points.iter().map(|(_, value)| *value));
    let most = values().fold(0.0, f64::max);
    if values().next().is_none() {
        return html! { figure.chart { figcaption { (title) } p.soft { "No data for this period yet." } } };
    }
    let drawn = series.iter().map(|series_item| draw(series_item, (from, until), gap, most.max(1.0)));
    let summary: Vec<String> = series
        .iter()
        .filter_map(|series_item| {
            let (first, last) = (series_item.points.first()?, series_item.points.last()?);
            Some(format!("{} from {} to {}", series_item.label, format_value(first.1), format_value(last.1)))
        })
        .collect();
    html! {
        figure.chart {
            figcaption {
                (title)
                @for series_item in series {
                    @if let Some(last) = series_item.points.last() {
                        span class={ "key " (series_item.class) } { (series_item.label) " " (format_value(last.1)) }
                    }
                }
            }
            svg viewBox={ "0 0 " (CHART.0) " " (CHART.1) } role="img"
                aria-label={ (title) ": " (summary.join("; ")) ", at most " (format_value(most)) } {
                g.grid {
                    @for y in [0.5, 40.0, 80.0, 120.0, 159.5] { path d={ "M0 " (y) "H" (CHART.0) } {} }
                }
                (PreEscaped(drawn.collect::<String>()))
            }
            div.axis aria-hidden="true" { span { (relative(until.saturating_sub(from))) } span { "at most " (format_value(most)) } span { "now" } }
        }
    }
}

/// Draws a series as steps: a value lasts until the next point. Intervals longer than `gap` stay
/// empty.
fn draw(series_item: &Series<'_>, (from, until): (u64, u64), gap: u64, most: f64) -> String {
    let width = until.saturating_sub(from).max(1) as f64;
    let x = |at: u64| at.clamp(from, until).saturating_sub(from) as f64 / width * CHART.0;
    let y = |value: f64| CHART.1 - 2.0 - value / most * (CHART.1 - 4.0);
    let (mut stroke, mut area) = (String::new(), String::new());
    for piece in series_item.points.chunk_by(|one, next| next.0.saturating_sub(one.0) <= gap) {
        let (Some(first), Some(last)) = (piece.first(), piece.last()) else { continue };
        let end = x(until.min(last.0 + gap / 3)).max(x(first.0) + 4.0);
        let mut path = format!("{:.1} {:.1}", x(first.0), y(first.1));
        for (at, value) in &piece[1..] {
            let _ = write!(path, "H{:.1}V{:.1}", x(*at), y(*value));
        }
        let _ = write!(path, "H{end:.1}");
        let _ = write!(stroke, "M{path}");
        let _ = write!(area, "M{:.1} {}V{:.1}L{path}V{}Z", x(first.0), CHART.1, y(first.1), CHART.1);
    }
    let class = series_item.class;
    format!(r#"<path class="area {class}" d="{area}"/><path class="line {class}" d="{stroke}"/>"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charts_stay_in_their_view_box() {
        assert_eq!(sparkline(&[]).into_string(), "");
        assert!(sparkline(&[(5, 7)]).into_string().contains("M0 10.0H96"));
        assert!(sparkline(&[(5, 1), (6, 3), (7, 2)]).into_string().contains("M0 19.0L48 1.0L96 10.0"));
        let points = [(100, 1.0), (200, 4.0), (900, 2.0)];
        let series_item = Series { class: "size", label: "size", points: &points };
        let text = draw(&series_item, (0, 1000), 300, 4.0);
        assert!(text.contains("M64.0 119.0H128.0V2.0H192.0"), "{text}");
        assert!(text.contains("M576.0 80.0H640.0"), "an interval without points is a gap: {text}");
        let empty = chart("Size", &[], (0, 1), 1, |value| value.to_string()).into_string();
        assert!(empty.contains("No data for this period"));
    }
}
