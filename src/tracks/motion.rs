//! Where something should be by now.

use crate::geometry::BBox;

/// How much the centre of a detection strays, as a share of its box's size; DeepSORT's number.
const DETECTION: f64 = 1.0 / 20.0;

/// How fast something may be that was found once, in sizes of its box a second: ByteTrack's, whose frames are a
/// thirtieth of a second apart.
const FIRST_SPEED: f64 = 2.0;

/// How much the speed changes in a second, in sizes of the box a second: also ByteTrack's.
const CHANGE_OF_SPEED: f64 = 1.0;

/// A box that moves, its centre by a Kalman filter of constant velocity. It stays as large as it was last.
#[derive(Clone, Debug)]
pub(super) struct Motion {
    axes: [Axis; 2],
    sides: [f64; 2],
}

/// One coordinate of the centre and its velocity, with their covariance. Noises of the two axes are independent, so
/// their filters are too.
#[derive(Clone, Debug)]
struct Axis {
    position: f64,
    velocity: f64,
    position_variance: f64,
    covariance: f64,
    velocity_variance: f64,
}

impl Motion {
    /// Of something that was found for the first time.
    pub(super) fn new(bbox: &BBox) -> Self {
        let sides = sides(bbox);
        let size = size(sides);
        let axes = center(bbox).map(|position| Axis {
            position,
            velocity: 0.0,
            position_variance: (DETECTION * size).powi(2),
            covariance: 0.0,
            velocity_variance: (FIRST_SPEED * size).powi(2),
        });
        Self { axes, sides }
    }

    /// Moves on by so many seconds.
    pub(super) fn predict(&mut self, seconds: f64) {
        let density = (CHANGE_OF_SPEED * size(self.sides)).powi(2);
        for axis in &mut self.axes {
            axis.predict(seconds, density);
        }
    }

    /// Takes into account where it was found.
    pub(super) fn correct(&mut self, bbox: &BBox) {
        self.sides = sides(bbox);
        let variance = (DETECTION * size(self.sides)).powi(2);
        for (axis, found) in self.axes.iter_mut().zip(center(bbox)) {
            axis.correct(found, variance);
        }
    }

    /// Where it should be; `None` if it has gone further than numbers do.
    pub(super) fn bbox(&self) -> Option<BBox> {
        let [x, y] = [0, 1].map(|axis| self.axes[axis].position);
        let [dx, dy] = self.sides.map(|side| side / 2.0);
        let corners = [x - dx, y - dy, x + dx, y + dy].map(|edge| edge as f32);
        BBox::try_from(corners).ok()
    }

    /// In pixels a second.
    pub(super) fn velocity(&self) -> [f32; 2] {
        [0, 1].map(|axis| self.axes[axis].velocity as f32)
    }
}

impl Axis {
    /// White noise in the acceleration, of this spectral density.
    fn predict(&mut self, seconds: f64, density: f64) {
        let (square, cube) = (seconds.powi(2), seconds.powi(3));
        self.position += seconds * self.velocity;
        self.position_variance += 2.0 * seconds * self.covariance
            + square * self.velocity_variance
            + density * cube / 3.0;
        self.covariance += seconds * self.velocity_variance + density * square / 2.0;
        self.velocity_variance += density * seconds;
    }

    fn correct(&mut self, found: f64, variance: f64) {
        let innovation = found - self.position;
        let gain = self.position_variance / (self.position_variance + variance);
        let velocity_gain = self.covariance / (self.position_variance + variance);
        self.position += gain * innovation;
        self.velocity += velocity_gain * innovation;
        self.velocity_variance -= velocity_gain * self.covariance;
        self.covariance *= 1.0 - gain;
        self.position_variance *= 1.0 - gain;
    }
}

fn center(bbox: &BBox) -> [f64; 2] {
    let middle = |from: f32, to: f32| f64::midpoint(from.into(), to.into());
    [middle(bbox.x1(), bbox.x2()), middle(bbox.y1(), bbox.y2())]
}

fn sides(bbox: &BBox) -> [f64; 2] {
    [bbox.width().into(), bbox.height().into()]
}

/// What noises are shares of: the mean of the sides, and never nothing.
fn size([width, height]: [f64; 2]) -> f64 {
    f64::midpoint(width, height).max(1.0)
}
