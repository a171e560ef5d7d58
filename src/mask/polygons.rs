//! Outlines of masks.

use super::mask::Mask;
use crate::error::{Error, Result};

/// A closed line through corners of pixels, x and y, whose last corner is joined to the first.
type Ring = Vec<[f32; 2]>;

/// The outline of a part of a mask, with those of the holes in it.
///
/// Corners are x and y in pixels of the image, edges continuous: a pixel at 3 reaches from 3 to 4. No corner is
/// repeated at the end. Outer rings go clockwise, as they are looked at, holes the other way.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Polygon {
    /// Around the part. `outer.as_flattened()` is COCO's `[x1, y1, x2, y2, ...]`.
    pub outer: Vec<[f32; 2]>,
    /// Around what is left out of it.
    pub holes: Vec<Vec<[f32; 2]>>,
}

impl Polygon {
    /// All of it: the outer ring, then those of its holes.
    pub fn rings(&self) -> impl Iterator<Item = &[[f32; 2]]> {
        let rings = std::iter::once(&self.outer).chain(&self.holes);
        rings.map(Vec::as_slice)
    }
}

impl Mask {
    /// The outlines of its pixels, from top to bottom: a polygon for every part whose pixels share sides.
    ///
    /// They go along the edges of pixels, so that filled they are the mask again. With a `tolerance`, in pixels, corners
    /// are left out as long as the outline stays that close to each of them (Douglas-Peucker); 1 takes the steps
    /// out of slanted edges. No outline is left with fewer than three corners: one that would be keeps all of its own.
    ///
    /// ```
    /// use glip::{ImageSize, Mask};
    ///
    /// let ring = Mask::from_fn(ImageSize::new(9, 9), |x, y| (x, y) != (4, 2) && x.max(y) < 6)?;
    /// let polygons = ring.polygons(0.0)?;
    /// assert_eq!(polygons[0].outer, [[0.0, 0.0], [6.0, 0.0], [6.0, 6.0], [0.0, 6.0]]);
    /// assert_eq!(polygons[0].holes, [[[4.0, 3.0], [5.0, 3.0], [5.0, 2.0], [4.0, 2.0]]]);
    /// assert_eq!(polygons.len(), 1);
    /// # Ok::<(), glip::Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`Error::InvalidOption`]: the tolerance is negative, or no number.
    pub fn polygons(&self, tolerance: f32) -> Result<Vec<Polygon>> {
        if tolerance.is_nan() || tolerance < 0.0 {
            return Err(Error::InvalidOption {
                option: "tolerance",
                found: tolerance.to_string(),
                expected: "a number of pixels, at least 0",
            });
        }
        let mut edges = UprightEdges::of(self);
        let mut polygons: Vec<Polygon> = Vec::new();
        for y in 0..self.size().height {
            for index in edges.of_row(y) {
                if edges.polygon[index].is_some() {
                    continue;
                }
                // The uppermost edge of a ring, and of those the leftmost, has the mask to its right, or the hole.
                // To the left of a hole is a run of the part that it is in, whose left edge was come by before.
                let (x, around_hole) = (edges.x[index], edges.is_right(index));
                let of_part = around_hole.then(|| edges.polygon[index - 1]).flatten();
                let polygon = of_part.unwrap_or(polygons.len());
                let start = if around_hole {
                    Step::down(x, y)
                } else {
                    Step::up(x, y)
                };
                let ring = simplified(
                    trace(self, start, |x, y| edges.claim(x, y, polygon)),
                    tolerance,
                );
                match polygons.get_mut(polygon) {
                    Some(part) => part.holes.push(ring),
                    None => polygons.push(Polygon {
                        outer: ring,
                        holes: Vec::new(),
                    }),
                }
            }
        }
        Ok(polygons)
    }
}

/// The upright edges between pixels of a mask and others, row by row, from left to right: the left and the right one of
/// every run in turn.
struct UprightEdges {
    x: Vec<u32>,
    /// The polygon that an edge is part of, once it is known.
    polygon: Vec<Option<usize>>,
    /// Where each row begins, and the last one ends.
    rows: Vec<usize>,
}

impl UprightEdges {
    fn of(mask: &Mask) -> Self {
        let (mut x, mut rows) = (Vec::new(), vec![0]);
        for y in 0..mask.size().height {
            x.extend(mask.runs(y).flat_map(|run| [run.start, run.end]));
            rows.push(x.len());
        }
        let polygon = vec![None; x.len()];
        Self { x, polygon, rows }
    }

    fn of_row(&self, y: u32) -> std::ops::Range<usize> {
        self.rows[y as usize]..self.rows[y as usize + 1]
    }

    /// Whether it is the right edge of a run.
    fn is_right(&self, index: usize) -> bool {
        // Every row has an even number of edges.
        index % 2 == 1
    }

