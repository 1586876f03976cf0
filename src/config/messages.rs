//! Parts of error messages: suggestions, lists and quotes.

use std::fmt::Display;

/// The longest excerpt of a value that a message quotes, in characters.
const MAX_QUOTED: usize = 80;

/// The one known word that a user probably meant.
pub(crate) fn closest<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let known: Vec<&str> = known.collect();
    // A third of the letters may be wrong, but never all of a short word.
    let tolerance = (word.chars().count() / 3).max(1);
    let near = known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), *candidate))
        .filter(|(distance, candidate)| *distance <= tolerance && *distance < candidate.len())
        .min();
    if let Some((_, candidate)) = near {
        return Some(candidate);
    }
    // `metrics` for `custom_metrics`: a part stands for the whole if it is a part of one alone.
    let mut wholes = known.iter().filter(|candidate| word.len() >= 4 && candidate.contains(word));
    match (wholes.next(), wholes.next()) {
        (Some(only), None) => Some(only),
        (None | Some(_), _) => None,
    }
}

/// A list for a message: `a`, `b` and `c`.
pub(super) fn listing<T: Display>(words: &[T]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        None => String::new(),
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
    }
}

/// A value for a message, shortened.
pub(super) fn quoted(text: &str) -> String {
    match text.char_indices().nth(MAX_QUOTED) {
        Some((end, _)) => format!("`{}…`", &text[..end]),
        None => format!("`{text}`"),
    }
}
