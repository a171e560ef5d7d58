//! From luma and chroma to red, green and blue.

use std::array;

/// What levels of luma and chroma mean, which a buffer does not say: the standard, and the range of levels.
///
/// The wrong one shifts colours and contrast a little, and is hard to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum YuvEncoding {
    /// BT.601, black at 16 and white at 235: the default, as OpenCV takes it and most cameras give it.
    #[default]
    Bt601Limited,
    /// BT.601 with all levels from 0 to 255: JPEG, and cameras that decode it.
    Bt601Full,
    /// BT.709, black at 16 and white at 235: video in high definition.
    Bt709Limited,
    /// BT.709 with all levels from 0 to 255.
    Bt709Full,
}

/// How much a level of luma or chroma adds to the colours, in fixed point.
struct Weights {
    black: u8,
    luma: i16,
    red_of_v: i16,
    green_of_u: i16,
    green_of_v: i16,
    blue_of_u: i16,
}

/// Bits after the point of what is added. Ten bits before it hold every sum, with a sign.
const FRACTION_BITS: u32 = 5;

/// Levels are multiplied by weights after a shift that uses all 16 bits, and of the product the upper 16
/// bits are kept: that is one instruction for many pixels. Chroma has a sign and one bit less.
const LUMA_SHIFT: u32 = 7;
const CHROMA_SHIFT: u32 = 8;

impl Weights {
    /// From the weights of red and blue in luma, and the spans of luma's and chroma's levels.
    const fn new(red: f64, blue: f64, black: u8, luma_span: f64, chroma_span: f64) -> Self {
        const fn fixed(weight: f64, shift: u32) -> i16 {
            let one = (1u32 << (FRACTION_BITS + 16 - shift)) as f64;
            (weight * one + if weight < 0.0 { -0.5 } else { 0.5 }) as i16
        }
        let green = 1.0 - red - blue;
        let (of_v, of_u) = (2.0 * (1.0 - red), 2.0 * (1.0 - blue));
        let chroma = 255.0 / chroma_span;
        Self {
            black,
            luma: fixed(255.0 / luma_span, LUMA_SHIFT),
            red_of_v: fixed(chroma * of_v, CHROMA_SHIFT),
            green_of_u: fixed(-chroma * of_u * blue / green, CHROMA_SHIFT),
            green_of_v: fixed(-chroma * of_v * red / green, CHROMA_SHIFT),
            blue_of_u: fixed(chroma * of_u, CHROMA_SHIFT),
        }
    }
}

impl YuvEncoding {
    const fn weights(self) -> &'static Weights {
        const WEIGHTS: [Weights; 4] = [
            Weights::new(0.299, 0.114, 16, 219.0, 224.0),
            Weights::new(0.299, 0.114, 0, 255.0, 255.0),
            Weights::new(0.2126, 0.0722, 16, 219.0, 224.0),
            Weights::new(0.2126, 0.0722, 0, 255.0, 255.0),
        ];
        match self {
            Self::Bt601Limited => &WEIGHTS[0],
            Self::Bt601Full => &WEIGHTS[1],
            Self::Bt709Limited => &WEIGHTS[2],
            Self::Bt709Full => &WEIGHTS[3],
        }
    }
}

/// Pairs of pixels that are converted at a time. Arrays of a fixed size are what the compiler vectorises.
const PAIRS: usize = 32;
const PIXELS: usize = 2 * PAIRS;

/// The levels of some pixels; U and V are of two pixels each.
struct Block {
    luma: [u8; PIXELS],
    u: [u8; PAIRS],
    v: [u8; PAIRS],
}

impl Block {
    /// With U and V in turn, U at the place of that number.
    #[inline(always)]
    fn new<const U: usize>(luma: [u8; PIXELS], chroma: &[u8; PIXELS]) -> Self {
        let words: [_; PAIRS] = array::from_fn(|pair| word(chroma, pair));
        let [u, v] = [U, 1 - U].map(|place| words.map(|word| byte(word, place)));
        Self { luma, u, v }
    }
}

/// Two bytes in one word: words that are shifted are faster than bytes that are gathered.
#[inline(always)]
fn word(bytes: &[u8], index: usize) -> u16 {
    u16::from_le_bytes([bytes[2 * index], bytes[2 * index + 1]])
}

#[inline(always)]
fn byte(word: u16, place: usize) -> u8 {
    (word >> (8 * place)) as u8
}

/// A row of luma, and one of U and V in turn: U at the place of that number.
#[inline(always)]
pub(super) fn read_interleaved<const U: usize>(
    luma: &[u8],
    chroma: &[u8],
    encoding: YuvEncoding,
    rgb: &mut [u8],
) {
    read(encoding, rgb, |index| {
        Block::new::<U>(chunk(luma, index), &chunk(chroma, index))
    });
}

/// A row of luma and chroma in turn, luma at the place of that number; of two chromas, the first is U.
#[inline(always)]
pub(super) fn read_packed<const LUMA: usize>(row: &[u8], encoding: YuvEncoding, rgb: &mut [u8]) {
    read(encoding, rgb, |index| {
        let row = chunk::<{ 2 * PIXELS }>(row, index);
        let words: [_; PIXELS] = array::from_fn(|pixel| word(&row, pixel));
        let [luma, chroma] = [LUMA, 1 - LUMA].map(|place| words.map(|word| byte(word, place)));
        Block::new::<0>(luma, &chroma)
    });
}

