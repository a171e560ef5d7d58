//! COCO's run lengths: what data sets and evaluations keep masks in.

use std::{iter, ops::Range};

use serde::{Deserialize, Serialize};

use super::{
    bits::{Bits, lowest, places},
    mask::{Mask, checked_size},
};
use crate::{
    error::{Error, Result},
    geometry::ImageSize,
};

/// A mask in COCO's run lengths: how many pixels do not belong to it, how many then do, and so on, down its columns
/// from left to right.
///
/// As JSON it is `{"size": [height, width], "counts": "..."}`, the compressed form that pycocotools writes; counts as
/// a list, as COCO's crowds have them, are read too. Other entries are passed over.
///
/// ```
/// use glip::{ImageSize, Mask, parts::Rle};
///
/// let mask = Mask::from_fn(ImageSize::new(3, 2), |x, _| x == 1)?;
/// let rle = mask.rle();
/// assert_eq!((rle.counts(), rle.to_compressed().as_str()), (&[2, 2, 2][..], "222"));
/// assert_eq!(rle, Rle::from_compressed(rle.size(), "222")?);
/// assert_eq!(Mask::from(&rle), mask);
///
/// let crowd: Rle = serde_json::from_str(r#"{"size":[2,3],"counts":[2,2,2]}"#)?;
/// assert_eq!(serde_json::to_string(&crowd)?, r#"{"size":[2,3],"counts":"222"}"#);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "CocoRle", into = "CocoRle")]
pub struct Rle {
    size: ImageSize,
    counts: Vec<u32>,
}

/// Run lengths as COCO's files have them.
#[derive(Serialize, Deserialize)]
struct CocoRle {
    /// Height, then width.
    size: [u32; 2],
    counts: CocoCounts,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum CocoCounts {
    Compressed(String),
    Lengths(Vec<u32>),
}

impl From<Rle> for CocoRle {
    fn from(rle: Rle) -> Self {
        Self {
            size: [rle.size.height, rle.size.width],
            counts: CocoCounts::Compressed(rle.to_compressed()),
        }
    }
}

impl TryFrom<CocoRle> for Rle {
    type Error = Error;

    fn try_from(coco: CocoRle) -> Result<Self> {
        let [height, width] = coco.size;
        let size = ImageSize::new(width, height);
        match coco.counts {
            CocoCounts::Compressed(text) => Self::from_compressed(size, &text),
            CocoCounts::Lengths(counts) => Self::from_counts(size, counts),
        }
    }
}

impl Rle {
    /// Runs of these lengths, COCO's uncompressed form: the first is of pixels that do not belong to the mask.
    ///
    /// # Errors
    /// - [`Error::MaskSize`]: a side has no pixel, or more than 65,535.
    /// - [`Error::RunLengths`]: they do not add up to the pixels of the mask.
    pub fn from_counts(size: ImageSize, counts: Vec<u32>) -> Result<Self> {
        let size = checked_size(size)?;
        let sum: u64 = counts.iter().copied().map(u64::from).sum();
        if sum != size.pixels() {
            let reason = format!("they add up to {sum} pixels, which are {}", size.pixels());
            return Err(unusable(size, reason));
        }
        Ok(Self { size, counts })
    }

    /// Reads COCO's compressed form, the `counts` that pycocotools writes.
    ///
    /// # Errors
    /// - [`Error::MaskSize`]: a side has no pixel, or more than 65,535.
    /// - [`Error::RunLengths`]: the text is not in that form, or the runs do not add up to the pixels of the mask.
    pub fn from_compressed(size: ImageSize, text: &str) -> Result<Self> {
        let mut counts: Vec<u32> = Vec::new();
        let mut bytes = text.bytes().enumerate();
        while let Some(number) = next_number(&mut bytes) {
            let difference = number.map_err(|reason| unusable(size, reason))?;
            let before = compared_with(&counts, counts.len());
            // Neither has more than 35 bits.
            let count = before + difference;
            let count = u32::try_from(count)
                .map_err(|_| unusable(size, format!("run {} is {count} long", counts.len())))?;
            counts.push(count);
        }
        Self::from_counts(size, counts)
    }

