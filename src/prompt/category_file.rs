//! Categories as they are stored: JSON, and YAML with the feature `yaml`.

use std::path::Path;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;

use super::category::{Category, Wording};
use crate::{
    error::{Error, Result},
    regular_file::read_text,
};

/// The most bytes that a file of categories may have: far more than any list of names.
const LARGEST: u64 = 256 << 20;

impl Category {
    /// Reads categories from a file: `.json`, `.yaml` and `.yml` with the feature `yaml`, or `.txt` and `.names`.
    ///
    /// As [`from_json`](Self::from_json) and `from_yaml`; the last two have a name a line, as YOLO's `classes.txt`.
    ///
    /// # Errors
    /// - [`Error::PromptFile`]: the file cannot be read, or is not of that form.
    pub fn load(path: impl AsRef<Path>) -> Result<Vec<Self>> {
        let path = path.as_ref();
        let text = read_text(path, LARGEST).map_err(|error| malformed(path, error))?;
        let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
        match extension.to_str() {
            Some("json") => read(path, &text, json),
            Some("yaml" | "yml") => load_yaml(path, &text),
            Some("txt" | "names") => read(path, &text, lines),
            _ => Err(malformed(
                path,
                "its name ends in none of .json, .yaml, .txt and .names: rename it",
            )),
        }
    }