/// Rows of luma, of U and of V.
#[inline(always)]
pub(super) fn read_planar(luma: &[u8], [u, v]: [&[u8]; 2], encoding: YuvEncoding, rgb: &mut [u8]) {
    read(encoding, rgb, |index| Block {
        luma: chunk(luma, index),
        u: chunk(u, index),
        v: chunk(v, index),
    });
}

/// A row of blocks, of which the last may be larger than what is left of the row.
#[inline(always)]
fn read(encoding: YuvEncoding, rgb: &mut [u8], block: impl Fn(usize) -> Block) {
    let weights = encoding.weights();
    for (index, rgb) in rgb.chunks_mut(3 * PIXELS).enumerate() {
        let converted = convert(&block(index), weights);
        rgb.copy_from_slice(&converted.as_flattened()[..rgb.len()]);
    }
}

/// The chunk of so many bytes with this number, with zeros for what is beyond the row's end.
#[inline(always)]
fn chunk<const BYTES: usize>(row: &[u8], index: usize) -> [u8; BYTES] {
    let rest = row.get(index * BYTES..).unwrap_or_default();
    if let Some(chunk) = rest.first_chunk() {
        return *chunk;
    }
    let mut chunk = [0; BYTES];
    chunk[..rest.len()].copy_from_slice(rest);
    chunk
}

#[inline(always)]
fn convert(block: &Block, weights: &Weights) -> [[u8; 3]; PIXELS] {
    let [mut red, mut green, mut blue] = [[[0; 2]; PAIRS]; 3];
    for pair in 0..PAIRS {
        let chroma = |level: u8| (i16::from(level) - 128) << CHROMA_SHIFT;
        let (u, v) = (chroma(block.u[pair]), chroma(block.v[pair]));
        let red_of_chroma = product(v, weights.red_of_v);
        let green_of_chroma = product(u, weights.green_of_u) + product(v, weights.green_of_v);
        let blue_of_chroma = product(u, weights.blue_of_u);
        let luma = [2 * pair, 2 * pair + 1].map(|pixel| {
            // As OpenCV has it, nothing is darker than black.
            let level = block.luma[pixel].saturating_sub(weights.black);
            product(i16::from(level) << LUMA_SHIFT, weights.luma)
        });
        red[pair] = luma.map(|luma| to_level(luma + red_of_chroma));
        green[pair] = luma.map(|luma| to_level(luma + green_of_chroma));
        blue[pair] = luma.map(|luma| to_level(luma + blue_of_chroma));
    }
    let [red, green, blue] = [&red, &green, &blue].map(|levels| levels.as_flattened());
    let mut rgb = [[0; 3]; PIXELS];
    for (pixel, rgb) in rgb.iter_mut().enumerate() {
        *rgb = [red[pixel], green[pixel], blue[pixel]];
    }
    rgb
}

/// The upper half of the product.
#[inline(always)]
fn product(level: i16, weight: i16) -> i16 {
    ((i32::from(level) * i32::from(weight)) >> 16) as i16
}

#[inline(always)]
fn to_level(sum: i16) -> u8 {
    const HALF: i16 = 1 << (FRACTION_BITS - 1);
    ((sum + HALF) >> FRACTION_BITS).clamp(0, 255) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The standards' own formula, in floating point, for every level of luma and every eighth of chroma.
    #[test]
    fn every_encoding_is_its_standards() {
        let cases = [
            (YuvEncoding::Bt601Limited, 0.299, 0.114, true),
            (YuvEncoding::Bt601Full, 0.299, 0.114, false),
            (YuvEncoding::Bt709Limited, 0.2126, 0.0722, true),
            (YuvEncoding::Bt709Full, 0.2126, 0.0722, false),
        ];
        for (encoding, kr, kb, is_limited) in cases {
            let (black, luma_span, chroma_span) = match is_limited {
                true => (16.0, 219.0, 224.0),
                false => (0.0, 255.0, 255.0),
            };
            let levels = || (0..=255_u8).step_by(51);
            for (u, v) in levels().flat_map(|u| levels().map(move |v| (u, v))) {
                let lumas: Vec<u8> = (0..=255).collect();
                let pairs = lumas.as_chunks::<2>().0.iter();
                let row: Vec<u8> = pairs.flat_map(|&[y, next]| [y, u, next, v]).collect();
                let mut rgb = [0; 3 * 256];
                read_packed::<0>(&row, encoding, &mut rgb);

                for (&y, found) in lumas.iter().zip(rgb.as_chunks::<3>().0) {
                    let luma = (f64::from(y) - black).max(0.0) / luma_span;
                    let [cb, cr] = [u, v].map(|level| (f64::from(level) - 128.0) / chroma_span);
                    let red = luma + 2.0 * (1.0 - kr) * cr;
                    let blue = luma + 2.0 * (1.0 - kb) * cb;
                    let green = (luma - kr * red - kb * blue) / (1.0 - kr - kb);
                    let expected = [red, green, blue].map(|c| (255.0 * c).clamp(0.0, 255.0));
                    for (&found, expected) in found.iter().zip(expected) {
                        let difference = (f64::from(found) - expected).abs();
                        assert!(
                            difference <= 0.75,
                            "{encoding:?} {y} {u} {v}: {found}, {expected}"
                        );
                    }
                }
            }
        }
    }
}
