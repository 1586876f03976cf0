//! Parses YAML into a tree of nodes with their positions.
//!
//! Scalars stay text as the file spells them: `1.10` is not 1.1, and `on` is not yet a boolean.
//! What a scalar means is decided by the key it belongs to, after the environment is expanded. This
//! file must never decide that, and must never let a small file become a large tree.

use std::fmt;

use serde::Deserialize;
use serde::de::Deserializer;
use serde::de::MapAccess;
use serde::de::SeqAccess;
use serde::de::Visitor;
use serde_saphyr::DuplicateKeyPolicy;
use serde_saphyr::Location;
use serde_saphyr::NonFiniteFloatPolicy;
use serde_saphyr::SnippetMode;
use serde_saphyr::Spanned;
use serde_saphyr::UserMessageFormatter;

use crate::config::error::Position;

/// The most bytes of a configuration: some ten thousand entries. Anything above is no
/// configuration.
pub(super) const MAX_FILE_BYTES: usize = 1 << 20;

/// The most nodes of the tree, those that aliases repeat included, and so its memory (about 30 MB).
const MAX_NODES: usize = 250_000;

/// The most bytes of scalars, those that aliases repeat included.
const MAX_SCALAR_BYTES: usize = 8 << 20;

/// The deepest nesting; the configuration itself needs seven. It bounds the stack of the recursion.
const MAX_DEPTH: usize = 32;

/// A node and its place.
#[derive(Debug)]
pub(super) struct Tree {
    /// The content.
    pub node: Node,
    /// Where it is written (for an alias, where the anchor is).
    pub position: Position,
}

/// What a node holds.
#[derive(Debug)]
pub(super) enum Node {
    /// No value, `~` or `null`.
    Null,
    /// A scalar, as it is spelled.
    Scalar(String),
    /// A list.
    Sequence(Vec<Tree>),
    /// Keys and values in the order of the file, duplicates included.
    Mapping(Vec<(Tree, Tree)>),
}

/// Why a text is no YAML (or too much of it).
#[derive(Debug)]
pub(super) struct SyntaxError {
    /// Where, if the parser knows.
    pub position: Option<Position>,
    /// The message of the parser.
    pub message: String,
}

/// Parses a text of at most [`MAX_FILE_BYTES`].
pub(super) fn parse(text: &str) -> Result<Tree, SyntaxError> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_nodes: MAX_NODES,
            max_events: 2 * MAX_NODES,
            max_depth: MAX_DEPTH,
            flow_nesting_limit: MAX_DEPTH,
            max_total_scalar_bytes: MAX_SCALAR_BYTES,
            // One anchor for a hundred entries is how anchors are meant to be used.
            enforce_alias_anchor_ratio: false,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: MAX_NODES,
            max_replay_stack_depth: 8,
        },
        // The decoder reports duplicates itself, together with everything else.
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        reject_unsupported_tags: true,
        with_snippet: false,
    };
    let raw: Spanned<Raw> =
        serde_saphyr::from_str_with_options(text, options).map_err(|error| SyntaxError::of(&error, text))?;
    Ok(tree(raw, text))
}

impl SyntaxError {
    fn of(error: &serde_saphyr::Error, text: &str) -> Self {
        let position = error.location().and_then(position_of);
        let rendered = error.render_with_options(serde_saphyr::render_options! {
            formatter: &UserMessageFormatter,
            snippets: SnippetMode::Off,
        });
        // The place stands in front of the message already, and an alias adds two more.
        let ends = [" at line ", " (defined at "].map(|mark| rendered.find(mark).unwrap_or(rendered.len()));
        let end = if position.is_some() { ends[0].min(ends[1]) } else { rendered.len() };
        let mut message = rendered[..end].to_owned();
        let line = position.and_then(|at| text.lines().nth(usize::try_from(at.line - 1).ok()?));
        if line.is_some_and(|line| line.contains("${")) {
            message += "; inside `{ }` and `[ ]`, quote a value with `${…}`";
        }
        Self { position, message }
    }
}

fn position_of(location: Location) -> Option<Position> {
    let known = location.line() > 0;
    known.then(|| Position { line: location.line(), column: location.column() })
}

/// A node as serde hands it over: numbers and booleans have lost their spelling.
enum Raw {
    Null,
    Text(String),
    /// A plain scalar that the parser took for a boolean or a number.
    Inferred,
    Sequence(Vec<Spanned<Raw>>),
    Mapping(Vec<(Spanned<Raw>, Spanned<Raw>)>),
}

fn tree(raw: Spanned<Raw>, text: &str) -> Tree {
    let position = position_of(raw.defined).unwrap_or(Position { line: 1, column: 1 });
    let node = match raw.value {
        Raw::Null => Node::Null,
        Raw::Text(text) => Node::Scalar(text),
        Raw::Inferred => Node::Scalar(spelling(raw.defined, text).to_owned()),
        Raw::Sequence(items) => Node::Sequence(items.into_iter().map(|item| tree(item, text)).collect()),
        Raw::Mapping(entries) => Node::Mapping(
            entries.into_iter().map(|(key, value)| (tree(key, text), tree(value, text))).collect(),
        ),
    };
    Tree { node, position }
}

/// The text of a plain scalar as the file has it. A plain number or boolean has no escapes or
/// folds, so that the bytes of its span are its spelling.
fn spelling(location: Location, text: &str) -> &str {
    let span = location.span();
    let (Some(start), Some(length)) = (span.byte_offset(), span.byte_len()) else { return "" };
    let start = usize::try_from(start).unwrap_or(usize::MAX);
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    text.get(start..start.saturating_add(length)).unwrap_or("").trim()
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a YAML node")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Raw, E> {
        Ok(Raw::Inferred)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Raw, E> {
        Ok(Raw::Inferred)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Raw, E> {
        Ok(Raw::Inferred)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Raw, E> {
        Ok(Raw::Inferred)
    }

    fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Raw, E> {
        Ok(Raw::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Raw::Sequence(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Mapping(entries))
    }
}
