//! An annotation file for CVAT, in the form "CVAT for images 1.1".

use std::path::Path;

use glip::Mask;
use quick_xml::escape::escape;

use crate::{
    atomic::AtomicFile,
    error::Result,
    files::unwritable,
    label::{
        journal::Journal,
        options::Verdict,
        outputs::{
            classes::Classes, coco::hundredths, options::MaskForm, outlines,
            records::images_to_review,
        },
        record::{LabelRecord, LabelledBox},
    },
};

/// Writes the file. CVAT matches images by their names with those of the task it is imported into.
pub(super) fn write(journal: &Journal, path: &Path, masks: MaskForm) -> Result<()> {
    let classes = Classes::of(journal)?;
    let kind = match (journal.header().has_masks(), masks) {
        (false, _) => "rectangle",
        (true, MaskForm::Rle) => "mask",
        (true, MaskForm::Polygon) => "polygon",
    };
    AtomicFile::write(path, |file| {
        file.write_all(head(&classes, kind).as_bytes())
            .map_err(unwritable(path))?;
        for (id, image) in images_to_review(journal)?.enumerate() {
            let (_, record) = image?;
            file.write_all(element(id, &record, masks)?.as_bytes())
                .map_err(unwritable(path))?;
        }
        file.write_all(b"</annotations>\n")
            .map_err(unwritable(path))
    })
}

/// The labels of shapes of this kind, with the attributes that CVAT needs to know before it takes them.
fn head(classes: &Classes, kind: &str) -> String {
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
        format!("<label><name>{name}</name><type>{kind}</type><attributes>{attributes}</attributes></label>\n")
    });
    let labels: String = labels.collect();
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<annotations>\n<version>1.1</version>\n\
         <meta><task><labels>\n{labels}</labels></task></meta>\n"
    )
}

fn element(id: usize, record: &LabelRecord, masks: MaskForm) -> Result<String> {
    let shapes = record.boxes.iter().map(|found| shape(record, found, masks));
    Ok(format!(
        "<image id=\"{id}\" name=\"{}\" width=\"{}\" height=\"{}\">\n{}</image>\n",
        escaped(&record.image),
        record.width,
        record.height,
        shapes.collect::<Result<String>>()?,
    ))
}

/// A thing, by its mask or its box.
fn shape(record: &LabelRecord, found: &LabelledBox, masks: MaskForm) -> Result<String> {
    let (element, place) = match &found.mask {
        None => ("box", rectangle(record, found)),
        Some(mask) => match masks {
            MaskForm::Rle => ("mask", cut_out(&Mask::from(&mask.rle))),
            MaskForm::Polygon => ("polygon", outline(&Mask::from(&mask.rle))?),
        },
    };
    let verdict = match found.verdict {
        Verdict::Keep => "keep",
        Verdict::Review => "review",
    };
    Ok(format!(
        "  <{element} label=\"{}\" source=\"auto\" occluded=\"0\" {place} z_order=\"0\">\
         <attribute name=\"score\">{:.4}</attribute>\
         <attribute name=\"verdict\">{verdict}</attribute></{element}>\n",
        escaped(record.name(found)),
        found.score,
    ))
}

fn rectangle(record: &LabelRecord, found: &LabelledBox) -> String {
    let [left, top, right, bottom] = record.edges(found).map(hundredths);
    format!("xtl=\"{left}\" ytl=\"{top}\" xbr=\"{right}\" ybr=\"{bottom}\"")
}

/// The box around a mask, and run lengths within it: row by row, the first of pixels that do not belong to the mask.
fn cut_out(mask: &Mask) -> String {
    let around = mask.bbox().and_then(|bbox| bbox.to_pixels(mask.size()));
    let [left, top, width, height] = around.unwrap_or_default();
    let (mut lengths, mut at) = (Vec::new(), 0);
    for y in 0..height {
        let place = |x: u32| u64::from(y) * u64::from(width) + u64::from(x - left);
        for run in mask.runs(top + y) {
            match lengths.last_mut() {
                // It goes on from the end of the row before.
                Some(last) if at == place(run.start) => *last += u64::from(run.end - run.start),
                _ => lengths.extend([place(run.start) - at, u64::from(run.end - run.start)]),
            }
            at = place(run.end);
        }
    }
    let rest = u64::from(width) * u64::from(height) - at;
    lengths.extend((rest > 0).then_some(rest));
    let lengths: Vec<String> = lengths.iter().map(u64::to_string).collect();
    let rle = lengths.join(", ");
    format!("rle=\"{rle}\" left=\"{left}\" top=\"{top}\" width=\"{width}\" height=\"{height}\"")
}

fn outline(mask: &Mask) -> Result<String> {
    let corners = outlines::of_all(mask)?.into_iter();
    let corners: Vec<String> = corners.map(|[x, y]| format!("{x},{y}")).collect();
    Ok(format!("points=\"{}\"", corners.join(";")))
}

/// Text in XML. Characters that XML does not know become a replacement.
pub(super) fn escaped(text: &str) -> String {
    let known = text.chars().map(|character| match character {
        '\t' | '\n' | '\r' => ' ',
        '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => '\u{fffd}',
        character => character,
    });
    escape(known.collect::<String>()).into_owned()
}

#[cfg(test)]
mod tests {
    use glip::ImageSize;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_is_what_xml_reads_as_it() {
        for (text, expected) in [
            ("a/ü 1.jpg", "a/ü 1.jpg"),
            ("<b> & \"it's\"", "&lt;b&gt; &amp; &quot;it&apos;s&quot;"),
            ("two\nlines\u{1}\u{ffff}", "two lines\u{fffd}\u{fffd}"),
        ] {
            assert_eq!(escaped(text), expected);
        }
    }

    proptest! {
        #[test]
        fn a_mask_is_cut_out_along_its_box(
            (width, height) in (1u32..24, 1u32..24), period in 1u32..9, from in 0u32..9,
        ) {
            let size = ImageSize::new(width, height);
            let mask = Mask::from_fn(size, |x, y| (3 * x + 5 * y) % period >= from).unwrap();
            let text = cut_out(&mask);
            let numbers = |name: &str| -> Vec<u32> {
                let (_, rest) = text.split_once(&format!("{name}=\"")).unwrap();
                let (value, _) = rest.split_once('"').unwrap();
                let numbers = value.split(", ").filter(|number| !number.is_empty());
                numbers.map(|number| number.parse().unwrap()).collect()
            };
            let [left, top, width] = ["left", "top", "width"].map(|name| numbers(name)[0]);
            let lengths = numbers("rle").into_iter().enumerate();
            let pixels = lengths.flat_map(|(index, length)| vec![index % 2 == 1; length as usize]);
            let pixels: Vec<bool> = pixels.collect();
            let drawn = Mask::from_fn(size, |x, y| {
                let place = y.checked_sub(top).zip(x.checked_sub(left)).filter(|(_, x)| *x < width);
                place.is_some_and(|(y, x)| pixels.get((y * width + x) as usize) == Some(&true))
            });
            prop_assert_eq!(drawn.unwrap(), mask);
            prop_assert!(numbers("rle").iter().skip(1).all(|&length| length > 0));
        }
    }
}
