//! The key of a row, as it is stored and as it is shown.

use crate::sqlite::RowKey;
use crate::sqlite::SealedColumn;
use crate::sqlite::StoredValue;

/// The most characters that are shown of one value of a key.
const MAX_SHOWN_CHARS: usize = 60;

/// A key as bytes; equal keys are equal bytes.
pub(super) fn encode(key: &RowKey) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(key.len() * 6);
    for value in key {
        match value {
            StoredValue::Null => bytes.push(b'n'),
            StoredValue::Integer(integer) => {
                bytes.push(b'i');
                push_number(&mut bytes, zigzag(*integer));
            }
            StoredValue::Real(real) => {
                bytes.push(b'r');
                bytes.extend_from_slice(&real.to_bits().to_le_bytes());
            }
            StoredValue::Text(text) => push_bytes(&mut bytes, b't', text),
            StoredValue::Blob(blob) => push_bytes(&mut bytes, b'b', blob),
        }
    }
    bytes
}

/// The key that bytes of [`encode`] stand for; `None` for any others.
pub(super) fn decode(mut bytes: &[u8]) -> Option<RowKey> {
    let mut key = Vec::new();
    while let Some((&kind, rest)) = bytes.split_first() {
        bytes = rest;
        key.push(match kind {
            b'n' => StoredValue::Null,
            b'i' => StoredValue::Integer(unzigzag(take_number(&mut bytes)?)),
            b'r' => {
                StoredValue::Real(f64::from_bits(u64::from_le_bytes(take(&mut bytes, 8)?.try_into().ok()?)))
            }
            b't' => StoredValue::Text(take_counted(&mut bytes)?.to_vec()),
            b'b' => StoredValue::Blob(take_counted(&mut bytes)?.to_vec()),
            _ => return None,
        });
    }
    Some(key)
}

/// A key as a user reads it: `id=4711`, or `year=2025, number='A-17'`. The values are what a
/// program wrote: nothing in them acts on a terminal.
pub(super) fn shown(columns: &[SealedColumn], key: &RowKey) -> String {
    let name = |place: usize| columns.get(place).map_or("?", |column| column.name.as_str());
    let part =
        |(place, value): (usize, &StoredValue)| format!("{}={}", escaped(name(place)), shown_value(value));
    key.iter().enumerate().map(part).collect::<Vec<_>>().join(", ")
}

fn shown_value(value: &StoredValue) -> String {
    match value {
        StoredValue::Null => "NULL".to_owned(),
        StoredValue::Integer(integer) => integer.to_string(),
        StoredValue::Real(real) => format!("{real:?}"),
        StoredValue::Text(text) => {
            format!("'{}'", escaped(&String::from_utf8_lossy(text)).replace('\'', "''"))
        }
        StoredValue::Blob(blob) => {
            let shown = &blob[..blob.len().min(MAX_SHOWN_CHARS / 2)];
            let digits: String = shown.iter().map(|byte| format!("{byte:02X}")).collect();
            format!("x'{digits}'{}", if shown.len() < blob.len() { "…" } else { "" })
        }
    }
}

/// Text without anything that acts on a terminal, cut to a length.
pub(super) fn escaped(text: &str) -> String {
    use std::fmt::Write as _;
    let mut safe = String::new();
    for (place, character) in text.chars().enumerate() {
        if place == MAX_SHOWN_CHARS {
            safe.push('…');
            break;
        }
        let acts = character.is_control()
            || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if acts {
            // Writing to a String cannot fail.
            let _ = write!(safe, "\\u{:04x}", u32::from(character));
        } else {
            safe.push(character);
        }
    }
    safe
}

fn zigzag(integer: i64) -> u64 {
    ((integer << 1) ^ (integer >> 63)).cast_unsigned()
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}

/// Adds a number, 7 bits a byte.
pub(super) fn push_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// Takes a number of [`push_number`].
pub(super) fn take_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn push_bytes(bytes: &mut Vec<u8>, kind: u8, content: &[u8]) {
    bytes.push(kind);
    push_number(bytes, content.len() as u64);
    bytes.extend_from_slice(content);
}

/// Takes bytes after their number.
pub(super) fn take_counted<'bytes>(bytes: &mut &'bytes [u8]) -> Option<&'bytes [u8]> {
    let length = take_number(bytes)?;
    take(bytes, usize::try_from(length).ok()?)
}

/// Takes so many bytes.
pub(super) fn take<'bytes>(bytes: &mut &'bytes [u8], length: usize) -> Option<&'bytes [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_survive_and_cannot_be_mistaken() {
        let text = |text: &str| StoredValue::Text(text.as_bytes().to_vec());
        let keys: Vec<RowKey> = vec![
            vec![StoredValue::Integer(i64::MIN)],
            vec![StoredValue::Integer(-1)],
            vec![StoredValue::Integer(i64::MAX)],
            vec![StoredValue::Integer(1)],
            vec![StoredValue::Real(1.0)],
            vec![text("1")],
            vec![StoredValue::Blob(b"1".to_vec())],
            vec![text("ab"), text("c")],
            vec![text("a"), text("bc")],
            vec![StoredValue::Null, StoredValue::Text(vec![0xff, 0])],
        ];
        let encoded: Vec<Vec<u8>> = keys.iter().map(encode).collect();
        for (place, (key, bytes)) in keys.iter().zip(&encoded).enumerate() {
            assert_eq!(decode(bytes).as_ref(), Some(key));
            assert!(!encoded[..place].contains(bytes), "{key:?}");
        }
        for bytes in [&b"x"[..], b"t\x05abc", b"i", b"i\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"r1"] {
            assert_eq!(decode(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn a_shown_key_acts_on_nothing() {
        let column = |name: &str| SealedColumn { name: name.to_owned(), place: 0 };
        let key = vec![
            StoredValue::Integer(7),
            StoredValue::Text(b"\x1b[2J it's \xff".to_vec()),
            StoredValue::Blob(vec![0xab; 40]),
        ];
        let shown = shown(&[column("id"), column("na\nme"), column("b")], &key);
        assert_eq!(
            shown,
            format!("id=7, na\\u000ame='\\u001b[2J it''s \u{fffd}', b=x'{}'…", "AB".repeat(30))
        );
    }
}
