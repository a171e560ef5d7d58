//! Categories in files: JSON, and YAML with the feature `yaml`.

use std::{fs, path::Path};

use serde::Deserialize;
use serde_json::Value;

use super::category::{Category, Wording};
use crate::error::{Error, Result};

impl Category {
    /// Reads categories from a file: `.json`, or `.yaml` and `.yml` with the feature `yaml`.
    ///
    /// As [`from_json`](Self::from_json) and `from_yaml`.
    ///
    /// # Errors
    /// - [`Error::PromptFile`]: the file cannot be read, or is not of that form.
    pub fn load(path: impl AsRef<Path>) -> Result<Vec<Self>> {
        let path = path.as_ref();
        let text = fs::read_to_string(path).map_err(|error| malformed(path, error))?;
        let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
        match extension.to_str() {
            Some("json") => read(path, &text, json),
            Some("yaml" | "yml") => load_yaml(path, &text),
            _ => Err(malformed(path, "its name ends neither in .json nor .yaml")),
        }
    }

    /// Reads categories from JSON: a list of names, or of objects with `name` and, as far as wanted,
    /// `prefix`, `suffix`, `label` and `synonyms` (again names, or objects with `name`, `prefix` and
    /// `suffix`).
    ///
    /// The prompt files of ODinW (Object Detection in the Wild) are read as they are: a configuration
    /// whose `DATASETS.CAPTION_PROMPT` is such a list, written as a string.
    ///
    /// ```
    /// use glip::{Category, Prompt, parts::PromptRule};
    ///
    /// let categories = Category::from_json(
    ///     r#"["fish", {"name": "penguin", "suffix": ", which is black and white"},
    ///         {"label": "pothole", "prefix": "there are some ", "name": "holes", "synonyms": ["pits"]}]"#,
    /// )?;
    /// assert_eq!(
    ///     PromptRule::default().render(&Prompt::categories(categories))?.text(),
    ///     "fish. penguin, which is black and white. there are some holes. pits"
    /// );
    /// # Ok::<(), glip::Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`Error::PromptFile`]: it is not of that form.
    pub fn from_json(text: &str) -> Result<Vec<Self>> {
        read(Path::new("(JSON text)"), text, json)
    }

    /// Reads categories from YAML, in the form of [`from_json`](Self::from_json) (feature `yaml`).
    ///
    /// ```
    /// use glip::{Category, Prompt, parts::PromptRule};
    ///
    /// let categories = Category::from_yaml("
    /// - fish
    /// - name: package
    ///   prefix: 'there is a '
    ///   suffix: ' on the porch'
    /// ")?;
    /// let rendered = PromptRule::default().render(&Prompt::categories(categories))?;
    /// assert_eq!(rendered.text(), "fish. there is a package on the porch");
    /// # Ok::<(), glip::Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`Error::PromptFile`]: it is not of that form.
    #[cfg(feature = "yaml")]
    pub fn from_yaml(text: &str) -> Result<Vec<Self>> {
        read(Path::new("(YAML text)"), text, yaml)
    }
}

/// A category in a file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a name, or an object with `name`")]
struct CategoryEntry {
    name: String,
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    suffix: String,
    label: Option<String>,
    #[serde(default)]
    synonyms: Vec<Value>,
}

/// A synonym in a file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a name, or an object with `name`")]
struct WordingEntry {
    name: String,
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    suffix: String,
}

/// What a text holds, or what is wrong with it.
type Parsed<T> = std::result::Result<T, String>;

/// How a file's text becomes a tree of values.
type Parse = fn(&str) -> Parsed<Value>;

fn json(text: &str) -> Parsed<Value> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

#[cfg(feature = "yaml")]
fn yaml(text: &str) -> Parsed<Value> {
    serde_saphyr::from_str(text).map_err(|error| error.to_string())
}

#[cfg(feature = "yaml")]
fn load_yaml(path: &Path, text: &str) -> Result<Vec<Category>> {
    read(path, text, yaml)
}

#[cfg(not(feature = "yaml"))]
fn load_yaml(path: &Path, _text: &str) -> Result<Vec<Category>> {
    let reason = "YAML needs the feature `yaml` of glip-rs; without it, write JSON";
    Err(malformed(path, reason))
}

fn read(path: &Path, text: &str, parse: Parse) -> Result<Vec<Category>> {
    let read = || {
        let document = parse(text)?;
        match odinw_list(&document) {
            Some(list) => entries(parse(list)?),
            None => entries(document),
        }
    };
    read().map_err(|reason: String| malformed(path, reason))
}

/// The list in a configuration of ODinW.
fn odinw_list(document: &Value) -> Option<&str> {
    document.get("DATASETS")?.get("CAPTION_PROMPT")?.as_str()
}

fn entries(list: Value) -> Parsed<Vec<Category>> {
    let Value::Array(list) = list else {
        return Err("it is not a list of categories".to_owned());
    };
    if list.is_empty() {
        return Err("the list is empty".to_owned());
    }
    let numbered = list.into_iter().enumerate();
    numbered
        .map(|(index, entry)| category(entry).map_err(|reason| format!("entry {index}: {reason}")))
        .collect()
}

