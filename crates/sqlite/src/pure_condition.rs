//! Whether an SQL condition of the user depends on nothing but the database: no time of day, no
//! chance, no state of a connection.
//!
//! SQLite itself enforces this in a CHECK constraint or in a partial index, where a subquery is
//! forbidden too; a condition may have one here (`period IN (SELECT …)`). So functions are refused
//! by the authorizer, and what makes a date function depend on the clock by the text.

use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::Connection;
use rusqlite::hooks::AuthAction;
use rusqlite::hooks::AuthContext;
use rusqlite::hooks::Authorization;

/// Functions whose result does not follow from their arguments.
const IMPURE_FUNCTIONS: [&str; 14] = [
    "changes",
    "current_date",
    "current_time",
    "current_timestamp",
    "last_insert_rowid",
    "load_extension",
    "random",
    "randomblob",
    "sqlite_compileoption_get",
    "sqlite_compileoption_used",
    "sqlite_offset",
    "sqlite_source_id",
    "sqlite_version",
    "total_changes",
];

/// Functions that read the clock or the time zone, depending on their arguments.
const DATE_FUNCTIONS: [&str; 7] =
    ["date", "datetime", "julianday", "strftime", "time", "timediff", "unixepoch"];

/// Arguments of date functions that bring in the clock or the machine's time zone. `subsec` alone
/// stands for the time of day.
const CLOCK_ARGUMENTS: [&str; 5] = ["localtime", "now", "subsec", "subsecond", "utc"];

