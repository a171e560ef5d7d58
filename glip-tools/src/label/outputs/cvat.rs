//! An annotation file for CVAT, in the form "CVAT for images 1.1".

use std::path::Path;

use crate::{
    atomic::AtomicFile,
    error::Result,
    files::unwritable,
    label::{
        journal::Journal,
        options::Verdict,
        outputs::{classes::Classes, coco::hundredths, records::images_to_review},
        record::LabelRecord,
    },
};

/// Writes the file. CVAT matches images by their names with those of the task it is imported into.
pub(super) fn write(journal: &Journal, path: &Path) -> Result<()> {
    let classes = Classes::of(journal)?;
    AtomicFile::write(path, |file| {
        file.write_all(head(&classes).as_bytes())
            .map_err(unwritable(path))?;
        for (id, image) in images_to_review(journal)?.enumerate() {
            let (_, record) = image?;
            file.write_all(element(id, &record).as_bytes())
                .map_err(unwritable(path))?;
        }
        file.write_all(b"</annotations>\n")
            .map_err(unwritable(path))
    })
}

/// The labels of boxes, with the attributes that CVAT needs to know before it takes them.
fn head(classes: &Classes) -> String {
    let attribute = |name: &str, kind: &str, default: &str, values: &str| {
        format!(
            "<attribute><name>{name}</name><mutable>False</mutable><input_type>{kind}</input_type>\
             <default_value>{default}</default_value><values>{values}</values></attribute>"
        )
    };
    let attributes = attribute("score", "text", "", "")
        + &attribute("verdict", "select", "keep", "keep\nreview");
    let labels = classes.names().iter().map(|name| {
        let name = escaped(name);
        format!("<label><name>{name}</name><type>rectangle</type><attributes>{attributes}</attributes></label>\n")
    });
    let labels: String = labels.collect();
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<annotations>\n<version>1.1</version>\n\
         <meta><task><labels>\n{labels}</labels></task></meta>\n"
    )
}

fn element(id: usize, record: &LabelRecord) -> String {
    let boxes = record.boxes.iter().map(|found| {
        let [left, top, right, bottom] = record.edges(found).map(hundredths);
        let verdict = match found.verdict {
            Verdict::Keep => "keep",
            Verdict::Review => "review",
        };
        format!(
            "  <box label=\"{}\" source=\"auto\" occluded=\"0\" xtl=\"{left}\" ytl=\"{top}\" \
             xbr=\"{right}\" ybr=\"{bottom}\" z_order=\"0\">\
             <attribute name=\"score\">{:.4}</attribute>\
             <attribute name=\"verdict\">{verdict}</attribute></box>\n",
            escaped(record.name(found)),
            found.score,
        )
    });
    format!(
        "<image id=\"{id}\" name=\"{}\" width=\"{}\" height=\"{}\">\n{}</image>\n",
        escaped(&record.image),
        record.width,
        record.height,
        boxes.collect::<String>(),
    )
}

/// Text in XML. Characters that XML does not know become a replacement.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\t' | '\n' | '\r' => escaped.push(' '),
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            character => escaped.push(character),
        }
    }
    escaped
}
