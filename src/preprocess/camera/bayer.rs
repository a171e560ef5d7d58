//! From a sensor's raw levels to red, green and blue, bilinear: what a pixel lacks is the mean of its nearest
//! neighbours of that colour.

use std::array;

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
        for (index, rgb) in rgb.chunks_mut(3 * PIXELS).enumerate() {
            let around = [self.above, self.row, self.below].map(|row| around(row, index * PIXELS));
            let pixels = convert::<IS_BLUE, BEGINS_GREEN>(&around);
            rgb.copy_from_slice(&pixels.as_flattened()[..rgb.len()]);
        }
    }
}

/// Pixels that are converted at a time, an even number. Arrays of a fixed size are what the compiler vectorises.
const PIXELS: usize = 64;

/// A part of a row, with a pixel more on both sides.
type Around = [u8; PIXELS + 2];

/// The part that begins there. The mirror is at the edges of the row; what is beyond it does not matter.
#[inline(always)]
fn around(row: &[u8], begin: usize) -> Around {
    if let Some(rest) = begin.checked_sub(1).and_then(|begin| row.get(begin..))
        && let Some(around) = rest.first_chunk()
    {
        return *around;
    }
    let last = row.len() - 1;
    array::from_fn(|place| match begin + place {
        0 => row[1],
        place if place <= last + 1 => row[place - 1],
        _ => row[last - 1],
    })
}

/// The pixels of a part of a row of red or of blue.
#[inline(always)]
fn convert<const IS_BLUE: bool, const BEGINS_GREEN: bool>(
    [above, row, below]: &[Around; 3],
) -> [[u8; 3]; PIXELS] {
    let at = |row: &Around, place: usize| u16::from(row[place]);
    let is_green = |pixel: usize| pixel.is_multiple_of(2) == BEGINS_GREEN;
    let sides: [_; PIXELS] = array::from_fn(|pixel| at(row, pixel) + at(row, pixel + 2));
    let upright: [_; PIXELS] = array::from_fn(|pixel| at(above, pixel + 1) + at(below, pixel + 1));
    let corners: [_; PIXELS] = array::from_fn(|pixel| {
        at(above, pixel) + at(above, pixel + 2) + at(below, pixel) + at(below, pixel + 2)
    });
    let own: [_; PIXELS] = array::from_fn(|pixel| match is_green(pixel) {
        true => ((sides[pixel] + 1) >> 1) as u8,
        false => row[pixel + 1],
    });
    let green: [_; PIXELS] = array::from_fn(|pixel| match is_green(pixel) {
        true => row[pixel + 1],
        false => ((sides[pixel] + upright[pixel] + 2) >> 2) as u8,
    });
    let opposite: [_; PIXELS] = array::from_fn(|pixel| match is_green(pixel) {
        true => ((upright[pixel] + 1) >> 1) as u8,
        false => ((corners[pixel] + 2) >> 2) as u8,
    });
    let mut rgb = [[0; 3]; PIXELS];
    for (pixel, rgb) in rgb.iter_mut().enumerate() {
        *rgb = match IS_BLUE {
            false => [own[pixel], green[pixel], opposite[pixel]],
            true => [opposite[pixel], green[pixel], own[pixel]],
        };
    }
    rgb
}
