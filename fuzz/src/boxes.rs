//! Boxes and scores after the graphs, and where tiles lie.

use arbitrary::{Arbitrary, Result, Unstructured};
use glip::{
    BBox, Detections, ImageSize,
    parts::{
        GridSize, HeadBoxes, HeadOutput, ImageGeometry, Phrase, Postprocessor, TokenizedPhrase,
    },
    postprocess::{
        Aggregation, AnchorOptions, BoxCoder, HeadSpec, PostprocessOptions, inclusive_iou, nms,
    },
};
use glip_tools::label::Tiling;
use ndarray::{Array2, Array3};

use crate::input::{count, list, number, numbers, read, share, side, size};

/// Whatever a head gives, detections have scores from 0 to 1, best first, and survive being written.
pub fn postprocess(data: &[u8]) {
    read(data, |input| {
        let (spec, grids) = head(input)?;
        let cells = grids
            .iter()
            .fold(0, |sum: usize, grid| sum.saturating_add(grid.cells()));
        let rows = match cells > 64 || input.ratio(1, 20)? {
            true => input.int_in_range(0..=20)?,
            false => cells,
        };
        let (batch, tokens) = (input.int_in_range(0..=2)?, input.int_in_range(0..=20)?);
        let Ok(postprocessor) = Postprocessor::new(options(input)?, spec) else {
            return Ok(());
        };
        let length = input.int_in_range(0..=4)?;
        let phrases = list(input, length, |input| phrase(input, tokens))?;
        let length = if input.ratio(1, 20)? {
            batch + 1
        } else {
            batch
        };
        let geometries = list(input, length, geometry)?;
        if let Some(output) = head_output(input, [batch, rows, tokens], grids)?
            && let Ok(found) = postprocessor.run(&output, &phrases, &geometries)
        {
            found.iter().for_each(check_detections);
        }
        Ok(())
    });
}

/// Overlaps are from 0 to 1, and nothing is kept twice.
pub fn suppression(data: &[u8]) {
    read(data, |input| {
        let length = input.int_in_range(0..=40)?;
        let corners = list(input, length, numbers)?;
        let scores = list(input, length, number)?;
        let groups = list(input, length, |input| input.int_in_range(0..=3))?;
        for (&a, &b) in corners.iter().zip(corners.iter().rev()) {
            let overlap = inclusive_iou(a, b);
            assert!(
                overlap.is_nan() || (0.0..=1.0).contains(&overlap),
                "{a:?} {b:?}"
            );
        }
        let coder = BoxCoder {
            weights: numbers(input)?,
            max_log_scale: number(input)?,
        };
        if let [first, .., last] = corners.as_slice() {
            let _ = coder.encode(*first, coder.decode(*first, *last));
        }
        let boxes: Vec<_> = corners
            .iter()
            .filter_map(|&c| BBox::try_from(c).ok())
            .collect();
        for (a, b) in boxes.iter().zip(boxes.iter().rev()) {
            assert!((0.0..=1.0).contains(&a.iou(b)), "{a:?} {b:?}");
        }
        let length = boxes.len();
        if let Ok(mut kept) = nms(&boxes, &scores[..length], &groups[..length], share(input)?) {
            kept.sort_unstable();
            assert!(kept.is_sorted_by(|a, b| a < b) && kept.last().is_none_or(|&k| k < length));
        }
        Ok(())
    });
}

/// Detections that can be read are written and read again as they were.
pub fn detections(data: &[u8]) {
    if let Ok(found) = serde_json::from_slice::<Detections>(data) {
        let written = serde_json::to_string(&found).expect("detections can be written");
        let again: Detections = serde_json::from_str(&written).expect("and read again");
        assert_eq!(again, found);
        let _ = (found.with_min_score(0.5), found.top_per_phrase(1));
    }
}

/// Tiles lie inside their picture.
pub fn tiling(data: &[u8]) {
    read(data, |input| {
        let (tile, overlap) = (
            input.int_in_range(32..=4000u32)?,
            input.int_in_range(0..=4000)?,
        );
        let image = size(input, 9000)?;
        let ImageSize { width, height } = image;
        let step = u64::from(tile.saturating_sub(overlap));
        let along = |side: u32| u64::from(side) / step.max(1) + 1;
        if step == 0 || along(width) * along(height) > 2_000 {
            return Ok(());
        }
        for tile in Tiling::new(tile, overlap).tiles(image) {
            assert!(u64::from(tile.x) + u64::from(tile.width) <= u64::from(width));
            assert!(u64::from(tile.y) + u64::from(tile.height) <= u64::from(height));
        }
        Ok(())
    });
}

