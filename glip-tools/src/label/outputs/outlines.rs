//! The outlines of masks, for formats that have polygons.

use glip::{Mask, parts::Polygon};

/// Corners, x and y in pixels of the image, edges continuous; the last is joined to the first.
pub(super) type Ring = Vec<[f32; 2]>;

/// One outline for each part of a mask, as COCO has them.
///
/// # Errors
/// None in practice: the tolerance is one.
pub(super) fn of_parts(mask: &Mask) -> glip::Result<Vec<Ring>> {
    let parts = simplified(mask)?;
    let rings = parts.iter().map(|part| part.rings().collect::<Vec<_>>());
    Ok(rings.map(|rings| joined(&rings)).collect())
}

/// One outline around all parts of a mask, for formats in which a thing has one; empty if it has no pixels.
///
/// # Errors
/// None in practice: the tolerance is one.
pub(super) fn of_all(mask: &Mask) -> glip::Result<Ring> {
    let parts = simplified(mask)?;
    let rings: Vec<&[[f32; 2]]> = parts.iter().flat_map(Polygon::rings).collect();
    Ok(joined(&rings))
}

/// The outlines of a mask, within a pixel of its edge, which takes the steps out of slanted edges, and nearer where it is
/// thin, which a pixel would change too much: a tenth of its pixels for each that is at its edge keeps about 98 of 100.
fn simplified(mask: &Mask) -> glip::Result<Vec<Polygon>> {
    let exact = mask.polygons(0.0)?;
    let edge: f32 = exact.iter().flat_map(Polygon::rings).map(length).sum();
    let tolerance = (0.1 * mask.area() as f32 / edge.max(1.0)).min(1.0);
    mask.polygons(tolerance)
}

/// Along pixels.
fn length(ring: &[[f32; 2]]) -> f32 {
    let sides = ring.iter().zip(ring.iter().cycle().skip(1));
    sides
        .map(|([x1, y1], [x2, y2])| (x2 - x1).abs() + (y2 - y1).abs())
        .sum()
}

/// One ring that goes along all of them: over a bridge to each, around it, and back over the bridge. What is passed twice
/// encloses nothing, so that what is filled is what all rings fill together, by either rule: holes stay open, as they go
/// the other way round. Bridges are short, since some programs fill the pixels that they pass.
fn joined(rings: &[&[[f32; 2]]]) -> Ring {
    let Some((first, rest)) = rings.split_first() else {
        return Ring::new();
    };
    let mut joined = first.to_vec();
    let mut waiting: Vec<(&[[f32; 2]], Bridge)> = Vec::new();
    waiting.extend(
        rest.iter()
            .filter_map(|&ring| Some((ring, Bridge::between(first, ring)?))),
    );
    while let Some(nearest) = nearest(&waiting) {
        let (ring, bridge) = waiting.swap_remove(nearest);
        let start = joined.iter().position(|corner| *corner == bridge.start);
        let at = start.map_or(joined.len(), |place| place + 1);
        let around = ring.iter().chain([&bridge.end, &bridge.start]);
        joined.splice(at..at, around.copied());
        for (other, known) in &mut waiting {
            if let Some(bridge) = Bridge::between(ring, other)
                && bridge.length < known.length
            {
                *known = bridge;
            }
        }
    }
    joined
}

/// The way to a ring from a corner of another.
#[derive(Clone, Copy)]
struct Bridge {
    start: [f32; 2],
    /// Where the ring begins.
    end: [f32; 2],
    length: f32,
}

impl Bridge {
    /// The shortest; `None` of rings without corners.
    fn between(from: &[[f32; 2]], to: &[[f32; 2]]) -> Option<Self> {
        let &end = to.first()?;
        let bridges = from.iter().map(|&start| Self {
            start,
            end,
            length: (end[0] - start[0]).hypot(end[1] - start[1]),
        });
        bridges.min_by(|a, b| a.length.total_cmp(&b.length))
    }
}

/// The ring with the shortest bridge.
fn nearest(waiting: &[(&[[f32; 2]], Bridge)]) -> Option<usize> {
    let lengths = waiting.iter().map(|(_, bridge)| bridge.length).enumerate();
    let shortest = lengths.min_by(|(_, a), (_, b)| a.total_cmp(b));
    shortest.map(|(place, _)| place)
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
    fn large_things_are_simplified_and_thin_ones_are_not() {
        let disc = |radius: f32| {
            let size = ImageSize::new(400, 400);
            Mask::from_fn(size, |x, y| {
                (x as f32 - 199.5).hypot(y as f32 - 199.5) < radius
            })
            .unwrap()
        };
        for (radius, most, least_iou) in [(2.5, 20, 1.0), (25.0, 60, 0.97), (150.0, 100, 0.99)] {
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
