//! From a sensor's raw levels to red, green and blue, bilinear: what a pixel lacks is the mean of its nearest
//! neighbours of that colour.

use super::pixel_format::PixelFormat;

/// The colour that a row has beside green.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Other {
    Red,
    Blue,
}

/// A row of the mosaic and the ones above and below it, and what its filters are.
pub(super) struct Rows<'a> {
    above: &'a [u8],
    row: &'a [u8],
    below: &'a [u8],
    other: Other,
    begins_green: bool,
}

impl<'a> Rows<'a> {
    /// The rows around `y` in an image of at least two. Beyond its edges, it goes on as in a mirror, which keeps
    /// the order of the filters.
    pub(super) fn new(
        format: PixelFormat,
        y: usize,
        height: usize,
        row: impl Fn(usize) -> &'a [u8],
    ) -> Self {
        let (first, begins_green) = match format {
            PixelFormat::BayerBggr8 => (Other::Blue, false),
            PixelFormat::BayerGbrg8 => (Other::Blue, true),
            PixelFormat::BayerGrbg8 => (Other::Red, true),
            _ => (Other::Red, false),
        };
        let is_first = y.is_multiple_of(2);
        let is_red = (first == Other::Red) == is_first;
        let last = height - 1;
        Self {
            above: row(if y == 0 { 1 } else { y - 1 }),
            row: row(y),
            below: row(if y == last { last - 1 } else { y + 1 }),
            other: if is_red { Other::Red } else { Other::Blue },
            begins_green: begins_green == is_first,
        }
    }

    #[inline(always)]
    pub(super) fn read(&self, rgb: &mut [u8]) {
        match (self.other, self.begins_green) {
            (Other::Red, false) => self.read_as::<false, false>(rgb),
            (Other::Red, true) => self.read_as::<false, true>(rgb),
            (Other::Blue, false) => self.read_as::<true, false>(rgb),
            (Other::Blue, true) => self.read_as::<true, true>(rgb),
        }
    }

    #[inline(always)]
    fn read_as<const IS_BLUE: bool, const BEGINS_GREEN: bool>(&self, rgb: &mut [u8]) {
        let (pixels, _) = rgb.as_chunks_mut::<3>();
        let last = pixels.len() - 1;
        let around = |left: usize, here: usize, right: usize| {
            [self.above, self.row, self.below].map(|row| [row[left], row[here], row[right]])
        };
        let is_green = |x: usize| x.is_multiple_of(2) == BEGINS_GREEN;
        pixels[0] = pixel::<IS_BLUE>(is_green(0), around(1, 0, 1));
        pixels[last] = pixel::<IS_BLUE>(is_green(last), around(last - 1, last, last - 1));
        let rows = self
            .above
            .windows(3)
            .zip(self.row.windows(3))
            .zip(self.below.windows(3));
        for (x, (rgb, ((above, row), below))) in pixels[1..].iter_mut().zip(rows).enumerate() {
            let rows = [above, row, below].map(|row| [row[0], row[1], row[2]]);
            *rgb = pixel::<IS_BLUE>(is_green(x + 1), rows);
        }
    }
}

/// The pixel in the middle, in a row of red or of blue.
#[inline(always)]
fn pixel<const IS_BLUE: bool>(is_green: bool, around: [[u8; 3]; 3]) -> [u8; 3] {
    let [[a, b, c], [d, here, f], [g, h, i]] = around.map(|row| row.map(u16::from));
    let sides = d + f;
    let upright = b + h;
    let (own, green, opposite) = match is_green {
        true => ((sides + 1) >> 1, here, (upright + 1) >> 1),
        false => (here, (sides + upright + 2) >> 2, (a + c + g + i + 2) >> 2),
    };
    match IS_BLUE {
        false => [own, green, opposite],
        true => [opposite, green, own],
    }
    .map(|level| level as u8)
}
