//! Numbers, flags and texts as people's JSON has them: in strings, with a point, as null, as NaN.

use serde::{Serialize, Serializer, ser::Error as _};
use serde_json::Value;

use crate::text::NOT_FINITE;

/// The largest number up to which floating point has every whole one.
const LARGEST_WHOLE: f64 = (1u64 << f64::MANTISSA_DIGITS) as f64;

/// A number, also one in a string; it may be NaN or infinite.
pub(crate) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => {
            let text = text.trim_matches([' ', '\t', '\n', '\r']);
            // Rust reads more, such as `inf`.
            let is_plain = text.bytes().all(|byte| b"0123456789+-.eE".contains(&byte));
            let is_number = is_plain || NOT_FINITE.contains(&text);
            is_number.then(|| text.parse().ok()).flatten()
        }
        _ => None,
    }
}

/// A whole number from 0: an id or a size.
pub(crate) fn whole(value: &Value, name: &str) -> Result<u64, String> {
    let exact = match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    let with_a_point = || {
        let number = number(value)?;
        let is_whole = number.fract() == 0.0 && (0.0..=LARGEST_WHOLE).contains(&number);
        is_whole.then_some(number as u64)
    };
    exact
        .or_else(with_a_point)
        .ok_or_else(|| wrong(value, name, "a whole number"))
}

/// x, y, width and height.
pub(crate) fn bbox(value: &Value) -> Result<[f64; 4], String> {
    let numbers: Option<Vec<f64>> = match value {
        Value::Array(numbers) => numbers.iter().map(number).collect(),
        _ => None,
    };
    let four = numbers.and_then(|numbers| <[f64; 4]>::try_from(numbers).ok());
    four.filter(|four| four.iter().all(|number| number.is_finite()))
        .ok_or_else(|| wrong(value, "bbox", "x, y, width and height in pixels"))
}

/// True or false, as most files have it: 1 or 0. Nothing is false.
pub(crate) fn flag(value: &Value, name: &str) -> Result<bool, String> {
    match value {
        Value::Null => return Ok(false),
        Value::Bool(flag) => return Ok(*flag),
        Value::String(text) if text.eq_ignore_ascii_case("false") => return Ok(false),
        Value::String(text) if text.eq_ignore_ascii_case("true") => return Ok(true),
        _ => {}
    }
    let number = number(value).filter(|number| number.is_finite());
    number
        .map(|number| number != 0.0)
        .ok_or_else(|| wrong(value, name, "0 or 1"))
}

/// A text that says something.
pub(crate) fn text(value: &Value, name: &str) -> Result<String, String> {
    match value {
        Value::String(text) if !text.trim().is_empty() && text != "NaN" => Ok(text.clone()),
        _ => Err(wrong(value, name, "a text")),
    }
}

/// Writes a number, for `serialize_with`. Of one that is not finite, serde_json would make a null, which
/// nobody reads back.
pub(crate) fn finite<S: Serializer>(
    value: &(impl Numbers + Serialize),
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value.numbers().find(|number| !number.is_finite()) {
        Some(number) => Err(S::Error::custom(format!(
            "{number} is no number that JSON has"
        ))),
        None => value.serialize(serializer),
    }
}

/// A number, or several.
pub(crate) trait Numbers {
    fn numbers(&self) -> impl Iterator<Item = f64>;
}

impl Numbers for f32 {
    fn numbers(&self) -> impl Iterator<Item = f64> {
        [f64::from(*self)].into_iter()
    }
}

impl Numbers for f64 {
    fn numbers(&self) -> impl Iterator<Item = f64> {
        [*self].into_iter()
    }
}

impl Numbers for Option<Vec<f64>> {
    fn numbers(&self) -> impl Iterator<Item = f64> {
        self.iter().flatten().copied()
    }
}

/// What is wrong with a value, which is cut if it is long.
pub(crate) fn wrong(value: &Value, name: &str, expected: &str) -> String {
    const SHOWN: usize = 60;
    if value.is_null() {
        return format!("no {name}: give {expected}");
    }
    let mut shown = value.to_string();
    for word in NOT_FINITE {
        shown = shown.replace(&format!("\"{word}\""), word);
    }
    if let Some((end, _)) = shown.char_indices().nth(SHOWN) {
        shown.replace_range(end.., " ...");
    }
    format!("{name} is {shown}: give {expected}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn whole_numbers_come_in_many_forms() {
        let good = [
            (json!(3), 3),
            (json!(3.0), 3),
            (json!("3"), 3),
            (json!(" 3.0 "), 3),
            (json!("3e2"), 300),
            (json!(u64::MAX), u64::MAX),
            (json!(u64::MAX.to_string()), u64::MAX),
        ];
        for (value, expected) in good {
            assert_eq!(whole(&value, "id"), Ok(expected), "{value}");
        }
        let bad = [
            json!(null),
            json!(-1),
            json!(2.5),
            json!(1e17),
            json!("1.png"),
            json!(""),
            json!("NaN"),
            json!("inf"),
            json!(true),
            json!([1]),
        ];
        for value in bad {
            let message = whole(&value, "id").unwrap_err();
            assert!(message.ends_with("give a whole number"), "{message}");
        }
    }

    #[test]
    fn messages_show_the_value_as_it_stands_in_the_file() {
        let cases = [
            (
                bbox(&json!(["NaN", 0, 5, 5])),
                "bbox is [NaN,0,5,5]: give x, y",
            ),
            (bbox(&json!(null)), "no bbox: give"),
            (bbox(&json!(vec![1; 99])), "1,1 ...: give"),
            (bbox(&json!([0, 0, 5, "-Infinity"])), "[0,0,5,-Infinity]"),
        ];
        for (found, part) in cases {
            let message = found.unwrap_err();
            assert!(message.contains(part), "{message}");
        }
        assert_eq!(
            bbox(&json!(["1", 2.5, "3e1", 4])),
            Ok([1.0, 2.5, 30.0, 4.0])
        );
    }

    #[test]
    fn flags_are_numbers_words_or_nothing() {
        for value in [
            json!(null),
            json!(false),
            json!(0),
            json!(0.0),
            json!("0"),
            json!("False"),
        ] {
            assert_eq!(flag(&value, "iscrowd"), Ok(false), "{value}");
        }
        for value in [json!(true), json!(1), json!("1"), json!("true")] {
            assert_eq!(flag(&value, "iscrowd"), Ok(true), "{value}");
        }
        for value in [json!("NaN"), json!("crowd"), json!([]), json!("")] {
            assert!(flag(&value, "iscrowd").is_err(), "{value}");
        }
    }

    #[test]
    fn texts_say_something() {
        assert_eq!(text(&json!(" cat"), "name"), Ok(" cat".to_owned()));
        for value in [json!(null), json!(""), json!("  "), json!(3), json!("NaN")] {
            assert!(text(&value, "name").is_err(), "{value}");
        }
    }
}
