//! `${VAR}` and `${VAR:-default}` in values. It happens after the YAML is parsed, so that a value
//! from outside cannot add structure, and before values get their types.

/// Gives the value of a variable.
pub(super) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Replaces the variables of a text; `$$` is a dollar sign, and a lone one stands for itself.
///
/// # Errors
/// What is wrong, in words.
pub(super) fn expand(text: &str, environment: Environment<'_>) -> Result<String, String> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        expanded.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            expanded.push('$');
            rest = after;
        } else if let Some(inside) = rest.strip_prefix('{') {
            let Some((reference, after)) = inside.split_once('}') else {
                return Err("`${` without `}`; write `$$` for a dollar sign".to_owned());
            };
            expanded.push_str(&value(reference, environment)?);
            rest = after;
        } else {
            expanded.push('$');
        }
    }
    expanded.push_str(rest);
    Ok(expanded)
}

fn value(reference: &str, environment: Environment<'_>) -> Result<String, String> {
    let (name, default) = match reference.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (reference, None),
    };
    let valid = !name.is_empty()
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && name.chars().all(|character| character.is_ascii_alphanumeric() || character == '_');
    if !valid {
        return Err(format!("`${{{reference}}}` names no variable; write `$$` for a dollar sign"));
    }
    // As in a shell, `:-` also replaces an empty value.
    let set = environment(name).filter(|value| default.is_none() || !value.is_empty());
    set.or_else(|| default.map(str::to_owned)).ok_or_else(|| {
        format!("the environment variable {name} is not set; set it, or give a default: `${{{name}:-value}}`")
    })
}
