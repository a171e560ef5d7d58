//! Run lengths, outlines and small maps of logits.

use arbitrary::{Arbitrary, Unstructured};
use glip::{
    ImageSize, Mask,
    parts::{ImageGeometry, Polygon, Rle},
    postprocess::{stability_score, upsample_logits, upsample_mask},
};
use ndarray::Array2;

use crate::input::{number, read, size};

/// JSON that is read as run lengths adds up to its size, is written and read again as it was, and is a mask.
pub fn run_lengths(data: &[u8]) {
    let Ok(rle) = serde_json::from_slice::<Rle>(data) else {
        return;
    };
    let sum: u64 = rle.counts().iter().copied().map(u64::from).sum();
    assert_eq!(sum, rle.size().pixels());
    let written = serde_json::to_string(&rle).expect("run lengths can be written");
    let again: Rle = serde_json::from_str(&written).expect("and read again");
    assert_eq!(again, rle);
    // What is larger is right, and slow.
    if sum <= 1_000_000 {
        let inside = rle.counts().iter().skip(1).step_by(2);
        let mask = Mask::from(&rle);
        assert_eq!(mask.area(), inside.copied().map(u64::from).sum::<u64>());
        assert_eq!(Mask::from(&mask.rle()), mask);
    }
}

/// Outlines have corners within the image, those without a tolerance enclose what the mask holds.
pub fn polygons(data: &[u8]) {
    read(data, |input| {
        let size = ImageSize::new(input.int_in_range(1..=70)?, input.int_in_range(1..=70)?);
        let tolerance = number(input)?;
        let bytes = input.peek_bytes(input.len()).unwrap_or_default();
        let mask = Mask::from_fn(size, |x, y| {
            let place = (y * size.width + x) as usize;
            let byte = bytes.get(place / 8 % bytes.len().max(1));
            byte.is_some_and(|byte| byte >> (place % 8) & 1 == 1)
        })
        .expect("a size that there is");
        let exact = mask.polygons(0.0).expect("a tolerance that there is");
        let area: f32 = exact.iter().flat_map(Polygon::rings).map(enclosed).sum();
        assert_eq!(area, mask.area() as f32);
        let Ok(simple) = mask.polygons(tolerance) else {
            assert!(tolerance.is_nan() || tolerance < 0.0);
            return Ok(());
        };
        assert_eq!(simple.len(), exact.len());
        for ring in simple.iter().flat_map(Polygon::rings) {
            let inside = |[x, y]: &[f32; 2]| {
                (0.0..=size.width as f32).contains(x) && (0.0..=size.height as f32).contains(y)
            };
            assert!(ring.len() >= 3 && ring.iter().all(inside), "{ring:?}");
        }
        Ok(())
    });
}

/// Whatever logits and geometry, a mask is of the image's size, and is where the large map is above 0.
pub fn upsampling(data: &[u8]) {
    read(data, |input| {
        let geometry = ImageGeometry {
            original: size(input, 60)?,
            resized: size(input, 60)?,
            padded: size(input, 60)?,
        };
        let (rows, columns) = (input.int_in_range(0..=6)?, input.int_in_range(0..=6)?);
        let wild = bool::arbitrary(input)?;
        let logits = Array2::from_shape_simple_fn((rows, columns), || value(input, wild));
        let share = stability_score(logits.view(), 1.0).expect("an offset that there is");
        assert!((0.0..=1.0).contains(&share), "{share}");
        if geometry.original.pixels() > 100_000 {
            return Ok(());
        }
        match (
            upsample_mask(logits.view(), &geometry),
            upsample_logits(logits.view(), &geometry),
        ) {
            (Ok(mask), Ok(large)) => {
                assert_eq!(mask.size(), geometry.original);
                assert_eq!(mask.to_bitmap(), large.mapv(|logit| logit > 0.0));
            }
            (Err(_), Err(_)) => {}
            (mask, large) => panic!("{mask:?}, {large:?}"),
        }
        Ok(())
    });
}

fn value(input: &mut Unstructured, wild: bool) -> f32 {
    match wild {
        true => number(input).unwrap_or(f32::NAN),
        false => i16::arbitrary(input).map_or(2.0, |value| f32::from(value) / 4096.0),
    }
}

/// Negative for a hole.
fn enclosed(ring: &[[f32; 2]]) -> f32 {
    let next = ring.iter().cycle().skip(1);
    let sides = ring.iter().zip(next);
    let twice: f32 = sides.map(|([x1, y1], [x2, y2])| x1 * y2 - x2 * y1).sum();
    twice / 2.0
}
