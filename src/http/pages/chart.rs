//! Curves as SVG: drawn by the server, so that they need no script and no asset from elsewhere.

use std::fmt::Write as _;

use maud::Markup;
use maud::PreEscaped;
use maud::html;

use super::format::ago;

/// The size of a small curve, in units of its own.
const SPARK: (f64, f64) = (96.0, 20.0);
/// The size of a large one.
const CHART: (f64, f64) = (640.0, 160.0);

/// One line of a chart: points in the order of time.
pub(super) struct Line<'l> {
    /// How it is drawn, a class of the style sheet.
    pub class: &'static str,
    /// What it shows.
    pub label: &'static str,
    /// When, and how much.
    pub points: &'l [(u64, f64)],
}

/// The small curve of a list: sizes in the last hours.
pub(super) fn spark(points: &[(u64, u64)]) -> Markup {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return html! {} };
    let (least, most) =
        points.iter().fold((u64::MAX, 0), |(least, most), (_, size)| (least.min(*size), most.max(*size)));
    let width = (last.0 - first.0).max(1) as f64;
    let height = (most - least).max(1) as f64;
    let mut path = String::new();
    for (index, (at, size)) in points.iter().enumerate() {
        let x = (at - first.0) as f64 / width * SPARK.0;
        // What does not move is drawn in the middle.
        let y = if most == least { 0.5 } else { 1.0 - (size - least) as f64 / height };
        let _ = write!(path, "{}{x:.0} {:.1}", if index == 0 { "M" } else { "L" }, 1.0 + y * (SPARK.1 - 2.0));
    }
    if points.len() == 1 {
        let _ = write!(path, "H{}", SPARK.0);
    }
    html! {
        svg.spark viewBox={ "0 0 " (SPARK.0) " " (SPARK.1) } preserveAspectRatio="none" aria-hidden="true" {
            path d=(path) {}
        }
    }
}

/// A large curve with its greatest value, between two moments. The same in words is in its label.
pub(super) fn chart(
    title: &str,
    lines: &[Line<'_>],
    (from, until): (u64, u64),
    gap: u64,
    words: fn(f64) -> String,
) -> Markup {
    let values = || lines.iter().flat_map(|line| line.points.iter().map(|(_, value)| *value));
    let most = values().fold(0.0, f64::max);
    if values().next().is_none() {
        return html! { figure.chart { figcaption { (title) } p.soft { "Nothing is kept for this time yet." } } };
    }
    let drawn = lines.iter().map(|line| draw(line, (from, until), gap, most.max(1.0)));
    let summary: Vec<String> = lines
        .iter()
        .filter_map(|line| {
            let (first, last) = (line.points.first()?, line.points.last()?);
            Some(format!("{} from {} to {}", line.label, words(first.1), words(last.1)))
        })
        .collect();
    html! {
        figure.chart {
            figcaption {
                (title)
                @for line in lines {
                    @if let Some(last) = line.points.last() {
                        span class={ "key " (line.class) } { (line.label) " " (words(last.1)) }
                    }
                }
            }
            svg viewBox={ "0 0 " (CHART.0) " " (CHART.1) } role="img"
                aria-label={ (title) ": " (summary.join("; ")) ", at most " (words(most)) } {
                g.grid {
                    @for y in [0.5, 40.0, 80.0, 120.0, 159.5] { path d={ "M0 " (y) "H" (CHART.0) } {} }
                }
                (PreEscaped(drawn.collect::<String>()))
            }
            div.axis aria-hidden="true" { span { (ago(until.saturating_sub(from))) } span { "at most " (words(most)) } span { "now" } }
        }
    }
}

/// A line as steps: a value holds until the next. A longer silence than `gap` is one.
fn draw(line: &Line<'_>, (from, until): (u64, u64), gap: u64, most: f64) -> String {
    let width = until.saturating_sub(from).max(1) as f64;
    let x = |at: u64| at.clamp(from, until).saturating_sub(from) as f64 / width * CHART.0;
    let y = |value: f64| CHART.1 - 2.0 - value / most * (CHART.1 - 4.0);
    let (mut stroke, mut area) = (String::new(), String::new());
    for piece in line.points.chunk_by(|one, next| next.0.saturating_sub(one.0) <= gap) {
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
    let class = line.class;
    format!(r#"<path class="area {class}" d="{area}"/><path class="line {class}" d="{stroke}"/>"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_stay_in_their_frame() {
        assert_eq!(spark(&[]).into_string(), "");
        assert!(spark(&[(5, 7)]).into_string().contains("M0 10.0H96"));
        assert!(spark(&[(5, 1), (6, 3), (7, 2)]).into_string().contains("M0 19.0L48 1.0L96 10.0"));
        let points = [(100, 1.0), (200, 4.0), (900, 2.0)];
        let line = Line { class: "size", label: "size", points: &points };
        let text = draw(&line, (0, 1000), 300, 4.0);
        assert!(text.contains("M64.0 119.0H128.0V2.0H192.0"), "{text}");
        assert!(text.contains("M576.0 80.0H640.0"), "a silence is a gap: {text}");
        let empty = chart("Size", &[], (0, 1), 1, |value| value.to_string()).into_string();
        assert!(empty.contains("Nothing is kept"));
    }
}
