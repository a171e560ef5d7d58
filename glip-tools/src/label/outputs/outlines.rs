//! The outlines of masks, for formats that have polygons.

use glip::{Mask, parts::Polygon};

/// Corners, x and y in pixels of the image, edges continuous; the last is joined to the first.
pub(super) type Ring = Vec<[f32; 2]>;

/// One outline for each part of a mask, as COCO has them.
///
/// # Errors
/// None in practice: the tolerance is one.
pub(super) fn of_parts(mask: &Mask) -> glip::Result<Vec<Ring>> {
    let parts = mask.polygons(tolerance(mask))?;
    Ok(parts.iter().map(|part| joined(&rings(part))).collect())
}

/// One outline around all parts of a mask, for formats in which a thing has one; empty if it has no pixels.
///
/// # Errors
/// None in practice: the tolerance is one.
pub(super) fn of_all(mask: &Mask) -> glip::Result<Ring> {
    let parts = mask.polygons(tolerance(mask))?;
    let rings: Vec<&[[f32; 2]]> = parts.iter().flat_map(rings).collect();
    Ok(joined(&rings))
}

/// How far an outline may be from the mask's edge: a pixel, which takes out the steps of slanted edges, and less for
/// small things, which a pixel would change too much.
fn tolerance(mask: &Mask) -> f32 {
    ((mask.area() as f32).sqrt() / 50.0).min(1.0)
}

fn rings(part: &Polygon) -> Vec<&[[f32; 2]]> {
    let holes = part.holes.iter().map(Vec::as_slice);
    std::iter::once(part.outer.as_slice())
        .chain(holes)
        .collect()
}

/// One ring that goes along all of them: from each to the next by the shortest bridge between two corners, and the same
/// way back. A bridge is passed twice, so that it encloses nothing, and what is filled is what all rings fill together,
/// by either rule: holes stay open, as they go the other way round.
fn joined(rings: &[&[[f32; 2]]]) -> Ring {
    let bridges: Vec<[usize; 2]> = rings
        .windows(2)
        .map(|pair| bridge(pair[0], pair[1]))
        .collect();
    let entry = |ring: usize| ring.checked_sub(1).map_or(0, |before| bridges[before][1]);
    let exit = |ring: usize| bridges.get(ring).map_or(entry(ring), |bridge| bridge[0]);
    let way = |ring: usize, from: usize, steps: usize| {
        let corners = rings[ring];
        (from..=from + steps).map(move |at| corners[at % corners.len()])
    };
    let steps =
        |ring: usize, from: usize, to: usize| (rings[ring].len() + to - from) % rings[ring].len();
    let out = (0..rings.len()).flat_map(|ring| {
        let (from, to) = (entry(ring), exit(ring));
        way(ring, from, steps(ring, from, to))
    });
    let back = (0..rings.len()).rev().flat_map(|ring| {
        let (from, to) = (exit(ring), entry(ring));
        // All around, if it is left where it was entered.
        match steps(ring, from, to) {
            0 => way(ring, from, rings[ring].len()),
            rest => way(ring, from, rest),
        }
    });
    let mut joined: Ring = out.chain(back).collect();
    joined.dedup();
    // It ends where it began.
    joined.pop();
    joined
}

/// The corner of each ring that is nearest to one of the other.
fn bridge(from: &[[f32; 2]], to: &[[f32; 2]]) -> [usize; 2] {
    let pairs = (0..from.len()).flat_map(|a| (0..to.len()).map(move |b| [a, b]));
    let length = |&[a, b]: &[usize; 2]| {
        let ([x1, y1], [x2, y2]) = (from[a], to[b]);
        (x2 - x1).hypot(y2 - y1)
    };
    pairs
        .min_by(|a, b| length(a).total_cmp(&length(b)))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use glip::ImageSize;
    use proptest::prelude::*;

    use super::*;

    /// The pixels whose middle has an odd number of sides to its left.
    fn filled(size: ImageSize, ring: &[[f32; 2]]) -> Mask {
        let sides: Vec<_> = ring.iter().zip(ring.iter().cycle().skip(1)).collect();
        Mask::from_fn(size, |x, y| {
            let (x, y) = (x as f32 + 0.5, y as f32 + 0.5);
            let passed = sides.iter().filter(|([x1, y1], [x2, y2])| {
                (*y1 > y) != (*y2 > y) && x1 + (y - y1) / (y2 - y1) * (x2 - x1) < x
            });
            passed.count() % 2 == 1
        })
        .unwrap()
    }

    /// Positive where it goes clockwise.
    fn area(ring: &[[f32; 2]]) -> f32 {
        let sides = ring.iter().zip(ring.iter().cycle().skip(1));
        sides
            .map(|([x1, y1], [x2, y2])| x1 * y2 - x2 * y1)
            .sum::<f32>()
            / 2.0
    }

    #[test]
    fn a_ring_alone_is_as_it_was() {
        let square = Mask::from_fn(ImageSize::new(9, 9), |x, y| x.max(y) < 6).unwrap();
        let corners = vec![[0.0, 0.0], [6.0, 0.0], [6.0, 6.0], [0.0, 6.0]];
        assert_eq!(of_all(&square).unwrap(), corners);
        assert_eq!(of_parts(&square).unwrap(), [corners]);
        let nothing = Mask::from_fn(ImageSize::new(9, 9), |_, _| false).unwrap();
        assert!(of_all(&nothing).unwrap().is_empty() && of_parts(&nothing).unwrap().is_empty());
    }

    #[test]
    fn large_things_are_simplified_and_small_ones_are_not() {
        let disc = |radius: f32| {
            let size = ImageSize::new(400, 400);
            Mask::from_fn(size, |x, y| {
                (x as f32 - 199.5).hypot(y as f32 - 199.5) < radius
            })
            .unwrap()
        };
        for (radius, most, least_iou) in [(2.5, 20, 1.0), (150.0, 100, 0.99)] {
            let mask = disc(radius);
            let ring = of_all(&mask).unwrap();
            let iou = filled(mask.size(), &ring).iou(&mask).unwrap();
            assert!(
                ring.len() <= most && iou >= least_iou,
                "{} corners, {iou}",
                ring.len()
            );
        }
    }

    proptest! {
        #[test]
        fn parts_and_holes_in_one_ring_fill_the_mask(
            (width, height) in (1u32..24, 1u32..24), share in 0.0f64..1.0, seed: u64,
        ) {
            let noise = |x: u32, y: u32| {
                let mixed = (seed ^ u64::from(y * 64 + x)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                (mixed >> 40) as f64 / (1 << 24) as f64
            };
            let size = ImageSize::new(width, height);
            let mask = Mask::from_fn(size, |x, y| noise(x, y) < share).unwrap();
            // Of so small a thing nothing is left out.
            let ring = of_all(&mask).unwrap();
            prop_assert_eq!(&filled(size, &ring), &mask);
            prop_assert_eq!(area(&ring), mask.area() as f32);
            let parts = of_parts(&mask).unwrap();
            let in_parts: f32 = parts.iter().map(|ring| area(ring)).sum();
            prop_assert_eq!(in_parts, mask.area() as f32);
        }
    }
}
