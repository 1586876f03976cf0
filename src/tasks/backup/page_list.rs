//! Page numbers in a message.

use crate::humanize::count;

/// Formats the first of `all` pages: `page 5`, `pages 5, 9 and 12 more`.
pub(super) fn page_list(first: &[u32], all: u32) -> String {
    const MAX_SHOWN: usize = 10;
    let shown = &first[..first.len().min(MAX_SHOWN)];
    let numbers: Vec<String> = shown.iter().map(u32::to_string).collect();
    let more = u64::from(all).saturating_sub(shown.len() as u64);
    let thing = if all == 1 { "page" } else { "pages" };
    match more {
        0 => format!("{thing} {}", numbers.join(", ")),
        more if numbers.is_empty() => format!("{} {thing}", count(more)),
        more => format!("{thing} {} and {} more", numbers.join(", "), count(more)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_listed_up_to_a_limit() {
        let many: Vec<u32> = (1..=1000).collect();
        for (first, all, expected) in [
            (&[7][..], 1, "page 7"),
            (&[7, 9], 2, "pages 7, 9"),
            (&many, 2500, "pages 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 2,490 more"),
            (&[], 3, "3 pages"),
        ] {
            assert_eq!(page_list(first, all), expected);
        }
    }
}
