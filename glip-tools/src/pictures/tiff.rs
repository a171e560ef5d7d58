//! TIFF that the crate `image` does not read: palettes, and grey levels as floats.

use std::io::Cursor;

use image::{
    ColorType, ImageDecoder, ImageError, ImageFormat, ImageResult, error::DecodingError,
    metadata::Orientation,
};
use tiff::{
    TiffError,
    decoder::{Decoder, DecodingResult, Limits},
    tags::Tag,
};

/// A picture whose samples are numbers of colours, or grey levels from 0 to 1.
pub(super) struct UnusualTiff {
    /// In a copy, as palettes are not read as such.
    decoder: Decoder<Cursor<Vec<u8>>>,
    size: (u32, u32),
    samples: Samples,
    orientation: Orientation,
}

enum Samples {
    /// So many bits each, of these colours.
    Palette(u32, Vec<[u8; 3]>),
    Floats,
}

/// The decoder, if the picture is of these kinds; it takes `most` bytes at most.
pub(super) fn unusual(bytes: &[u8], most: u64) -> ImageResult<Option<UnusualTiff>> {
    let mut decoder = Decoder::new(Cursor::new(bytes)).map_err(failed)?;
    // Of a list with an entry for each sample, the first.
    let mut value = |tag| -> ImageResult<Option<u32>> {
        let values = decoder.find_tag_unsigned_vec::<u32>(tag).map_err(failed)?;
        Ok(values.and_then(|values| values.first().copied()))
    };
    let interpretation = value(Tag::PhotometricInterpretation)?;
    let samples = value(Tag::SamplesPerPixel)?.unwrap_or(1);
    let bits = value(Tag::BitsPerSample)?.unwrap_or(1);
    let format = value(Tag::SampleFormat)?.unwrap_or(UNSIGNED);
    let orientation = value(Tag::Orientation)?.unwrap_or(1);
    let (samples, bytes) = match (interpretation, samples, format) {
        (Some(PALETTE), 1, UNSIGNED) if bits <= 8 => {
            let colours = colours(&mut decoder, bits)?;
            (Samples::Palette(bits, colours), as_grey(bytes)?)
        }
        (Some(WHITE_IS_ZERO | BLACK_IS_ZERO), 1, FLOAT) => (Samples::Floats, bytes.to_vec()),
        _ => return Ok(None),
    };
    let mut limits = Limits::default();
    limits.decoding_buffer_size = usize::try_from(most).unwrap_or(usize::MAX);
    let decoder = Decoder::new(Cursor::new(bytes)).map_err(failed)?;
    let mut decoder = decoder.with_limits(limits);
    Ok(Some(UnusualTiff {
        size: decoder.dimensions().map_err(failed)?,
        decoder,
        samples,
        orientation: u8::try_from(orientation)
            .ok()
            .and_then(Orientation::from_exif)
            .unwrap_or(Orientation::NoTransforms),
    }))
}

const WHITE_IS_ZERO: u32 = 0;
const BLACK_IS_ZERO: u32 = 1;
const PALETTE: u32 = 3;
const UNSIGNED: u32 = 1;
const FLOAT: u32 = 3;

/// The palette: all reds in 16 bits, then all greens and all blues.
fn colours(decoder: &mut Decoder<Cursor<&[u8]>>, bits: u32) -> ImageResult<Vec<[u8; 3]>> {
    let levels = decoder.get_tag_u16_vec(Tag::ColorMap).map_err(failed)?;
    let count = 1 << bits;
    if levels.len() != 3 * count {
        return Err(damaged("its palette is not of its bits"));
    }
    let level = |channel: usize, colour: usize| (levels[channel * count + colour] >> 8) as u8;
    Ok((0..count)
        .map(|colour| [0, 1, 2].map(|channel| level(channel, colour)))
        .collect())
}

