//! Large images in tiles, and what is found in them put together.

use std::borrow::Cow;

use glip::{
    BBox, Detection, Detections, ImageSize,
    postprocess::{PostprocessOptions, nms},
};
use image::DynamicImage;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// How large images are cut into tiles, so that small things are not lost when images are resized.
///
/// Tiles are squares that overlap and cover the image; images that are no larger are not cut. What is
/// found in several tiles is merged by suppression, and a box that a tile's edge cuts gives way to
/// one that shows the whole thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Tiling {
    /// The side of a tile, in pixels of the image.
    pub side: u32,
    /// By how much neighbours overlap at least, in pixels. Things up to this size are whole in a tile.
    pub overlap: u32,
    /// Whether the image is also looked at as a whole, for what is larger than that. Default: yes.
    pub whole_image: bool,
}

impl Tiling {
    /// Tiles of this side that overlap by so much, in pixels, and the whole image.
    pub fn new(side: u32, overlap: u32) -> Self {
        Self {
            side,
            overlap,
            whole_image: true,
        }
    }

    /// Sets [`whole_image`](Self::whole_image).
    #[must_use]
    pub fn with_whole_image(self, whole_image: bool) -> Self {
        Self {
            whole_image,
            ..self
        }
    }

    /// The tiles of an image, row by row; none if it needs no cutting. The whole image is not among
    /// them.
    ///
    /// ```
    /// use glip::ImageSize;
    /// use glip_tools::label::Tiling;
    ///
    /// let tiles = Tiling::new(100, 20).tiles(ImageSize { width: 180, height: 90 });
    /// let corners: Vec<_> = tiles.iter().map(|tile| (tile.x, tile.y, tile.width, tile.height)).collect();
    /// assert_eq!(corners, [(0, 0, 100, 90), (80, 0, 100, 90)]);
    /// ```
    pub fn tiles(&self, image: ImageSize) -> Vec<Tile> {
        if image.width <= self.side && image.height <= self.side {
            return Vec::new();
        }
        let columns = self.offsets(image.width);
        let (width, height) = (self.side.min(image.width), self.side.min(image.height));
        let rows = self.offsets(image.height).into_iter();
        rows.flat_map(|y| {
            columns.iter().map(move |&x| Tile {
                x,
                y,
                width,
                height,
            })
        })
        .collect()
    }

    /// Where tiles begin along a side, evenly spread.
    fn offsets(&self, length: u32) -> Vec<u32> {
        if length <= self.side {
            return vec![0];
        }
        let last = length - self.side;
        let gaps = last.div_ceil(self.side - self.overlap);
        let offset = |n| (u64::from(n) * u64::from(last) / u64::from(gaps)) as u32;
        (0..=gaps).map(offset).collect()
    }

    pub(super) fn validate(&self) -> Result<()> {
        let wrong = |option, found: u32, expected: &str| {
            Err(Error::Option {
                option,
                found: found.to_string(),
                expected: expected.to_owned(),
            })
        };
        match self {
            Self { side: 0..32, .. } => wrong("tile side", self.side, "at least 32 pixels"),
            Self { side, overlap, .. } if overlap >= side => {
                wrong("overlap", self.overlap, "less than the tile's side")
            }
            _ => Ok(()),
        }
    }
}

/// A part of an image, in its pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tile {
    /// The first column.
    pub x: u32,
    /// The first row.
    pub y: u32,
    /// How many columns.
    pub width: u32,
    /// How many rows.
    pub height: u32,
}

impl Tile {
    /// All of an image.
    pub(super) fn whole(image: ImageSize) -> Self {
        let ImageSize { width, height } = image;
        let (x, y) = (0, 0);
        Self {
            x,
            y,
            width,
            height,
        }
    }