    /// The size of the mask.
    pub fn size(&self) -> ImageSize {
        self.size
    }

    /// The lengths of the runs, COCO's uncompressed form: the first is of pixels that do not belong to the mask.
    pub fn counts(&self) -> &[u32] {
        &self.counts
    }

    /// How many pixels belong to the mask.
    pub fn area(&self) -> u64 {
        let runs = self.counts.iter().skip(1).step_by(2);
        runs.copied().map(u64::from).sum()
    }

    /// The same pixels in an image of which this is the part whose upper left pixel is at `x`, `y`: from a tile to all of
    /// its image.
    ///
    /// ```
    /// use glip::{ImageSize, Mask, parts::Rle};
    ///
    /// let (tile, image) = (ImageSize::new(2, 2), ImageSize::new(6, 4));
    /// let in_tile = Mask::from_fn(tile, |x, _| x == 1)?.rle();
    /// let in_image = Mask::from_fn(image, |x, y| x == 4 && (1..3).contains(&y))?.rle();
    /// assert_eq!(in_tile.placed(image, 3, 1)?, in_image);
    /// # Ok::<(), glip::Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`Error::MaskSize`]: a side of the image has no pixel, or more than 65,535.
    /// - [`Error::MaskMismatch`]: the part reaches beyond the image.
    pub fn placed(&self, image: ImageSize, x: u32, y: u32) -> Result<Self> {
        let image = checked_size(image)?;
        let ImageSize { width, height } = self.size;
        let room = ImageSize::new(
            image.width.saturating_sub(x),
            image.height.saturating_sub(y),
        );
        if width > room.width || height > room.height {
            return Err(Error::MaskMismatch {
                expected: format!("at most {room}"),
                found: self.size.to_string(),
            });
        }
        let place = |across: u32, down: u32| {
            u64::from(x + across) * u64::from(image.height) + u64::from(y + down)
        };
        let mut changes: Vec<u64> = Vec::new();
        for (column, rows) in self.pieces() {
            let (start, end) = (place(column, rows.start), place(column, rows.end));
            match changes.last_mut() {
                // A column as high as the image goes on in the next one.
                Some(last) if *last == start => *last = end,
                _ => changes.extend([start, end]),
            }
        }
        // At the end of the image nothing changes.
        let changes = changes.into_iter().filter(|&at| at < image.pixels());
        Ok(Self::from_changes(image, changes))
    }

    /// COCO's compressed form: every length after the third as its difference from the one before the last, in
    /// characters of five bits, the lowest first.
    pub fn to_compressed(&self) -> String {
        let mut text = String::new();
        for (index, &count) in self.counts.iter().enumerate() {
            let mut rest = i64::from(count) - compared_with(&self.counts, index);
            loop {
                let low = (rest & 0x1f) as u8;
                rest >>= 5;
                // The highest of the bits that are written is the sign.
                let sign = if low & 0x10 == 0 { 0 } else { -1 };
                let more = rest != sign;
                text.push(char::from(FIRST + (low | u8::from(more) << 5)));
                if !more {
                    break;
                }
            }
        }
        text
    }

    /// Of the places, down the columns, at which pixels differ from the one before.
    fn from_changes(size: ImageSize, changes: impl Iterator<Item = u64>) -> Self {
        let mut start = 0;
        let counts = changes.chain(iter::once(size.pixels())).map(|end| {
            let length = end - start;
            start = end;
            // A mask has fewer than 2^32 pixels.
            length as u32
        });
        let counts = counts.collect();
        Self { size, counts }
    }

    /// The runs of pixels that belong to the mask, each cut where a column ends: the column, and its rows.
    fn pieces(&self) -> impl Iterator<Item = (u32, Range<u32>)> + '_ {
        let height = u64::from(self.size.height);
        let (mut counts, mut at, mut end) = (self.counts.iter(), 0, 0);
        iter::from_fn(move || {
            while at == end {
                at += u64::from(*counts.next()?);
                end = at + u64::from(*counts.next()?);
            }
            let (column, row) = (at / height, at % height);
            let bottom = height.min(row + end - at);
            at += bottom - row;
            // Sides are below 65,536.
            Some((column as u32, row as u32..bottom as u32))
        })
    }
}