/// The same file with grey levels in place of colours: what points into the palette is stored as such
/// levels are. The entry that says so is the one with the tag 262, in the first directory.
fn as_grey(bytes: &[u8]) -> ImageResult<Vec<u8>> {
    let unread = || damaged("its first directory cannot be read");
    let is_little = bytes.starts_with(b"II*\0");
    if !is_little && !bytes.starts_with(b"MM\0*") {
        return Err(damaged("it is a BigTIFF with a palette"));
    }
    let u16_at = |at: usize| {
        let two = bytes.get(at..at.checked_add(2)?)?.first_chunk::<2>()?;
        Some(if is_little {
            u16::from_le_bytes(*two)
        } else {
            u16::from_be_bytes(*two)
        })
    };
    let four = bytes
        .get(4..8)
        .and_then(<[u8]>::first_chunk::<4>)
        .ok_or_else(unread)?;
    let directory = if is_little {
        u32::from_le_bytes(*four)
    } else {
        u32::from_be_bytes(*four)
    } as usize;
    let entries = u16_at(directory).ok_or_else(unread)?;
    let entry = |index: usize| directory + 2 + 12 * index;
    let is_interpretation = |index: &usize| u16_at(entry(*index)) == Some(262);
    let found = (0..usize::from(entries)).find(is_interpretation);
    let value = found.map(|index| entry(index) + 8).ok_or_else(unread)?;
    let mut grey = bytes.to_vec();
    let level = if is_little { [1, 0] } else { [0, 1] };
    grey.get_mut(value..value + 2)
        .ok_or_else(unread)?
        .copy_from_slice(&level);
    Ok(grey)
}

impl UnusualTiff {
    fn decode(mut self, output: &mut [u8]) -> ImageResult<()> {
        let width = self.size.0 as usize;
        let samples = self.decoder.read_image().map_err(failed)?;
        match (&self.samples, samples) {
            (Samples::Palette(bits, colours), DecodingResult::U8(packed)) => {
                let bits = *bits as usize;
                let rows = packed.chunks_exact((width * bits).div_ceil(8));
                for (row, output) in rows.zip(output.chunks_exact_mut(3 * width)) {
                    let (output, _) = output.as_chunks_mut::<3>();
                    for (x, pixel) in output.iter_mut().enumerate() {
                        let bit = x * bits;
                        let number = row[bit / 8] >> (8 - bits - bit % 8);
                        *pixel = colours[usize::from(number) & (colours.len() - 1)];
                    }
                }
                Ok(())
            }
            (Samples::Floats, DecodingResult::F16(levels)) => {
                write_levels(levels.iter().map(|level| level.to_f32()), output)
            }
            (Samples::Floats, DecodingResult::F32(levels)) => {
                write_levels(levels.iter().copied(), output)
            }
            (Samples::Floats, DecodingResult::F64(levels)) => {
                write_levels(levels.iter().map(|&level| level as f32), output)
            }
            _ => Err(damaged("its samples are not of the kind that it says")),
        }
    }
}

/// Levels from 0 to 1 as those from 0 to 255.
fn write_levels(levels: impl Iterator<Item = f32>, output: &mut [u8]) -> ImageResult<()> {
    for (output, level) in output.iter_mut().zip(levels) {
        check_level(level)?;
        *output = (255.0 * level.clamp(0.0, 1.0)).round() as u8;
    }
    Ok(())
}

/// That a float is a level of a picture. Others are heights or temperatures, or levels in another unit, and
/// would all be white.
pub(super) fn check_level(level: f32) -> ImageResult<()> {
    const SLACK: f32 = 0.5 / 255.0;
    match (-SLACK..=1.0 + SLACK).contains(&level) {
        true => Ok(()),
        false => Err(damaged(format!(
            "a sample is {level}, and floats are levels from 0 to 1 here: scale them, or save 8 bits"
        ))),
    }
}

impl ImageDecoder for UnusualTiff {
    fn dimensions(&self) -> (u32, u32) {
        self.size
    }

    fn color_type(&self) -> ColorType {
        match self.samples {
            Samples::Palette(..) => ColorType::Rgb8,
            Samples::Floats => ColorType::L8,
        }
    }

    fn orientation(&mut self) -> ImageResult<Orientation> {
        Ok(self.orientation)
    }

    fn read_image(self, output: &mut [u8]) -> ImageResult<()> {
        self.decode(output)
    }

    fn read_image_boxed(self: Box<Self>, output: &mut [u8]) -> ImageResult<()> {
        self.decode(output)
    }
}

fn failed(error: TiffError) -> ImageError {
    match error {
        TiffError::IoError(error) => ImageError::IoError(error),
        error => ImageError::Decoding(DecodingError::new(ImageFormat::Tiff.into(), error)),
    }
}

fn damaged(what: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ImageError {
    ImageError::Decoding(DecodingError::new(ImageFormat::Tiff.into(), what))
}
