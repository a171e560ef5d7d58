//! What may be shown on a terminal.

use std::{
    borrow::Cow,
    fmt::Display,
    io::{self, Write},
};

/// A text without characters that a terminal obeys: control characters but the line feed are written as JSON
/// escapes them. So names of files and categories show what they are, and JSON stays the same JSON.
///
/// ```
/// use glip_tools::printable;
///
/// assert_eq!(printable("\u{1b}[2J süß.jpg\n"), "\\u001b[2J süß.jpg\n");
/// ```
pub fn printable(text: &str) -> Cow<'_, str> {
    let obeyed = |character: char| character.is_control() && character != '\n';
    if !text.contains(obeyed) {
        return Cow::Borrowed(text);
    }
    let shown = text.chars().map(|character| match obeyed(character) {
        true => format!("\\u{:04x}", u32::from(character)),
        false => character.to_string(),
    });
    Cow::Owned(shown.collect())
}

/// Writes a [`printable`] line to the standard error. That nobody reads it is no error.
///
/// ```
/// glip_tools::say("1 file left out: notes.txt");
/// ```
pub fn say(line: impl Display) {
    let line = line.to_string();
    let _ = writeln!(io::stderr(), "{}", printable(&line));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_control_character_is_left() {
        let all: String = (0..0x100).filter_map(char::from_u32).collect();
        let shown = printable(&all);
        assert!(
            shown.chars().all(|c| !c.is_control() || c == '\n'),
            "{shown:?}"
        );
        assert!(
            shown.contains("\\u009b") && shown.contains("\\u000d"),
            "{shown}"
        );
        // What is in a JSON string is still the same.
        let json = serde_json::Value::from(all).to_string();
        let parsed = |text: &str| serde_json::from_str::<String>(text).unwrap();
        assert_eq!(parsed(&printable(&json)), parsed(&json));
    }
}