    /// Notes which polygon the edge of row `y` at `x` is part of.
    fn claim(&mut self, x: u32, y: u32, polygon: usize) {
        let row = self.of_row(y);
        if let Ok(place) = self.x[row.clone()].binary_search(&x) {
            self.polygon[row.start + place] = Some(polygon);
        }
    }
}

/// A corner of a pixel, and the way that the outline goes on from there.
#[derive(Clone, Copy, PartialEq)]
struct Step {
    x: u32,
    y: u32,
    way: Way,
}

/// In the order of turns to the right.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Right,
    Down,
    Left,
    Up,
}

impl Step {
    /// Along the pixel at the left of which the mask ends.
    fn down(x: u32, y: u32) -> Self {
        let way = Way::Down;
        Self { x, y, way }
    }

    /// Along the pixel at which the mask begins.
    fn up(x: u32, y: u32) -> Self {
        let way = Way::Up;
        Self { x, y: y + 1, way }
    }

    /// The row whose pixels it passes between, if it goes up or down.
    fn row(self) -> Option<u32> {
        match self.way {
            Way::Down => Some(self.y),
            // It starts at the bottom of that row.
            Way::Up => Some(self.y - 1),
            Way::Right | Way::Left => None,
        }
    }

    /// The step after it: with the mask to its right, around one pixel rather than on to one that only touches it.
    fn next(self, mask: &Mask) -> Self {
        let Self { x, y, way } = self;
        let (x, y) = match way {
            Way::Right => (x + 1, y),
            Way::Down => (x, y + 1),
            Way::Left => (x - 1, y),
            Way::Up => (x, y - 1),
        };
        // The pixels around the corner; those left of 0 are far to the right of the mask.
        let (west, north) = (x.wrapping_sub(1), y.wrapping_sub(1));
        let (right, left, ahead_right, ahead_left) = match way {
            Way::Right => (Way::Down, Way::Up, (x, y), (x, north)),
            Way::Down => (Way::Left, Way::Right, (west, y), (x, y)),
            Way::Left => (Way::Up, Way::Down, (west, north), (west, y)),
            Way::Up => (Way::Right, Way::Left, (x, north), (west, north)),
        };
        let contains = |(x, y)| mask.contains(x, y);
        let way = match (contains(ahead_right), contains(ahead_left)) {
            (false, _) => right,
            (true, true) => left,
            (true, false) => way,
        };
        Self { x, y, way }
    }
}

/// Follows an outline from `start` until it is there again; `upright` gets x and row of all edges between left and right.
fn trace(mask: &Mask, start: Step, mut upright: impl FnMut(u32, u32)) -> Ring {
    let mut ring = Ring::new();
    let mut step = start;
    loop {
        if let Some(y) = step.row() {
            upright(step.x, y);
        }
        let next = step.next(mask);
        if next.way != step.way {
            ring.push([next.x as f32, next.y as f32]);
        }
        step = next;
        if step == start {
            return ring;
        }
    }
}

/// The ring without the corners that stay within `tolerance` of it, by Douglas and Peucker.
fn simplified(ring: Ring, tolerance: f32) -> Ring {
    let distance = |index: usize| distance_to_segment(ring[index], ring[0], ring[0]);
    let farthest = (1..ring.len()).max_by(|&a, &b| distance(a).total_cmp(&distance(b)));
    let Some(opposite) = farthest.filter(|_| tolerance > 0.0) else {
        return ring;
    };
    let mut kept = vec![false; ring.len()];
    kept[0] = true;
    kept[opposite] = true;
    // Between two corners that are kept, the one farthest from the line between them is kept if it is too far. The ring's
    // end is its beginning.
    let mut spans = vec![(0, opposite), (opposite, ring.len())];
    while let Some((from, to)) = spans.pop() {
        let (start, end) = (ring[from], ring[to % ring.len()]);
        let distances = (from + 1..to).map(|at| (at, distance_to_segment(ring[at], start, end)));
        let farthest = distances.max_by(|(_, a), (_, b)| a.total_cmp(b));
        if let Some((at, _)) = farthest.filter(|&(_, distance)| distance > tolerance) {
            kept[at] = true;
            spans.extend([(from, at), (at, to)]);
        }
    }
    let corners = ring.iter().zip(&kept).filter(|&(_, &kept)| kept);
    let simple: Ring = corners.map(|(&corner, _)| corner).collect();
    if simple.len() < 3 { ring } else { simple }
}