    /// Its pixels, which are copied unless it is the whole picture.
    pub(super) fn of<'p>(&self, picture: &'p DynamicImage) -> Cow<'p, DynamicImage> {
        let &Self {
            x,
            y,
            width,
            height,
        } = self;
        match (width, height) == (picture.width(), picture.height()) {
            true => Cow::Borrowed(picture),
            false => Cow::Owned(picture.crop_imm(x, y, width, height)),
        }
    }

    /// Whether an edge of the tile that is none of the image comes this close to a box, so that what
    /// the box shows may go on beyond it.
    fn cuts(&self, bbox: BBox, image: ImageSize) -> bool {
        /// In pixels of the image. Boxes are seldom exact, and those of cut things end near the cut.
        const NEAR: f32 = 3.0;
        self.margin(bbox, image) < NEAR
    }

    /// How far a box is from the nearest edge of the tile that is none of the image, in pixels; below 0 if it reaches
    /// beyond one.
    fn margin(&self, bbox: BBox, image: ImageSize) -> f32 {
        let (right, bottom) = (self.x + self.width, self.y + self.height);
        let margins = [
            (self.x > 0, bbox.x1() - self.x as f32),
            (self.y > 0, bbox.y1() - self.y as f32),
            (right < image.width, right as f32 - bbox.x2()),
            (bottom < image.height, bottom as f32 - bbox.y2()),
        ];
        let of_edges = margins.into_iter().filter(|(is_inner, _)| *is_inner);
        of_edges
            .map(|(_, margin)| margin)
            .fold(f32::INFINITY, f32::min)
    }

    /// A box of the image in the tile's pixels, without what is beyond the tile.
    pub(super) fn within(&self, bbox: BBox) -> glip::Result<BBox> {
        let (x, y) = (self.x as f32, self.y as f32);
        let [x1, y1, x2, y2] = bbox.into();
        let bbox = BBox::new(x1 - x, y1 - y, x2 - x, y2 - y)?;
        Ok(bbox.clamp(ImageSize::new(self.width, self.height)))
    }
}

/// The part of an image that shows most of what is in a box: the smallest that does not cut it, and of those the one that
/// shows most around it. Where all cut it, the one that does so least.
pub(super) fn best_view(views: &[Tile], bbox: BBox, image: ImageSize) -> usize {
    let pixels = |view: &Tile| u64::from(view.width) * u64::from(view.height);
    let in_order = views.iter().enumerate().min_by(|(_, a), (_, b)| {
        let [cut_a, cut_b] = [a, b].map(|view| view.cuts(bbox, image));
        let by_margin = || b.margin(bbox, image).total_cmp(&a.margin(bbox, image));
        let by_size = pixels(a).cmp(&pixels(b));
        cut_a.cmp(&cut_b).then(by_size).then_with(by_margin)
    });
    in_order.map_or(0, |(place, _)| place)
}

/// What was found in the parts of an image, each in the pixels of its part, as one result.
///
/// First come the boxes that no edge cuts, which suppress one another as within an image. A box that
/// an edge cuts is a part of something: it is left out if most of it lies in one that stays.
pub(super) fn merge(
    mut parts: Vec<(Tile, Detections)>,
    image: ImageSize,
    options: &PostprocessOptions,
) -> Result<Detections> {
    if parts.len() == 1 {
        return Ok(parts.pop().unwrap_or_default().1);
    }
    let (mut whole, mut cut) = (Vec::new(), Vec::new());
    for (tile, found) in parts {
        for detection in found {
            let detection = moved(detection, tile)?;
            match tile.cuts(detection.bbox, image) {
                true => cut.push(detection),
                false => whole.push(detection),
            }
        }
    }
    let mut kept = suppressed(whole, options)?;
    let covered = |part: &Detection| {
        kept.iter().any(|whole| {
            (options.nms_across_phrases || whole.phrase_index == part.phrase_index)
                && share_within(part.bbox, whole.bbox) > 0.5
        })
    };
    cut.retain(|part| !covered(part));
    kept.extend(suppressed(cut, options)?);
    let kept = Detections::from(kept);
    Ok(match options.max_per_phrase {
        Some(most) => kept.top_per_phrase(most),
        None => kept,
    })
}

/// A detection in a tile, in the image's pixels.
fn moved(mut detection: Detection, tile: Tile) -> Result<Detection> {
    let (x, y) = (tile.x as f32, tile.y as f32);
    let [x1, y1, x2, y2] = detection.bbox.into();
    detection.bbox = BBox::new(x1 + x, y1 + y, x2 + x, y2 + y)?;
    Ok(detection)
}

/// Those that do not overlap a better one, however many they are: the limit is for what the model looks at
/// at once.
fn suppressed(found: Vec<Detection>, options: &PostprocessOptions) -> Result<Vec<Detection>> {
    let boxes: Vec<_> = found.iter().map(|detection| detection.bbox).collect();
    let scores: Vec<_> = found.iter().map(|detection| detection.score).collect();
    let group = |detection: &Detection| match options.nms_across_phrases {
        true => 0,
        false => detection.phrase_index,
    };
    let groups: Vec<_> = found.iter().map(group).collect();
    let kept = nms(&boxes, &scores, &groups, options.nms_iou_threshold)?;
    Ok(kept.into_iter().map(|place| found[place].clone()).collect())
}

