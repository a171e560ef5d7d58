//! Categories: what detections are called, and the words that say it.

/// Something to look for: a label, and one or several ways to say it.
///
/// Detections carry the label, whichever way of saying it was found, and no object is reported twice
/// because two of them fit. It is stored with serde, in the form of [`from_json`](Self::from_json): a name
/// that is nothing else is a string.
///
/// ```
/// use glip::{Category, Prompt, Wording, parts::PromptRule};
///
/// let prompt = Prompt::categories([
///     Category::new("stingray").with_prefix("flat and round "),
///     Category::new("sofa").with_synonym("couch"),
///     Category::labelled("hand", Wording::new("hand").with_suffix(" of a person")),
/// ]);
/// let rendered = PromptRule::default().render(&prompt)?;
/// assert_eq!(rendered.text(), "flat and round stingray. sofa. couch. hand of a person");
/// let labels: Vec<_> = rendered.phrases().iter().map(|phrase| &phrase.label).collect();
/// assert_eq!(labels, ["stingray", "sofa", "sofa", "hand"]);
/// # Ok::<(), glip::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Category {
    pub(super) label: String,
    /// The name and its synonyms.
    pub(super) wordings: Vec<Wording>,
}

/// One way to say a category: a name, and words around it that tell more about it.
///
/// Only the name's tokens count as the category; the words around it are read by the model too. They
/// are joined as they are, so a prefix ends with a space and a suffix begins with one (or with a
/// comma).
///
/// Names are cleaned as the official evaluation does it: text in parentheses is removed, `_`
/// becomes a space, and spaces are made single. Stored with serde, a name without context is a string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wording {
    pub(super) prefix: String,
    pub(super) name: String,
    pub(super) suffix: String,
}

impl Category {
    /// A category whose label is its name.
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        Self::labelled(name.clone(), Wording::new(name))
    }

    /// A category whose label and name differ.
    pub fn labelled(label: impl Into<String>, name: impl Into<Wording>) -> Self {
        Self {
            label: label.into(),
            wordings: vec![name.into()],
        }
    }

    /// A category whose name is not cleaned.
    pub(super) fn verbatim(name: &str) -> Self {
        let wording = Wording {
            name: name.to_owned(),
            ..Wording::new("")
        };
        Self::labelled(name, wording)
    }

    /// Puts words before the name, for example `"flat and round "`. Synonyms have their own.
    #[must_use]
    pub fn with_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.wordings[0].prefix = prefix.into();
        self
    }

    /// Puts words after the name, for example `" of a person"`. Synonyms have their own.
    #[must_use]
    pub fn with_suffix(mut self, suffix: impl Into<String>) -> Self {
        self.wordings[0].suffix = suffix.into();
        self
    }

    /// Adds another way to say it.
    #[must_use]
    pub fn with_synonym(mut self, synonym: impl Into<Wording>) -> Self {
        self.wordings.push(synonym.into());
        self
    }

    /// What detections of it are called.
    pub fn label(&self) -> &str {
        &self.label
    }
}

macro_rules! from_names {
    ($($name:ty),+) => {$(
        /// A category of that name.
        impl From<$name> for Category {
            fn from(name: $name) -> Self {
                Self::new(name.to_string())
            }
        }

        /// A name without context.
        impl From<$name> for Wording {
            fn from(name: $name) -> Self {
                Self::new(name.to_string())
            }
        }
    )+};
}

// What iterating over lists of names yields.
from_names!(&str, &&str, String, &String);

impl From<&Category> for Category {
    fn from(category: &Category) -> Self {
        category.clone()
    }
}

impl Wording {
    /// A name without context.
    pub fn new(name: impl AsRef<str>) -> Self {
        Self {
            prefix: String::new(),
            name: clean_name(name.as_ref()),
            suffix: String::new(),
        }
    }

    /// Puts words before the name, for example `"flat and round "`.
    #[must_use]
    pub fn with_prefix(self, prefix: impl Into<String>) -> Self {
        Self {
            prefix: prefix.into(),
            ..self
        }
    }

    /// Puts words after the name, for example `" of a person"`.
    #[must_use]
    pub fn with_suffix(self, suffix: impl Into<String>) -> Self {
        Self {
            suffix: suffix.into(),
            ..self
        }
    }
}

/// A name as official cleans it: without text in parentheses (from the first opening to the last
/// closing one), spaces for underscores, and single spaces.
pub(super) fn clean_name(name: &str) -> String {
    let outside = match (name.find('('), name.rfind(')')) {
        (Some(open), Some(close)) if open < close => [&name[..open], &name[close + 1..]].concat(),
        _ => name.to_owned(),
    };
    let words = outside.split(|c: char| c == '_' || c.is_whitespace());
    words
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cleaned_as_official_does() {
        let cases = [
            ("traffic_light", "traffic light"),
            ("flip-flop_(sandal)", "flip-flop"),
            ("bow_(decorative_ribbons)", "bow"),
            ("a (b) c (d) e", "a e"),
            ("dining  table", "dining table"),
            ("odd) name (", "odd) name ("),
            ("(all)", ""),
        ];
        for (name, cleaned) in cases {
            assert_eq!(clean_name(name), cleaned, "{name}");
        }
    }
}
