//! A page, in one file, with the numbers and the worst mistakes drawn.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use glip::Mask;
use image::{Rgb, RgbImage, codecs::jpeg::JpegEncoder};
use quick_xml::escape::escape;

use crate::{
    coco::{Annotation, Dataset},
    eval::{
        average_precision::DetectionScores,
        detection::Detection,
        mistakes::Mistakes,
        overlap::Overlap,
        report::{
            crops::{Outline, crop},
            table::percent,
        },
    },
};

const WRONG: Rgb<u8> = Rgb([230, 25, 75]);
const TRUE: Rgb<u8> = Rgb([60, 180, 75]);

/// How many mistakes a page shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PageOptions {
    /// False positives of a category, and as many missed objects, at most. Default: 3.
    pub per_category: usize,
    /// False positives altogether, and as many missed objects, at most. Default: 150, which makes a page
    /// of about 3 MB.
    pub total: usize,
}

impl Default for PageOptions {
    fn default() -> Self {
        Self {
            per_category: 3,
            total: 150,
        }
    }
}

/// A page about detections in a data set: HTML with its pictures inside.
#[derive(Debug)]
pub struct MistakePage<'a> {
    /// What the page is called.
    pub title: &'a str,
    /// The data set.
    pub truth: &'a Dataset,
    /// What was found in it.
    pub found: &'a [Detection],
    /// The numbers.
    pub scores: &'a DetectionScores,
    /// What went wrong.
    pub mistakes: &'a Mistakes,
}

/// A piece of a picture and what is said about it.
struct Figure {
    category: u64,
    missed: bool,
    image: u64,
    caption: String,
    outlines: Vec<Outline>,
}

impl MistakePage<'_> {
    /// The page as HTML. `open` gives an image's pixels by its id; a mistake in an image that it cannot
    /// give is shown without a picture.
    pub fn render(
        &self,
        open: impl FnMut(u64) -> Option<RgbImage>,
        options: PageOptions,
    ) -> String {
        let figures = self.figures(options);
        let pieces = pieces(&figures, open);
        let mut html = self.head();
        for class in &self.scores.classes {
            let mine = figures.iter().zip(&pieces);
            let mine: Vec<_> = mine
                .filter(|(figure, _)| figure.category == class.category)
                .collect();
            if mine.is_empty() {
                continue;
            }
            let ap = percent(class.ap);
            let (name, objects) = (escape(&*class.name), class.objects);
            put(
                &mut html,
                format_args!("<h2>{name}</h2><p>AP {ap}, {objects} objects</p>\n"),
            );
            for missed in [false, true] {
                let heading = ["Found where it is not", "Missed"][usize::from(missed)];
                let mut shown = mine
                    .iter()
                    .filter(|(figure, _)| figure.missed == missed)
                    .peekable();
                if shown.peek().is_some() {
                    put(&mut html, format_args!("<h3>{heading}</h3><div>\n"));
                    shown.for_each(|(figure, piece)| {
                        put_figure(&mut html, figure, piece.as_deref())
                    });
                    html.push_str("</div>\n");
                }
            }
        }
        html.push_str("</body></html>\n");
        html
    }

    fn head(&self) -> String {
        let title = escape(self.title);
        let named = self.scores.averages.named(self.scores.protocol);
        let cells = |cell: &str, texts: Vec<String>| -> String {
            texts
                .iter()
                .map(|text| format!("<{cell}>{text}</{cell}>"))
                .collect()
        };
        let names = cells(
            "th",
            named.iter().map(|(name, _)| (*name).to_owned()).collect(),
        );
        let values = cells(
            "td",
            named.iter().map(|(_, value)| percent(*value)).collect(),
        );
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\n\
             <style>{STYLE}</style></head><body>\n<h1>{title}</h1>\n\
             <table><tr>{names}</tr><tr>{values}</tr></table>\n\
             <p>{} false positives and {} missed objects at IoU 0.5; the surest and the largest are shown. \
             Red: found. Green: the truth.</p>\n",
            self.mistakes.false_positives.len(),
            self.mistakes.missed.len(),
        )
    }

    fn figures(&self, options: PageOptions) -> Vec<Figure> {
        let (per_category, total) = (options.per_category, options.total);
        let worst = self
            .mistakes
            .worst(self.truth, self.found, per_category, total);
        let mut objects: HashMap<u64, Vec<&Annotation>> = HashMap::new();
        for object in &self.truth.annotations {
            objects.entry(object.image).or_default().push(object);
        }
        let of_image = |image| objects.get(&image).map_or(&[][..], Vec::as_slice);
        let false_positives = worst.false_positives.iter().map(|&place| {
            let detection = &self.found[place];
            self.false_positive(detection, of_image(detection.image))
        });
        let missed = worst
            .missed
            .iter()
            .map(|&place| self.missed(&self.truth.annotations[place]));
        false_positives.chain(missed).collect()
    }

    fn false_positive(&self, detection: &Detection, objects: &[&Annotation]) -> Figure {
        let overlaps = objects
            .iter()
            .map(|object| (object, self.iou(object, detection)));
        let nearest = overlaps.max_by(|(_, a), (_, b)| a.total_cmp(b));
        let nearest = nearest.filter(|(_, overlap)| *overlap >= 0.1);
        let kind = match self.scores.overlap {
            Overlap::Boxes => "box",
            Overlap::Masks => "mask",
        };
        let mut outlines = vec![(detection.bbox, WRONG)];
        let reason = match nearest {
            None => "nothing known is there".to_owned(),
            Some((object, overlap)) => {
                outlines.push((object.bbox, TRUE));
                let name = self.name(object.category);
                match object.category == detection.category {
                    true if overlap >= 0.5 => {
                        format!("a second {kind} of one {name} (IoU {overlap:.2})")
                    }
                    true => format!("too far from the {name} (IoU {overlap:.2})"),
                    false => format!("there is: {name} (IoU {overlap:.2})"),
                }
            }
        };
        Figure {
            category: detection.category,
            missed: false,
            image: detection.image,
            caption: format!("{:.2}, {reason}", detection.score),
            outlines,
        }
    }

    /// How much of them is one another, by what was measured.
    fn iou(&self, object: &Annotation, detection: &Detection) -> f64 {
        match self.scores.overlap {
            Overlap::Boxes => iou(&object.bbox, &detection.bbox),
            Overlap::Masks => mask_iou(object, detection).unwrap_or(0.0),
        }
    }

    fn missed(&self, object: &Annotation) -> Figure {
        let [_, _, width, height] = object.bbox;
        Figure {
            category: object.category,
            missed: true,
            image: object.image,
            caption: format!("{width:.0} x {height:.0} pixels"),
            outlines: vec![(object.bbox, TRUE)],
        }
    }

    fn name(&self, category: u64) -> &str {
        let categories = &self.truth.categories;
        categories
            .binary_search_by_key(&category, |category| category.id)
            .map_or("?", |place| &categories[place].name)
    }
}