fn distance_to_segment([x, y]: [f32; 2], [x1, y1]: [f32; 2], [x2, y2]: [f32; 2]) -> f32 {
    let (along_x, along_y) = (x2 - x1, y2 - y1);
    let length_squared = along_x * along_x + along_y * along_y;
    let projected = (x - x1) * along_x + (y - y1) * along_y;
    let share = if length_squared > 0.0 {
        (projected / length_squared).clamp(0.0, 1.0)
    } else {
        0.0
    };
    (x - x1 - share * along_x).hypot(y - y1 - share * along_y)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{geometry::ImageSize, mask::mask::tests::any_mask};

    fn drawn(rows: &[&str]) -> Mask {
        let size = ImageSize::new(rows[0].len() as u32, rows.len() as u32);
        Mask::from_fn(size, |x, y| rows[y as usize].as_bytes()[x as usize] == b'#').unwrap()
    }

    fn sides(ring: &[[f32; 2]]) -> impl Iterator<Item = ([f32; 2], [f32; 2])> + '_ {
        ring.iter()
            .copied()
            .zip(ring.iter().copied().cycle().skip(1))
    }

    /// The pixels whose middle has an odd number of sides to its left.
    fn filled(size: ImageSize, polygons: &[Polygon]) -> Mask {
        let sides: Vec<_> = polygons
            .iter()
            .flat_map(Polygon::rings)
            .flat_map(sides)
            .collect();
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
        sides(ring)
            .map(|([x1, y1], [x2, y2])| x1 * y2 - x2 * y1)
            .sum::<f32>()
            / 2.0
    }

    #[test]
    fn parts_and_holes_are_told_apart() {
        for (rows, expected) in [
            // For each polygon the area of its outer ring and of its holes.
            (&["...", "..."][..], vec![]),
            (&["###", "###"], vec![(6.0, vec![])]),
            (&["#.", ".#"], vec![(1.0, vec![]), (1.0, vec![])]),
            (&["####", "#.##", "##.#", "####"], vec![(16.0, vec![2.0])]),
            (&["#####", "#.#.#", "#####"], vec![(15.0, vec![1.0, 1.0])]),
            // A part in a hole of another, and a hole in it.
            (
                &[
                    "#######", "#.....#", "#.###.#", "#.#.#.#", "#.###.#", "#.....#", "#######",
                ],
                vec![(49.0, vec![25.0]), (9.0, vec![1.0])],
            ),
            // The hole's left neighbour is a run between two holes.
            (
                &["######", "#.####", "#.#.##", "######"],
                vec![(24.0, vec![2.0, 1.0])],
            ),
        ] {
            let mask = drawn(rows);
            let polygons = mask.polygons(0.0).unwrap();
            let areas: Vec<_> = polygons
                .iter()
                .map(|polygon| {
                    (
                        area(&polygon.outer),
                        polygon.holes.iter().map(|hole| -area(hole)).collect(),
                    )
                })
                .collect();
            assert_eq!(areas, expected, "{rows:?}");
        }
    }

    #[test]
    fn a_tolerance_takes_steps_out_of_slanted_edges() {
        let triangle = Mask::from_fn(ImageSize::new(40, 40), |x, y| x <= y).unwrap();
        let corners = |tolerance| triangle.polygons(tolerance).unwrap()[0].outer.len();
        assert_eq!((corners(0.0), corners(1.0)), (82, 3));
        let pixel = Mask::from_fn(ImageSize::new(5, 5), |x, y| (x, y) == (2, 2)).unwrap();
        assert_eq!(pixel.polygons(50.0).unwrap(), pixel.polygons(0.0).unwrap());
        for tolerance in [-1.0, f32::NAN] {
            let error = pixel.polygons(tolerance).unwrap_err();
            assert!(error.to_string().contains("option tolerance is"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn polygons_filled_are_the_mask(mask in any_mask()) {
            let polygons = mask.polygons(0.0).unwrap();
            prop_assert_eq!(&filled(mask.size(), &polygons), &mask);
            prop_assert!(polygons.iter().all(|polygon| area(&polygon.outer) > 0.0));
            prop_assert!(polygons.iter().flat_map(|polygon| &polygon.holes).all(|hole| area(hole) < 0.0));
            let pixels: f32 = polygons.iter().flat_map(Polygon::rings).map(area).sum();
            prop_assert_eq!(pixels, mask.area() as f32);
            // Each fills a part of the mask by itself.
            let parts = polygons.iter().map(|polygon| filled(mask.size(), std::slice::from_ref(polygon)).area());
            prop_assert_eq!(parts.sum::<u64>(), mask.area());
        }

        #[test]
        fn outlines_stay_within_the_tolerance(mask in any_mask(), tolerance in 0.0f32..5.0) {
            let (exact, simple) = (mask.polygons(0.0).unwrap(), mask.polygons(tolerance).unwrap());
            prop_assert_eq!(exact.len(), simple.len());
            let polygons = exact.iter().zip(&simple);
            for (exact, simple) in polygons.flat_map(|(exact, simple)| exact.rings().zip(simple.rings())) {
                prop_assert!(simple.len() >= 3 && simple.len() <= exact.len());
                for &corner in exact {
                    let nearest = sides(simple)
                        .map(|(start, end)| distance_to_segment(corner, start, end))
                        .min_by(f32::total_cmp);
                    prop_assert!(nearest.unwrap() <= tolerance, "{:?} is {:?} away", corner, nearest);
                }
            }
        }
    }
}
