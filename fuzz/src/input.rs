//! Values made of an input's bytes, with those that hurt among them.

use arbitrary::{Arbitrary, Result, Unstructured};
use glip::ImageSize;

/// Runs what reads an input to its end: an input that is too short is no finding.
pub fn read(data: &[u8], body: impl FnOnce(&mut Unstructured) -> Result<()>) {
    let _ = body(&mut Unstructured::new(data));
}

/// An ordinary number, or one of those that break arithmetic.
pub fn number(input: &mut Unstructured) -> Result<f32> {
    Ok(match input.int_in_range(0..=9u8)? {
        0 => f32::from_bits(input.arbitrary()?),
        1 => f32::NAN,
        2 => f32::INFINITY,
        3 => f32::NEG_INFINITY,
        4 => f32::MAX,
        5 => f32::MIN_POSITIVE / 4.0, // subnormal
        6 => -0.0,
        _ => f32::from(i16::arbitrary(input)?) / 256.0,
    })
}

/// Four of them.
pub fn numbers(input: &mut Unstructured) -> Result<[f32; 4]> {
    Ok([
        number(input)?,
        number(input)?,
        number(input)?,
        number(input)?,
    ])
}

/// A share of one, mostly.
pub fn share(input: &mut Unstructured) -> Result<f32> {
    match input.ratio(1, 8)? {
        true => number(input),
        false => Ok(f32::from(input.int_in_range(0..=64u8)?) / 64.0),
    }
}

/// A side of a picture up to `usual`, or an enormous one.
pub fn side(input: &mut Unstructured, usual: u32) -> Result<u32> {
    Ok(match input.int_in_range(0..=15u8)? {
        0 => u32::arbitrary(input)?,
        1 => 0,
        2 => u32::MAX,
        3 => 16384,
        4 => 16385,
        _ => input.int_in_range(1..=usual)?,
    })
}

/// Two of them.
pub fn size(input: &mut Unstructured, usual: u32) -> Result<ImageSize> {
    Ok(ImageSize {
        width: side(input, usual)?,
        height: side(input, usual)?,
    })
}

/// A number of things, or far too many.
pub fn count(input: &mut Unstructured) -> Result<usize> {
    Ok(match input.int_in_range(0..=7u8)? {
        0 => 0,
        1 => usize::MAX,
        2 => usize::arbitrary(input)?,
        _ => input.int_in_range(1..=30usize)?,
    })
}

/// As many values as `length` says, made one after another.
pub fn list<T>(
    input: &mut Unstructured,
    length: usize,
    mut item: impl FnMut(&mut Unstructured) -> Result<T>,
) -> Result<Vec<T>> {
    (0..length).map(|_| item(input)).collect()
}