fn category(entry: Value) -> Parsed<Category> {
    if let Value::String(name) = entry {
        return Ok(Category::new(name));
    }
    let entry: CategoryEntry = from_value(entry)?;
    let name = Wording::new(&entry.name)
        .with_prefix(entry.prefix)
        .with_suffix(entry.suffix);
    let category = Category::labelled(entry.label.unwrap_or(entry.name), name);
    let mut synonyms = entry.synonyms.into_iter().map(wording);
    synonyms.try_fold(category, |category, synonym| {
        Ok(category.with_synonym(synonym?))
    })
}

fn wording(entry: Value) -> Parsed<Wording> {
    if let Value::String(name) = entry {
        return Ok(Wording::new(name));
    }
    let entry: WordingEntry = from_value(entry)?;
    Ok(Wording::new(entry.name)
        .with_prefix(entry.prefix)
        .with_suffix(entry.suffix))
}

fn from_value<T: for<'a> Deserialize<'a>>(value: Value) -> Parsed<T> {
    serde_json::from_value(value).map_err(|error| error.to_string())
}

fn malformed(path: &Path, reason: impl ToString) -> Error {
    Error::PromptFile {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(feature = "yaml")]
    use crate::prompt::{prompt::Prompt, rule::PromptRule};

    /// As in official's configs/odinw_35, trailing comma and all.
    #[cfg(feature = "yaml")]
    #[test]
    fn prompt_files_of_odinw_are_read_as_they_are() {
        let config = "
DATALOADER:
  ASPECT_RATIO_GROUPING: false
DATASETS:
  CAPTION_PROMPT: '[{\"prefix\": \"\", \"name\": \"penguin\", \"suffix\":
    \" , which is black and white\"}, {\"prefix\": \"\", \"name\": \"stingray\",
    \"suffix\": \" which is flat and round\"},]'
  GENERAL_COPY: 16
";
        let prompt = Prompt::categories(Category::from_yaml(config).unwrap());
        let rendered = PromptRule::default().render(&prompt).unwrap();
        let expected = "penguin , which is black and white. stingray which is flat and round";
        assert_eq!(rendered.text(), expected);
        let spans: Vec<_> = rendered.phrases().iter().map(|p| p.spans.clone()).collect();
        assert_eq!(spans, [[0..7], [36..44]]);
    }

    #[test]
    fn files_are_read_by_their_extension() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let list = r#"["cat", {"name": "dog"}]"#;
        let expected = [Category::new("cat"), Category::new("dog")];
        assert_eq!(
            Category::load(write("a.JSON", list)).unwrap(),
            expected.clone()
        );
        #[cfg(feature = "yaml")]
        assert_eq!(
            Category::load(write("a.yml", "- cat\n- name: dog")).unwrap(),
            expected
        );
        #[cfg(not(feature = "yaml"))]
        assert!(matches!(
            Category::load(write("a.yml", "- cat")),
            Err(Error::PromptFile { reason, .. }) if reason.contains("feature `yaml`")
        ));
        for path in [write("a.txt", list), folder.path().join("missing.json")] {
            let error = Category::load(&path).unwrap_err();
            assert!(matches!(error, Error::PromptFile { path: named, .. } if named == path));
        }
    }

    #[test]
    fn malformed_files_are_errors_that_name_the_entry() {
        let cases = [
            ("[", "EOF"),
            ("{}", "not a list"),
            ("[]", "empty"),
            (
                r#"["cat", {"prefix": "a "}]"#,
                "entry 1: missing field `name`",
            ),
            (
                r#"[{"name": "cat", "sufix": ""}]"#,
                "entry 0: unknown field `sufix`",
            ),
            (
                r#"[{"name": "cat", "synonyms": [{}]}]"#,
                "entry 0: missing field `name`",
            ),
            ("[7]", "entry 0: invalid type: integer `7`, expected a name"),
            (
                r#"{"DATASETS": {"CAPTION_PROMPT": "cat"}}"#,
                "expected value",
            ),
        ];
        for (text, expected) in cases {
            match Category::from_json(text) {
                Err(Error::PromptFile { reason, .. }) => {
                    assert!(reason.contains(expected), "{text}: {reason}");
                }
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    #[cfg(feature = "yaml")]
    #[test]
    fn malformed_yaml_is_an_error() {
        for text in [
            "- prefix: 'a '",
            "- name: no",
            "a: [",
            "",
            "- name: cat\n  name: dog",
        ] {
            let error = Category::from_yaml(text).unwrap_err();
            assert!(
                matches!(error, Error::PromptFile { .. }),
                "{text:?}: {error}"
            );
        }
    }

    /// At least one category, or an error that says what it is about.
    fn check(read: Result<Vec<Category>>, source: &str) {
        match read {
            Ok(categories) => assert!(!categories.is_empty()),
            Err(Error::PromptFile { path, reason }) => {
                assert!(path == Path::new(source) && !reason.is_empty());
            }
            Err(error) => panic!("{error}"),
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_gives_categories_or_an_error(text: String, entry in r#"[\[\]{}",:a-e \n-]{0,40}"#) {
            for text in [text, entry] {
                check(Category::from_json(&text), "(JSON text)");
                #[cfg(feature = "yaml")]
                check(Category::from_yaml(&text), "(YAML text)");
            }
        }
    }
}