/// The run lengths as a mask with a score of 1.
impl From<&Rle> for Mask {
    fn from(rle: &Rle) -> Self {
        let (width, height) = (rle.size.width as usize, rle.size.height as usize);
        // First the pixels that differ from the one above, two in a column for a run; a bit at a time, large areas
        // would take seconds.
        let mut bits = Bits::zeros(width * height);
        for (x, rows) in rle.pieces() {
            for y in [rows.start as usize, rows.end as usize] {
                if y < height {
                    bits.flip(y * width + x as usize, 1);
                }
            }
        }
        bits.sum_down(width);
        Self::from_bits(rle.size, bits)
    }
}

impl Mask {
    /// The mask in COCO's run lengths, to be written to a file. No run but the first has length 0.
    pub fn rle(&self) -> Rle {
        Rle::from_changes(self.size(), changes(self))
    }
}

/// The character that stands for five bits of 0.
const FIRST: u8 = b'0';

/// The run that another one is written as the difference from: 0 in place of it for the first three.
fn compared_with(counts: &[u32], index: usize) -> i64 {
    if index > 2 {
        i64::from(counts[index - 2])
    } else {
        0
    }
}

/// The next number of a compressed form; why there is none, in words, if what comes is not one.
fn next_number(
    bytes: &mut impl Iterator<Item = (usize, u8)>,
) -> Option<std::result::Result<i64, String>> {
    let mut number = 0;
    let mut shift = 0;
    let mut last = bytes.next()?;
    loop {
        let (place, byte) = last;
        let bits = byte.wrapping_sub(FIRST);
        if bits >= 1 << 6 {
            let byte = byte.escape_ascii();
            return Some(Err(format!(
                "character {place} of counts is {byte}, not one from 0 to o"
            )));
        }
        number |= i64::from(bits & 0x1f) << shift;
        shift += 5;
        if bits & 0x20 == 0 {
            let negative = bits & 0x10 != 0;
            return Some(Ok(if negative {
                number | -1 << shift
            } else {
                number
            }));
        }
        // No difference of 32-bit numbers takes more than 33 bits.
        if shift == 35 {
            return Some(Err(format!(
                "the number up to character {place} of counts goes on beyond 35 bits"
            )));
        }
        match bytes.next() {
            Some(next) => last = next,
            None => return Some(Err("counts end within a number".to_owned())),
        }
    }
}

fn unusable(size: ImageSize, reason: String) -> Error {
    Error::RunLengths {
        size: size.to_string(),
        reason,
    }
}