/// How much of a box lies within another, 0 to 1.
fn share_within(part: BBox, whole: BBox) -> f32 {
    match part.intersection(&whole) {
        Some(inside) if part.area() > 0.0 => inside.area() / part.area(),
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(index: usize, score: f32, corners: [f32; 4]) -> Detection {
        let bbox = BBox::try_from(corners).unwrap();
        Detection::new(format!("phrase {index}"), index, score, bbox)
    }

    const IMAGE: ImageSize = ImageSize {
        width: 180,
        height: 100,
    };

    fn parts(left: Vec<Detection>, right: Vec<Detection>) -> Vec<(Tile, Detections)> {
        let tiles = Tiling::new(100, 20).tiles(IMAGE);
        vec![(tiles[0], left.into()), (tiles[1], right.into())]
    }

    fn boxes(found: &Detections) -> Vec<[f32; 4]> {
        found
            .iter()
            .map(|detection| detection.bbox.into())
            .collect()
    }

    #[test]
    fn what_two_tiles_see_is_found_once() {
        let options = PostprocessOptions::default();
        // At columns 84 to 94 of the image.
        let seen_twice = parts(
            vec![found(0, 0.8, [84.0, 10.0, 94.0, 20.0])],
            vec![found(0, 0.9, [4.0, 10.0, 14.0, 20.0])],
        );
        let merged = merge(seen_twice, IMAGE, &options).unwrap();
        assert_eq!(boxes(&merged), [[84.0, 10.0, 94.0, 20.0]]);
        assert_eq!(merged[0].score, 0.9);
    }

    #[test]
    fn a_part_gives_way_to_the_whole_even_if_it_is_surer() {
        let options = PostprocessOptions::default();
        let whole = found(0, 0.6, [6.0, 10.0, 40.0, 50.0]); // columns 86 to 120
        let part = found(0, 0.9, [86.0, 10.0, 100.0, 50.0]);
        let other = found(1, 0.7, [86.0, 10.0, 100.0, 50.0]);
        let merged = |options: &PostprocessOptions| {
            let found = parts(vec![part.clone(), other.clone()], vec![whole.clone()]);
            boxes(&merge(found, IMAGE, options).unwrap())
        };
        let expected = [[86.0, 10.0, 100.0, 50.0], [86.0, 10.0, 120.0, 50.0]];
        assert_eq!(merged(&options), expected);
        assert_eq!(
            merged(&options.with_nms_across_phrases(true)),
            [expected[1]]
        );
    }

    #[test]
    fn a_part_of_what_no_tile_shows_whole_stays() {
        let part = found(0, 0.9, [60.0, 10.0, 100.0, 50.0]);
        let merged = merge(
            parts(vec![part], vec![]),
            IMAGE,
            &PostprocessOptions::default(),
        );
        assert_eq!(merged.unwrap().len(), 1);
    }

    #[test]
    fn a_box_is_looked_at_where_most_of_it_shows() {
        // Columns 0 to 100, 80 to 180, and the whole image.
        let tiles = Tiling::new(100, 20).tiles(IMAGE);
        let with_whole = [&tiles[..], &[Tile::whole(IMAGE)]].concat();
        for (columns, expected, in_tiles) in [
            ([10.0, 30.0], 0, 0),
            ([110.0, 150.0], 1, 1),
            // In both; there is more around it in the one or the other.
            ([84.0, 90.0], 0, 0),
            ([90.0, 96.0], 1, 1),
            // Cut by both, less so by the first.
            ([70.0, 110.0], 2, 0),
            ([0.0, 180.0], 2, 0),
        ] {
            let bbox = BBox::new(columns[0], 10.0, columns[1], 50.0).unwrap();
            assert_eq!(best_view(&with_whole, bbox, IMAGE), expected, "{columns:?}");
            assert_eq!(best_view(&tiles, bbox, IMAGE), in_tiles, "{columns:?}");
        }
    }

    proptest! {
        #[test]
        fn tiles_cover_the_image_and_overlap(
            (width, height) in (1u32..3000, 1u32..3000),
            (side, overlap) in (32u32..700).prop_flat_map(|side| (Just(side), 0..side)),
        ) {
            let tiling = Tiling::new(side, overlap);
            let tiles = tiling.tiles(ImageSize { width, height });
            prop_assert_eq!(tiles.is_empty(), width <= side && height <= side);
            for (length, first) in [(width, true), (height, false)] {
                let mut spans: Vec<_> = tiles.iter().map(|tile| match first {
                    true => (tile.x, tile.x + tile.width),
                    false => (tile.y, tile.y + tile.height),
                }).collect();
                spans.sort_unstable();
                spans.dedup();
                if let (Some(begin), Some(end)) = (spans.first(), spans.last()) {
                    prop_assert_eq!((begin.0, end.1), (0, length));
                }
                for pair in spans.windows(2) {
                    prop_assert!(pair[0].1 >= pair[1].0 + overlap);
                }
                prop_assert!(spans.iter().all(|(begin, end)| end - begin == side.min(length)));
            }
        }
    }
}
