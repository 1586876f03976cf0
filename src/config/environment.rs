//! `${VAR}` and `${VAR:-default}` in values.
//!
//! A value is expanded after YAML is parsed and before it is typed, so that what a variable holds
//! can never add a key, a list item or a comment. The value of a variable is not expanded again.

use std::borrow::Cow;

/// Returns the value of a variable; `None` when it is not set.
pub(super) type Environment<'e> = &'e dyn Fn(&str) -> Option<String>;

/// Expands a value: `${VAR}`, `${VAR:-default}` (the default also when VAR is empty, as a shell
/// does it), and `$$` for a `$`. Any other `$` stands for itself, since SQL has JSON paths such as
/// `'$.a'`.
///
/// # Errors
/// Every reference that cannot be expanded, as messages.
pub(super) fn expand<'t>(text: &'t str, environment: Environment<'_>) -> Result<Cow<'t, str>, Vec<String>> {
    if !text.contains('$') {
        return Ok(Cow::Borrowed(text));
    }
    let mut expanded = String::with_capacity(text.len());
    let mut problems = Vec::new();
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        expanded.push_str(&rest[..dollar]);
        rest = &rest[dollar + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            expanded.push('$');
            rest = after;
        } else if let Some(reference) = rest.strip_prefix('{') {
            let Some(end) = reference.find('}') else {
                problems.push("`${` without `}`; write `$$` for a plain `$`".to_owned());
                break;
            };
            match resolve(&reference[..end], environment) {
                Ok(value) => expanded.push_str(&value),
                Err(problem) => problems.push(problem),
            }
            rest = &reference[end + 1..];
        } else {
            expanded.push('$');
        }
    }
    expanded.push_str(rest);
    if problems.is_empty() { Ok(Cow::Owned(expanded)) } else { Err(problems) }
}

/// The value of what stands between `${` and `}`.
fn resolve(reference: &str, environment: Environment<'_>) -> Result<String, String> {
    let (name, default) = match reference.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (reference, None),
    };
    if !is_name(name) || default.is_some_and(|default| default.contains("${")) {
        return Err(format!(
            "`${{{reference}}}` is not a variable; write `${{NAME}}` or `${{NAME:-default}}`, or `$$` for a plain `$`"
        ));
    }
    let value = environment(name);
    match (value, default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (Some(_) | None, Some(default)) => Ok(default.replace("$$", "$")),
        (None, None) => Err(format!(
            "the environment variable `{name}` is not set; set it, or give a default as in `${{{name}:-default}}`"
        )),
    }
}

fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.chars().all(|character| character.is_ascii_alphanumeric() || character == '_')
}

/// Writes a text so that [`expand`] gives it back.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        escaped.push(character);
        if character == '$' && matches!(characters.peek(), Some('$' | '{')) {
            escaped.push('$');
        }
    }
    escaped
}
