//! Label Studio's run lengths, which brushes are stored in.
//!
//! They are those of the package `@thi.ng/rle-pack`: bits, the highest of a byte first. A head says how many values there
//! are, how many bits a value has, and the four lengths' sizes in bits that the blocks choose from. A block is a bit
//! that says whether it is a run, the number of its length's size, the length less one, and the value of the run or
//! all its values. What is packed are the image's pixels as RGBA, row by row: four bytes, all 255 where the thing is.

use glip::Mask;

/// The bits of a value.
const VALUE: u32 = 8;
/// The bits that a length may have.
const LENGTHS: [u32; 4] = [3, 4, 8, 16];
/// What a pixel takes.
const CHANNELS: u64 = 4;

/// A mask in Label Studio's form: `rle` of a brush.
pub(super) fn packed(mask: &Mask) -> Vec<u8> {
    let size = mask.size();
    let values = size.pixels() * CHANNELS;
    let mut bits = BitWriter::default();
    // 32 bits for it; masks of more than 2^30 pixels are beyond what a browser draws.
    bits.write(values, 32);
    bits.write(u64::from(VALUE) - 1, 5);
    for length in LENGTHS {
        bits.write(u64::from(length) - 1, 4);
    }
    let mut at = 0;
    for y in 0..size.height {
        let place = |x: u32| (u64::from(y) * u64::from(size.width) + u64::from(x)) * CHANNELS;
        for run in mask.runs(y) {
            write_run(&mut bits, place(run.start) - at, 0);
            at = place(run.end);
            write_run(&mut bits, at - place(run.start), u8::MAX);
        }
    }
    write_run(&mut bits, values - at, 0);
    bits.bytes
}

/// As many blocks as its length takes.
fn write_run(bits: &mut BitWriter, mut length: u64, value: u8) {
    while length > 0 {
        let fitting = LENGTHS.iter().position(|&size| length <= 1 << size);
        let number = fitting.unwrap_or(LENGTHS.len() - 1);
        let part = length.min(1 << LENGTHS[number]);
        bits.write(1, 1);
        bits.write(number as u64, 2);
        bits.write(part - 1, LENGTHS[number]);
        bits.write(u64::from(value), VALUE);
        length -= part;
    }
}

/// Numbers of any number of bits, one after the other.
#[derive(Default)]
struct BitWriter {
    bytes: Vec<u8>,
    /// How many bits of the last byte are taken.
    taken: u32,
}

impl BitWriter {
    fn write(&mut self, number: u64, bits: u32) {
        for place in (0..bits).rev() {
            if self.taken.is_multiple_of(8) {
                self.bytes.push(0);
                self.taken = 0;
            }
            if let Some(last) = self.bytes.last_mut() {
                *last |= ((number >> place & 1) as u8) << (7 - self.taken);
            }
            self.taken += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use glip::ImageSize;
    use proptest::prelude::*;

    use super::*;

    /// Values as the form says, a bit at a time.
    fn unpacked(bytes: &[u8]) -> Vec<u8> {
        let mut at = 0;
        let mut read = |bits: usize| {
            let number = (at..at + bits).fold(0_usize, |number, bit| {
                number << 1 | usize::from(bytes[bit / 8] >> (7 - bit % 8) & 1)
            });
            at += bits;
            number
        };
        let (count, width) = (read(32), read(5) + 1);
        let sizes = [0; 4].map(|_| read(4) + 1);
        let mut values = Vec::new();
        while values.len() < count {
            let (is_run, size) = (read(1) == 1, sizes[read(2)]);
            let length = read(size) + 1;
            match is_run {
                true => values.extend([read(width) as u8].repeat(length)),
                false => values.extend((0..length).map(|_| read(width) as u8)),
            }
        }
        assert!(bytes.len() * 8 - at < 8);
        values
    }

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(
            (width, height) in (1u32..300, 1u32..80), period in 1u32..90, from in 0u32..90,
        ) {
            let size = ImageSize::new(width, height);
            let mask = Mask::from_fn(size, |x, y| (x + 7 * y) % period < from).unwrap();
            let values = unpacked(&packed(&mask));
            let bitmap = mask.to_bitmap();
            let expected = bitmap.iter().flat_map(|&pixel| [if pixel { 255 } else { 0 }; 4]);
            prop_assert_eq!(values, expected.collect::<Vec<u8>>());
        }
    }
}