const STYLE: &str = "body{font:15px sans-serif;max-width:1100px;margin:2em auto;padding:0 1em}\
    table{border-collapse:collapse}td,th{padding:.2em .6em;border:1px solid #ccc}\
    figure{display:inline-block;vertical-align:top;margin:0 1em 1em 0;max-width:240px}\
    figcaption{font-size:12px;overflow-wrap:anywhere}h2{border-top:1px solid #ccc;padding-top:.6em}";

/// The figures' pieces as data addresses. Every picture is opened once.
fn pieces(
    figures: &[Figure],
    mut open: impl FnMut(u64) -> Option<RgbImage>,
) -> Vec<Option<String>> {
    let mut by_image: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (place, figure) in figures.iter().enumerate() {
        by_image.entry(figure.image).or_default().push(place);
    }
    let mut pieces = vec![None; figures.len()];
    for (image, places) in by_image {
        let Some(picture) = open(image) else { continue };
        for place in places {
            pieces[place] = data_address(&crop(&picture, &figures[place].outlines));
        }
    }
    pieces
}

fn data_address(piece: &RgbImage) -> Option<String> {
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, 80)
        .encode_image(piece)
        .ok()?;
    Some(format!(
        "data:image/jpeg;base64,{}",
        BASE64_STANDARD.encode(jpeg)
    ))
}

fn put_figure(html: &mut String, figure: &Figure, piece: Option<&str>) {
    let picture = match piece {
        Some(address) => format!("<img src=\"{address}\" alt=\"\">"),
        None => "(no picture)".to_owned(),
    };
    let (caption, image) = (escape(&*figure.caption), figure.image);
    put(
        html,
        format_args!(
            "<figure>{picture}<figcaption>{caption}; image {image}</figcaption></figure>\n"
        ),
    );
}

fn put(html: &mut String, text: std::fmt::Arguments<'_>) {
    // A string takes everything.
    let _ = html.write_fmt(text);
}

