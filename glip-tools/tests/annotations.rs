//! Annotations as people have them, in a table that the readers of `glip_torch` are tested with too.

#![allow(clippy::unwrap_used)] // Clippy does not see that helpers of tests are tests.

use std::{fs, path::Path};

use glip_tools::{Problem, coco::Dataset, eval::read_sentences};
use serde_json::{Map, Value, json};

fn table(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// An object with the fields of a second one in place of its own.
fn changed(base: &Value, changes: &Value) -> Value {
    let (base, changes) = (base.as_object().unwrap(), changes.as_object());
    let fields = base.iter().chain(changes.into_iter().flatten());
    let fields = fields.map(|(name, value)| (name.clone(), value.clone()));
    Value::Object(fields.collect::<Map<_, _>>())
}

/// JSON with the words that JSON does not have.
fn json_text(content: &Value) -> String {
    let mut text = content.to_string();
    for word in ["NaN", "Infinity", "-Infinity"] {
        text = text.replace(&format!("\"<{word}>\""), word);
    }
    text
}

fn encoded(text: &str, encoding: &str) -> Vec<u8> {
    let units = text.encode_utf16();
    match encoding {
        "utf-8" => text.into(),
        "utf-8-sig" => format!("\u{feff}{text}").into(),
        "utf-16-le" => units.flat_map(u16::to_le_bytes).collect(),
        "utf-16-be" => units.flat_map(u16::to_be_bytes).collect(),
        "latin-1" => text.chars().map(|c| c as u8).collect(),
        other => unreachable!("{other}"),
    }
}

/// What was read, in the table's form; of problems the parts that are the same in every reader.
fn understood(dataset: &Dataset, problems: &[Problem]) -> Value {
    let images = dataset.images.iter();
    let annotations = dataset.annotations.iter();
    let categories = dataset.categories.iter();
    json!({
        "images": images.map(|i| json!([i.id, i.file_name, i.width, i.height])).collect::<Vec<_>>(),
        "annotations": annotations
            .map(|a| json!([a.id, a.image, a.category, a.bbox, a.area, a.is_crowd]))
            .collect::<Vec<_>>(),
        "categories": categories.map(|c| json!([c.id, c.name])).collect::<Vec<_>>(),
        "root": dataset.root.as_ref().map(|root| json!([root.id, root.name])),
        "problems": problems.iter().map(|p| json!([p.kind, p.subject])).collect::<Vec<_>>(),
    })
}

/// As numbers that are equal, however they are written.
fn with_floats(value: &Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64().unwrap()),
        Value::Array(values) => values.iter().map(with_floats).collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(n, v)| (n.clone(), with_floats(v)))
            .collect(),
        other => other.clone(),
    }
}

/// Fails with all that differs.
fn assert_problems(name: &str, found: &[Problem], expected: &[Value]) -> Vec<String> {
    let details = expected.iter().map(|problem| problem[2].as_str().unwrap());
    let pairs = found.iter().zip(details);
    let wrong = pairs.filter(|(problem, part)| !problem.detail.contains(part));
    wrong
        .map(|(problem, part)| format!("{name}: {problem} lacks {part}"))
        .collect()
}

#[test]
fn coco_files_are_read_as_the_table_says() {
    let table = table(include_str!("fixtures/annotations/coco.json"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("instances.json");
    let mut wrong = Vec::new();
    for case in table["cases"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let text = match case["text"].as_str() {
            Some(text) => text.to_owned(),
            None => json_text(&changed(&table["base"], &case["file"])),
        };
        let encoding = case["encoding"].as_str().unwrap_or("utf-8");
        fs::write(&path, encoded(&text, encoding)).unwrap();
        let read = Dataset::read(&path);
        match (read, case["error"].as_str()) {
            (Err(error), Some(part)) => {
                let message = format!(
                    "{error} {}",
                    glip_tools::causes(&error)
                        .map(|c| c.to_string())
                        .collect::<String>()
                );
                if !message.contains(part) {
                    wrong.push(format!("{name}: {message} lacks {part}"));
                }
            }
            (Ok((dataset, problems)), None) => {
                let mut expected = changed(&table["understood"], &case["understood"]);
                let said = expected["problems"].as_array().unwrap().clone();
                wrong.extend(assert_problems(name, &problems, &said));
                expected["problems"] = said.iter().map(|p| json!([p[0], p[1]])).collect();
                let found = understood(&dataset, &problems);
                if with_floats(&found) != with_floats(&expected) {
                    wrong.push(format!("{name}:\n  {found}\n  {expected}"));
                }
            }
            (read, _) => wrong.push(format!("{name}: {read:?}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn flickr30k_is_read_as_the_table_says() {
    let table = table(include_str!("fixtures/annotations/flickr30k.json"));
    let mut wrong = Vec::new();
    for case in table["cases"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let write = |place: &str, text: &Value| {
            let path = folder.path().join(place);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let encoding = case["encoding"].as_str().unwrap_or("utf-8");
            fs::write(path, encoded(text.as_str().unwrap(), encoding)).unwrap();
        };
        write("Sentences/1.txt", &case["sentences"]);
        write("Annotations/1.xml", &case["annotations"]);
        let (sentences, problems) = read_sentences(folder.path(), None).unwrap();
        let phrases = sentences.iter().flat_map(|sentence| {
            let phrases = sentence.phrases.iter();
            phrases.map(|phrase| json!([&sentence.text[phrase.span.clone()], phrase.boxes]))
        });
        let found = json!({
            "phrases": phrases.collect::<Vec<_>>(),
            "problems": problems.iter().map(|p| json!([p.kind, p.subject])).collect::<Vec<_>>(),
        });
        let said = case["problems"].as_array().unwrap();
        wrong.extend(assert_problems(name, &problems, said));
        let expected = json!({
            "phrases": case["phrases"],
            "problems": said.iter().map(|p| json!([p[0], p[1]])).collect::<Vec<_>>(),
        });
        if with_floats(&found) != with_floats(&expected) {
            wrong.push(format!("{name}:\n  {found}\n  {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn pictures_are_found_by_names_of_other_computers() {
    let table = table(include_str!("fixtures/annotations/file_names.json"));
    let folder = tempfile::tempdir().unwrap();
    for file in table["files"].as_array().unwrap() {
        let path = folder.path().join(file.as_str().unwrap());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
    for case in table["cases"].as_array().unwrap() {
        let content = json!({"images": [{"id": 1, "file_name": case[0]}], "annotations": [], "categories": []});
        let (dataset, _) = Dataset::parse(&content.to_string()).unwrap();
        let found = dataset.images[0].path_in(folder.path());
        assert_eq!(
            found,
            folder.path().join(Path::new(case[1].as_str().unwrap())),
            "{case}"
        );
    }
}