/// Prepares a statement with a condition under an authorizer that allows only to read and to call
/// pure functions.
///
/// # Errors
/// Inside, why the condition is refused, in words that follow "the condition".
pub(super) fn check_pure(
    connection: &mut Connection,
    condition: &str,
    statement: &str,
) -> rusqlite::Result<Result<(), String>> {
    if let Some(reason) = clock_use(condition) {
        return Ok(Err(reason));
    }
    let refused: Arc<Mutex<Option<String>>> = Arc::default();
    let noted = Arc::clone(&refused);
    connection.authorizer(Some(move |context: AuthContext<'_>| match refusal(&context.action) {
        None => Authorization::Allow,
        Some(reason) => {
            noted.lock().get_or_insert(reason);
            Authorization::Deny
        }
    }))?;
    let prepared = connection.prepare(statement).map(|_| ());
    connection.authorizer(None::<fn(AuthContext<'_>) -> Authorization>)?;
    let reason = refused.lock().take();
    match (prepared, reason) {
        (Ok(()), None) => Ok(Ok(())),
        (_, Some(reason)) => Ok(Err(reason)),
        (Err(rusqlite::Error::SqlInputError { msg, .. }), None) => Ok(Err(format!("is not valid: {msg}"))),
        (Err(rusqlite::Error::SqliteFailure(failure, message)), None)
            if failure.extended_code == rusqlite::ffi::SQLITE_ERROR =>
        {
            Ok(Err(format!("is not valid: {}", message.unwrap_or_default())))
        }
        (Err(rusqlite::Error::MultipleStatement), None) => {
            Ok(Err("has a `;`; it must be one expression".to_owned()))
        }
        (Err(error), None) => Err(error),
    }
}

/// Why an action of a condition is refused.
fn refusal(action: &AuthAction<'_>) -> Option<String> {
    match action {
        AuthAction::Read { table_name, .. } if table_name.to_ascii_lowercase().starts_with("pragma_") => {
            Some("reads a PRAGMA, which is no content of the database".to_owned())
        }
        AuthAction::Select | AuthAction::Read { .. } | AuthAction::Recursive => None,
        AuthAction::Function { function_name } => {
            let name = function_name.to_ascii_lowercase();
            IMPURE_FUNCTIONS
                .contains(&name.as_str())
                .then(|| format!("calls {name}(), whose result is another one each time"))
        }
        // rusqlite's enum is open-ended: whatever it does not name is refused.
        _ => Some("does something else than read".to_owned()),
    }
}

/// A piece of an SQL expression.
#[derive(Debug, PartialEq)]
enum Token {
    /// A keyword or a name without quotes, in lower case.
    Word(String),
    /// A string literal, in lower case.
    Text(String),
    /// Any other character outside of comments and quoted names.
    Other(char),
}

/// Why a condition depends on the clock; `None` where no date function has such an argument.
fn clock_use(condition: &str) -> Option<String> {
    let tokens = tokens(condition);
    for (place, token) in tokens.iter().enumerate() {
        let Token::Word(name) = token else { continue };
        if !DATE_FUNCTIONS.contains(&name.as_str()) || tokens.get(place + 1) != Some(&Token::Other('(')) {
            continue;
        }
        let arguments = arguments(&tokens[place + 2..]);
        let is_clock =
            |token: &&Token| matches!(token, Token::Text(text) if CLOCK_ARGUMENTS.contains(&text.trim()));
        if let Some(Token::Text(argument)) = arguments.iter().find(is_clock) {
            return Some(format!(
                "calls {name}() with '{argument}', which depends on the clock or the time zone"
            ));
        }
        // `strftime` has a format first; without a time after it, it takes the time of day.
        let has_time =
            if name == "strftime" { arguments.contains(&Token::Other(',')) } else { !arguments.is_empty() };
        if !has_time {
            return Some(format!("calls {name}() without a time, which is the time of day"));
        }
    }
    None
}

/// The tokens up to the parenthesis that ends the arguments.
fn arguments(tokens: &[Token]) -> &[Token] {
    let mut depth = 1_usize;
    let end = tokens.iter().position(|token| {
        match token {
            Token::Other('(') => depth += 1,
            Token::Other(')') => depth -= 1,
            _ => {}
        }
        depth == 0
    });
    &tokens[..end.unwrap_or(tokens.len())]
}

fn tokens(sql: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = sql;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '\'' | '"' | '`' => quoted_length(rest, first),
            '[' => rest.find(']').map_or(rest.len(), |end| end + 1),
            '-' if rest.starts_with("--") => rest.find('\n').map_or(rest.len(), |end| end + 1),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            first if is_of_word(first) => rest.find(|c| !is_of_word(c)).unwrap_or(rest.len()),
            first => first.len_utf8(),
        };
        let (piece, after) = rest.split_at(length);
        match first {
            '\'' => tokens.push(Token::Text(piece.trim_matches('\'').to_lowercase())),
            // SQLite takes a double-quoted name that no column has for a string.
            '"' => tokens.push(Token::Text(piece.trim_matches('"').to_lowercase())),
            '`' | '[' => {}
            _ if length > 1 && !is_of_word(first) => {}
            first if is_of_word(first) => tokens.push(Token::Word(piece.to_lowercase())),
            first if first.is_whitespace() => {}
            first => tokens.push(Token::Other(first)),
        }
        rest = after;
    }
    tokens
}

fn is_of_word(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '_' | '$') || !character.is_ascii()
}

/// The length of a quoted piece; a doubled quote stands for itself.
fn quoted_length(text: &str, quote: char) -> usize {
    let mut quotes = text.char_indices().skip(1).filter(|(_, c)| *c == quote).map(|(place, _)| place);
    while let Some(end) = quotes.next() {
        if text[end + 1..].starts_with(quote) {
            quotes.next();
        } else {
            return end + 1;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_that_depends_on_the_clock_is_found_in_its_text() {
        for (condition, is_pure) in [
            ("closed = 1", true),
            ("date(booked) < '2026-01-01'", true),
            ("strftime('%Y', booked) = '2025'", true),
            ("state = 'now'", true),
            ("date IS NOT NULL -- date('now')", true),
            ("note = 'it''s date(''now'')'", true),
            ("\"date(\" = 1 AND [datetime(] = 2 /* time() */", true),
            ("booked < date('now')", false),
            ("booked < DATE ( 'NOW', '-1 day')", false),
            ("booked < datetime()", false),
            ("booked < strftime('%s')", false),
            ("strftime('%s', booked, (SELECT 'utc'))", false),
            ("date(booked, 'localtime') = 1", false),
            ("unixepoch('subsec') > booked", false),
            ("booked < date(\"now\")", false),
        ] {
            assert_eq!(clock_use(condition).is_none(), is_pure, "{condition}: {:?}", clock_use(condition));
        }
    }
}
