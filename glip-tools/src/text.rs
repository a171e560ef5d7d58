//! Text as people's files have it: with a byte order mark, in another encoding, with numbers that JSON does
//! not have.

use std::{borrow::Cow, path::Path, str};

use crate::{
    error::{Error, Result},
    files::{ANY_SIZE, read},
};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What follows the byte order mark that some editors put before a text.
pub(crate) fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes)
}

/// A file's text, without the byte order mark that some editors put before it.
///
/// # Errors
/// - [`Error::Read`]: the file cannot be read.
/// - [`Error::Encoding`]: it is not UTF-8.
pub(crate) fn read_text(path: &Path) -> Result<String> {
    decode(read(path, ANY_SIZE)?, 1).map_err(|found| Error::Encoding {
        path: path.to_owned(),
        found,
    })
}

/// Text of UTF-8, without a byte order mark; else what its encoding is instead, and where that shows. `line`
/// is the number of its first line.
pub(crate) fn decode(mut bytes: Vec<u8>, line: usize) -> Result<String, String> {
    if let Some(order) = utf_16(&bytes) {
        return Err(format!("in UTF-16 ({order} endian)"));
    }
    bytes.drain(..bytes.len() - without_mark(&bytes).len());
    String::from_utf8(bytes).map_err(|error| {
        let (good, bad) = error.as_bytes().split_at(error.utf8_error().valid_up_to());
        let line = line + good.iter().filter(|&&byte| byte == b'\n').count();
        let text = str::from_utf8(good).unwrap_or_default();
        let column = 1 + text.chars().rev().take_while(|&c| c != '\n').count();
        let byte = bad.first().copied().unwrap_or_default();
        format!(
            "in Latin-1 or another encoding (byte 0x{byte:02x} in line {line}, column {column})"
        )
    })
}

/// The order of bytes if these begin a text of UTF-16, be it without a mark: every text here begins with
/// ASCII.
pub(crate) fn utf_16(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0xff, 0xfe, ..] | [1..=0x7f, 0, ..] => Some("little"),
        [0xfe, 0xff, ..] | [0, 1..=0x7f, ..] => Some("big"),
        _ => None,
    }
}

/// What Python's `json` writes for numbers that JSON does not have.
pub(crate) const NOT_FINITE: [&str; 3] = ["-Infinity", "Infinity", "NaN"];

/// JSON in which `NaN`, `Infinity` and `-Infinity` are strings, so that they can be read, and told from
/// everything else.
pub(crate) fn quote_not_finite(json: &str) -> Cow<'_, str> {
    // Most files have none, and this search takes no time to speak of.
    if !json.contains("NaN") && !json.contains("Infinity") {
        return json.into();
    }
    let (mut quoted, mut rest) = (String::with_capacity(json.len() + 64), json);
    while let Some(place) = rest.find(['"', 'N', 'I', '-']) {
        let (before, found) = rest.split_at(place);
        quoted.push_str(before);
        let word = NOT_FINITE.iter().find(|word| found.starts_with(**word));
        let length = match word {
            Some(word) => word.len(),
            None if found.starts_with('"') => string_length(found),
            None => 1,
        };
        let mark = if word.is_some() { "\"" } else { "" };
        quoted.extend([mark, &found[..length], mark]);
        rest = &found[length..];
    }
    quoted.push_str(rest);
    quoted.into()
}

/// The bytes of the JSON string that a text begins with, both quotation marks included.
fn string_length(text: &str) -> usize {
    let mut bytes = text.bytes().enumerate().skip(1);
    while let Some((place, byte)) = bytes.next() {
        match byte {
            b'"' => return place + 1,
            b'\\' => drop(bytes.next()),
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_are_named_with_their_place() {
        let utf_16 = |text: &str, bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
            text.encode_utf16().flat_map(bytes).collect()
        };
        let cases = [
            ("\u{feff}{\"ü\": 1}".as_bytes().to_vec(), Ok("{\"ü\": 1}")),
            (b"[]".to_vec(), Ok("[]")),
            (Vec::new(), Ok("")),
            (
                utf_16("\u{feff}{}", u16::to_le_bytes),
                Err("UTF-16 (little"),
            ),
            (utf_16("\u{feff}{}", u16::to_be_bytes), Err("UTF-16 (big")),
            (utf_16("[]", u16::to_le_bytes), Err("UTF-16 (little")),
            (utf_16("[]", u16::to_be_bytes), Err("UTF-16 (big")),
            (
                b"{\n \"K\xc3\xb6ln, M\xfcnchen".to_vec(),
                Err("byte 0xfc in line 2, column 10"),
            ),
        ];
        for (bytes, expected) in cases {
            match (decode(bytes, 1), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected),
                (Err(found), Err(part)) => assert!(found.contains(part), "{found}"),
                (found, expected) => {
                    assert_eq!(found, expected.map(str::to_owned).map_err(str::to_owned))
                }
            }
        }
    }

    #[test]
    fn what_is_not_finite_becomes_a_string_outside_of_strings() {
        let cases = [
            (
                r#"[NaN, -Infinity,Infinity]"#,
                r#"["NaN", "-Infinity","Infinity"]"#,
            ),
            (r#"{"NaN": NaN}"#, r#"{"NaN": "NaN"}"#),
            (
                r#"["\"NaN", "\\", NaN, "Ü NaN"]"#,
                r#"["\"NaN", "\\", "NaN", "Ü NaN"]"#,
            ),
            (r#"[-1, "N", Nothing, NaN"#, r#"[-1, "N", Nothing, "NaN""#),
            (r#"["NaN"#, r#"["NaN"#),
            (r#"["NaN\"#, r#"["NaN\"#),
        ];
        for (json, expected) in cases {
            assert_eq!(quote_not_finite(json), expected);
        }
        assert!(matches!(quote_not_finite("[1]"), Cow::Borrowed(_)));
    }
}