    /// Reads categories from JSON: a list of names, or of objects with `name` and, as far as wanted,
    /// `prefix`, `suffix`, `label` and `synonyms` (again names, or objects with `name`, `prefix` and
    /// `suffix`).
    ///
    /// The prompt files of ODinW (Object Detection in the Wild) are read as they are: a configuration
    /// whose `DATASETS.CAPTION_PROMPT` is such a list, written as a string. So is what ultralytics' YOLO calls
    /// `data.yaml`, whose `names` are a list, or a mapping from numbers.
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

/// A category that is more than a name.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a name, or an object with `name`")]
struct CategoryEntry {
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    prefix: String,
    name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    suffix: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    synonyms: Vec<Wording>,
}

/// A way to say it that is more than a name.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a name, or an object with `name`")]
struct WordingEntry {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    prefix: String,
    name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    suffix: String,
}

impl Serialize for Category {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        if *self == Self::new(&self.label) {
            return self.label.serialize(serializer);
        }
        // There is one wording at least, the name's.
        let (name, synonyms) = self.wordings.split_at(1);
        let Wording {
            prefix,
            name,
            suffix,
        } = name[0].clone();
        CategoryEntry {
            label: (self.label != name).then(|| self.label.clone()),
            prefix,
            name,
            suffix,
            synonyms: synonyms.to_vec(),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Category {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        category(Value::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

impl Serialize for Wording {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        if *self == Self::new(&self.name) {
            return self.name.serialize(serializer);
        }
        let Self {
            prefix,
            name,
            suffix,
        } = self.clone();
        WordingEntry {
            prefix,
            name,
            suffix,
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Wording {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        wording(Value::deserialize(deserializer)?).map_err(de::Error::custom)
    }
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

/// A name a line.
fn lines(text: &str) -> Parsed<Value> {
    let names = text.lines().map(str::trim).filter(|name| !name.is_empty());
    Ok(names.map(Value::from).collect())
}

fn read(path: &Path, text: &str, parse: Parse) -> Result<Vec<Category>> {
    let read = || {
        let document = parse(text)?;
        match odinw_list(&document) {
            Some(list) => entries(parse(list)?),
            None => match document.get("names") {
                Some(names) => entries(yolo_list(names)?),
                None => entries(document),
            },
        }
    };
    read().map_err(|reason: String| malformed(path, reason))
}

/// The list in a configuration of ODinW.
fn odinw_list(document: &Value) -> Option<&str> {
    document.get("DATASETS")?.get("CAPTION_PROMPT")?.as_str()
}

/// The list of names in a configuration of YOLO, which may be a mapping from numbers, and whose names may look like
/// numbers.
fn yolo_list(names: &Value) -> Parsed<Value> {
    let mut numbered: Vec<(usize, &Value)> = match names {
        Value::Array(names) => names.iter().enumerate().collect(),
        Value::Object(names) => {
            let number = |key: &String| {
                key.parse()
                    .map_err(|_| format!("names: {key:?} is no number"))
            };
            let names = names.iter();
            names
                .map(|(key, name)| Ok((number(key)?, name)))
                .collect::<Parsed<_>>()?
        }
        other => return Err(format!("names: {other} is neither a list nor a mapping")),
    };
    numbered.sort_by_key(|(number, _)| *number);
    let names = numbered.into_iter().map(|(_, name)| match name {
        Value::Number(number) => Value::from(number.to_string()),
        name => name.clone(),
    });
    Ok(names.collect())
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
    let synonyms = entry.synonyms.into_iter();
    Ok(synonyms.fold(category, Category::with_synonym))
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
    use std::fs;

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
        for text in [
            "- cat\n- name: dog",
            "path: ../set\nnames: [cat, dog]\nnc: 2",
            "names:\n  1: dog\n  0: cat",
        ] {
            assert_eq!(Category::load(write("a.yml", text)).unwrap(), expected);
        }
        #[cfg(not(feature = "yaml"))]
        assert!(matches!(
            Category::load(write("a.yml", "- cat")),
            Err(Error::PromptFile { reason, .. }) if reason.contains("feature `yaml`")
        ));
        let lines = write("classes.txt", "\u{feff}cat\r\n\n dog \r\n");
        assert_eq!(Category::load(lines).unwrap(), expected);
        for path in [write("a.csv", list), folder.path().join("missing.json")] {
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
            (r#"{"names": {"a": "cat"}}"#, "\"a\" is no number"),
            (r#"{"names": 7}"#, "neither a list"),
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

    #[test]
    fn what_is_stored_is_read_back() {
        let said = Wording::new("pits").with_prefix("deep ");
        let cases = [
            (Category::new("cat"), r#""cat""#),
            (Category::new("traffic_light"), r#""traffic_light""#),
            (
                Category::labelled("pothole", "holes").with_synonym(said),
                r#"{"label":"pothole","name":"holes","synonyms":[{"prefix":"deep ","name":"pits"}]}"#,
            ),
            (
                Category::new("sofa")
                    .with_suffix(" of leather")
                    .with_synonym("couch"),
                r#"{"name":"sofa","suffix":" of leather","synonyms":["couch"]}"#,
            ),
            // What is not cleaned any more is no other category when it is read.
            (
                Category::new("bow_(ribbon)").with_prefix("red "),
                r#"{"label":"bow_(ribbon)","prefix":"red ","name":"bow"}"#,
            ),
        ];
        for (category, stored) in &cases {
            assert_eq!(serde_json::to_string(category).unwrap(), *stored);
            assert_eq!(serde_json::from_str::<Category>(stored).unwrap(), *category);
        }
        let list: Vec<_> = cases.into_iter().map(|(category, _)| category).collect();
        let text = serde_json::to_string(&list).unwrap();
        assert_eq!(Category::from_json(&text).unwrap(), list);
        let error =
            serde_json::from_str::<Category>(r#"{"name": "cat", "sufix": ""}"#).unwrap_err();
        assert!(
            error.to_string().contains("unknown field `sufix`"),
            "{error}"
        );
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
        fn any_category_is_read_back(label: String, [prefix, name, suffix]: [String; 3], synonym: String) {
            let synonym = Wording::new(synonym).with_prefix(&prefix);
            let category = Category::labelled(label, Wording::new(name))
                .with_prefix(prefix)
                .with_suffix(suffix)
                .with_synonym(synonym);
            let stored = serde_json::to_string(&category).unwrap();
            assert_eq!(serde_json::from_str::<Category>(&stored).unwrap(), category);
        }

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