fn check_detections(found: &Detections) {
    let scores: Vec<_> = found.iter().map(|detection| detection.score).collect();
    assert!(
        scores.iter().all(|score| (0.0..=1.0).contains(score)),
        "{scores:?}"
    );
    assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
    let written = serde_json::to_string(found).expect("detections can be written");
    let again: Detections = serde_json::from_str(&written).expect("and read again");
    assert_eq!(again, *found);
}

/// A kind of head, and its grids if it has some.
fn head(input: &mut Unstructured) -> Result<(HeadSpec, Vec<GridSize>)> {
    if input.ratio(1, 3)? {
        return Ok((HeadSpec::Queries, Vec::new()));
    }
    let levels = input.int_in_range(0..=3)?;
    let other = |input: &mut Unstructured| Ok(levels + usize::from(input.ratio(1, 20)?));
    let anchors = AnchorOptions {
        strides: list(input, levels, |input| side(input, 64))?,
        sizes: {
            let length = other(input)?;
            list(input, length, |input| side(input, 64))?
        },
    };
    let mut box_coder = BoxCoder::default();
    if input.ratio(1, 4)? {
        box_coder.weights = numbers(input)?;
        box_coder.max_log_scale = number(input)?;
    }
    let length = other(input)?;
    let grids = list(input, length, |input| {
        let limit = if input.ratio(1, 30)? { u32::MAX } else { 4 };
        Ok(GridSize {
            width: input.int_in_range(0..=limit as usize)?,
            height: input.int_in_range(0..=limit as usize)?,
        })
    })?;
    Ok((HeadSpec::Anchors { anchors, box_coder }, grids))
}

/// Tensors that mostly fit together.
fn head_output(
    input: &mut Unstructured,
    [batch, rows, tokens]: [usize; 3],
    level_sizes: Vec<GridSize>,
) -> Result<Option<HeadOutput>> {
    let wild = bool::arbitrary(input)?;
    let wrong = input.int_in_range(0..=30u8)?;
    let sides = if wrong == 1 { 3 } else { 4 };
    let mut value = || match wild {
        true => number(input).unwrap_or(1.0),
        false => i16::arbitrary(input).map_or(2.0, |value| f32::from(value) / 4096.0),
    };
    let logits = Array3::from_shape_simple_fn((batch, rows, tokens), &mut value);
    let deltas = Array3::from_shape_simple_fn((batch, rows, sides), &mut value);
    let rows = if wrong == 2 { rows + 1 } else { rows };
    let boxes = match level_sizes.is_empty() {
        true => HeadBoxes::Queries { boxes: deltas },
        false => HeadBoxes::Anchors {
            deltas,
            centerness: Array2::from_shape_simple_fn((batch, rows), &mut value),
            level_sizes,
        },
    };
    Ok(HeadOutput::new(logits, boxes).ok())
}

/// A phrase whose tokens are mostly among those of the head, in any order.
fn phrase(input: &mut Unstructured, tokens: usize) -> Result<TokenizedPhrase> {
    let length = input.int_in_range(0..=4)?;
    let tokens = list(input, length, |input| match input.ratio(1, 40)? {
        true => input.arbitrary(),
        false => input.int_in_range(0..=tokens.max(1)),
    })?;
    let index = match input.ratio(1, 10)? {
        true => input.arbitrary()?,
        false => input.int_in_range(0..=2)?,
    };
    let phrase = Phrase {
        label: "x".to_owned(),
        index,
        spans: std::iter::once(0..1).collect(),
    };
    Ok(TokenizedPhrase { phrase, tokens })
}

fn geometry(input: &mut Unstructured) -> Result<ImageGeometry> {
    Ok(ImageGeometry {
        original: size(input, 300)?,
        resized: size(input, 300)?,
        padded: size(input, 300)?,
    })
}

fn options(input: &mut Unstructured) -> Result<PostprocessOptions> {
    let mut options = PostprocessOptions::default()
        .with_candidate_threshold(share(input)?)
        .with_score_threshold(share(input)?)
        .with_nms_iou_threshold(share(input)?)
        .with_candidates_per_level(count(input)?)
        .with_max_detections(count(input)?)
        .with_nms_across_phrases(bool::arbitrary(input)?);
    if input.ratio(1, 3)? {
        options = options.with_max_per_phrase(count(input)?);
    }
    if input.ratio(1, 3)? {
        let place = usize::arbitrary(input)?;
        options = options
            .with_phrase_threshold(place, share(input)?)
            .with_phrase_threshold(0, share(input)?);
    }
    Ok(
        options.with_aggregation(match input.int_in_range(0..=2u8)? {
            0 => Aggregation::Mean,
            1 => Aggregation::Max,
            _ => Aggregation::GeometricMean,
        }),
    )
}