/// The places, down the columns, of pixels that differ from the one before, in order; the first is
/// compared with one that does not belong to the mask.
///
/// Rows are compared a word at a time, with the row above or, at the top, with the bottom one a pixel to the left.
fn changes(mask: &Mask) -> impl Iterator<Item = u64> {
    let ImageSize { width, height } = mask.size();
    let bits = mask.bits();
    let row = |y: u32| y as usize * width as usize;
    let mut found = Vec::new();
    for y in 0..height {
        for x in (0..width).step_by(64) {
            let here = bits.word_at(row(y) + x as usize);
            let before = match (y, x) {
                (0, 0) => bits.word_at(row(height - 1)) << 1,
                (0, _) => bits.word_at(row(height - 1) + x as usize - 1),
                _ => bits.word_at(row(y - 1) + x as usize),
            };
            let columns = places((here ^ before) & lowest((width - x) as usize))
                .map(|place| u64::from(x) + place as u64);
            found.extend(columns.map(|x| x * u64::from(height) + u64::from(y)));
        }
    }
    found.sort_unstable();
    found.into_iter()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mask::mask::tests::any_mask;

    /// As the definition says it, a pixel at a time.
    fn naive(mask: &Mask) -> Vec<u32> {
        let ImageSize { width, height } = mask.size();
        let (mut counts, mut current) = (vec![0], false);
        for (x, y) in (0..width).flat_map(|x| (0..height).map(move |y| (x, y))) {
            if mask.contains(x, y) != current {
                counts.push(0);
                current = !current;
            }
            *counts.last_mut().unwrap() += 1;
        }
        counts
    }

    #[test]
    fn what_are_no_run_lengths_is_refused_with_the_reason() {
        let json = |counts: &str| format!(r#"{{"size":[2,3],"counts":{counts}}}"#);
        for (counts, reason) in [
            ("[1,2,4]", "they add up to 7 pixels, which are 6"),
            ("[]", "they add up to 0 pixels"),
            (r#""""#, "they add up to 0 pixels"),
            (r#""14""#, "they add up to 5 pixels"),
            (
                r#""1 1""#,
                "character 1 of counts is  , not one from 0 to o",
            ),
            (r#""1é""#, "character 1 of counts is \\xc3"),
            (r#""1p""#, "character 1 of counts is p"),
            (r#""1o""#, "counts end within a number"),
            (
                r#""oooooooo0""#,
                "the number up to character 6 of counts goes on beyond 35 bits",
            ),
            (r#""1N""#, "run 1 is -2 long"),
        ] {
            let error = serde_json::from_str::<Rle>(&json(counts)).unwrap_err();
            let expected =
                format!("run lengths of a mask of 3 x 2 pixels are not usable: {reason}");
            assert!(error.to_string().contains(&expected), "{counts}: {error}");
        }
        let huge = r#"{"size":[4294967295,4294967295],"counts":"1"}"#;
        let error = serde_json::from_str::<Mask>(huge).unwrap_err();
        assert!(
            error.to_string().contains("a side has 1 to 65535"),
            "{error}"
        );
    }

    #[test]
    fn runs_without_length_are_kept_and_change_nothing() {
        let size = ImageSize::new(3, 2);
        let rle = Rle::from_counts(size, vec![1, 2, 0, 1, 0, 1, 1, 0]).unwrap();
        assert_eq!(Mask::from(&rle).rle().counts(), [1, 4, 1]);
        let read = Rle::from_compressed(size, &rle.to_compressed()).unwrap();
        assert_eq!(read, rle);
    }

    proptest! {
        #[test]
        fn every_form_gives_the_mask_back(mask in any_mask()) {
            let rle = mask.rle();
            prop_assert_eq!(rle.counts(), naive(&mask));
            prop_assert_eq!(rle.area(), mask.area());
            let read = Rle::from_compressed(mask.size(), &rle.to_compressed()).unwrap();
            prop_assert_eq!(&read, &rle);
            prop_assert_eq!(Rle::from_counts(mask.size(), rle.counts().to_vec()).unwrap(), read);
            prop_assert_eq!(Mask::from(&rle), mask);
        }

        #[test]
        fn a_part_is_placed_pixel_by_pixel(
            mask in any_mask(), (x, y) in (0u32..4, 0u32..4), (right, below) in (0u32..4, 0u32..4),
        ) {
            let ImageSize { width, height } = mask.size();
            let image = ImageSize::new(x + width + right, y + height + below);
            let expected = Mask::from_fn(image, |at_x, at_y| {
                at_x >= x && at_y >= y && mask.contains(at_x - x, at_y - y)
            });
            prop_assert_eq!(mask.rle().placed(image, x, y).unwrap(), expected.unwrap().rle());
            let error = mask.rle().placed(image, x + right + 1, y).unwrap_err();
            prop_assert!(matches!(error, Error::MaskMismatch { .. }), "{}", error);
        }

        #[test]
        fn any_text_is_read_or_refused(text: String, ascii in "[0-o]{0,12}", side in 1u32..9) {
            for text in [text, ascii] {
                if let Ok(rle) = Rle::from_compressed(ImageSize::new(side, side), &text) {
                    let sum: u32 = rle.counts().iter().sum();
                    prop_assert_eq!(sum, side * side);
                    prop_assert_eq!(Rle::from_compressed(rle.size(), &rle.to_compressed()).unwrap(), rle);
                }
            }
        }
    }
}