/// Intersection over union of pixels, if both have any.
fn mask_iou(object: &Annotation, detection: &Detection) -> Option<f64> {
    let found = detection.mask.as_ref()?;
    let truth = object.segmentation.as_ref()?.rle(found.size()).ok()?;
    let iou = Mask::from(found).iou(&Mask::from(&truth)).ok()?;
    Some(f64::from(iou))
}

/// Intersection over union of `[x, y, width, height]`.
fn iou(a: &[f64; 4], b: &[f64; 4]) -> f64 {
    let extent = |axis: usize| {
        let end = (a[axis] + a[axis + 2]).min(b[axis] + b[axis + 2]);
        (end - a[axis].max(b[axis])).max(0.0)
    };
    let shared = extent(0) * extent(1);
    let union = a[2] * a[3] + b[2] * b[3] - shared;
    if union > 0.0 { shared / union } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use glip::ImageSize;

    use super::*;
    use crate::eval::{Protocol, average_precision, mistakes};

    #[test]
    fn mistakes_are_shown_with_their_reasons() {
        let (truth, _) = Dataset::parse(
            r#"{"images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg"}],
                "categories": [{"id": 1, "name": "<cat>"}, {"id": 2, "name": "dog"}],
                "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 10, 40, 40]},
                                {"id": 2, "image_id": 2, "category_id": 2, "bbox": [0, 0, 30, 20]}]}"#,
        )
        .unwrap();
        let at = |category, x, score| Detection::of_box(1, category, [x, 10.0, 40.0, 40.0], score);
        let found = [
            at(1, 10.0, 0.9),
            at(1, 12.0, 0.8),
            at(1, 35.0, 0.7),
            at(2, 10.0, 0.6),
            at(2, 100.0, 0.5),
        ];
        let page = MistakePage {
            title: "a & b",
            truth: &truth,
            found: &found,
            scores: &average_precision(&truth, &found, Protocol::Coco, Overlap::Boxes).unwrap(),
            mistakes: &mistakes(&truth, &found, Protocol::Coco, Overlap::Boxes).unwrap(),
        };
        let mut opened = Vec::new();
        let open = |image| {
            opened.push(image);
            (image == 1).then(|| RgbImage::new(120, 80))
        };
        let html = page.render(open, PageOptions::default());
        for part in [
            "<title>a &amp; b</title>",
            "<h2>&lt;cat&gt;</h2>",
            "0.80, a second box of one &lt;cat&gt; (IoU 0.90)",
            "0.70, too far from the &lt;cat&gt; (IoU 0.23)",
            "0.60, there is: &lt;cat&gt; (IoU 1.00)",
            "0.50, nothing known is there",
            "30 x 20 pixels; image 2",
            "4 false positives and 1 missed objects",
        ] {
            assert!(html.contains(part), "{part} is not in {html}");
        }
        assert_eq!(opened, [1, 2]);
        assert_eq!(html.matches("<img ").count(), 4);
        assert_eq!(html.matches("(no picture)").count(), 1);
    }

    /// The lower half of a box is found, and its upper half again, as large as the box of the first.
    #[test]
    fn masks_that_are_wrong_are_told_by_their_pixels() {
        let (truth, _) = Dataset::parse_with_masks(
            r#"{"images": [{"id": 1, "file_name": "a.jpg", "width": 8, "height": 8}],
                "categories": [{"id": 1, "name": "cat"}],
                "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 8, 8],
                                 "segmentation": [[0, 0, 8, 0, 8, 8, 0, 8]]}]}"#,
        )
        .unwrap();
        let rows = |rows: std::ops::Range<u32>, score| {
            let mask = Mask::from_fn(ImageSize::new(8, 8), |_, y| rows.contains(&y)).unwrap();
            Detection::of_mask(1, 1, mask.rle(), score)
        };
        let found = [rows(2..8, 0.9), rows(0..5, 0.8), rows(0..3, 0.7)];
        let (protocol, overlap) = (Protocol::Coco, Overlap::Masks);
        let page = MistakePage {
            title: "masks",
            truth: &truth,
            found: &found,
            scores: &average_precision(&truth, &found, protocol, overlap).unwrap(),
            mistakes: &mistakes(&truth, &found, protocol, overlap).unwrap(),
        };
        let html = page.render(|_| None, PageOptions::default());
        for part in [
            "0.80, a second mask of one cat (IoU 0.62)",
            "0.70, too far from the cat (IoU 0.38)",
        ] {
            assert!(html.contains(part), "{part} is not in {html}");
        }
    }
}
