//! Pictures on their way in, and boxes drawn onto them.

use arbitrary::{Arbitrary, Result, Unstructured};
use glip::{
    BBox, Detection, Error, ImageSize, PixelFormat, ResizeRule, SourceImage, draw_detections,
    parts::{ChannelOrder, Padding, Plane, PreprocessOptions, Preprocessor, Rounding},
};
use glip_tools::{Picture, PictureLimits};
use image::{DynamicImage, ImageBuffer, Pixel, RgbImage};

use crate::input::{count, list, number, numbers, read, side, size};

/// No resize rule and no padding makes an empty or an enormous image of any size.
pub fn geometry(data: &[u8]) {
    read(data, |input| {
        let Ok(preprocessor) = Preprocessor::new(options(input, 2000)?) else {
            return Ok(());
        };
        if let Ok(geometry) = preprocessor.geometry(size(input, 5000)?) {
            let (resized, padded) = (geometry.resized, geometry.padded);
            assert!(resized.width > 0 && resized.height > 0, "{geometry:?}");
            assert!(padded.width >= resized.width, "{geometry:?}");
            assert!(padded.height >= resized.height, "{geometry:?}");
            assert!(padded.width.max(padded.height) <= 3 * 16384, "{geometry:?}");
        }
        Ok(())
    });
}

/// Pictures of every pixel type become finite pixels of the stated size.
pub fn preprocess(data: &[u8]) {
    read(data, |input| {
        let Ok(preprocessor) = Preprocessor::new(options(input, 96)?) else {
            return Ok(());
        };
        let (width, height) = (input.int_in_range(0..=80)?, input.int_in_range(0..=80)?);
        let Ok(geometry) = preprocessor.geometry(ImageSize { width, height }) else {
            return Ok(());
        };
        let padded = geometry.padded;
        if u64::from(padded.width) * u64::from(padded.height) > 300_000 {
            return Ok(());
        }
        let kind = input.int_in_range(0..=9u8)?;
        let image = picture_of(
            kind,
            width,
            height,
            input.peek_bytes(input.len()).unwrap_or_default(),
        );
        match preprocessor.run(&image) {
            Ok(batch) => {
                let shape = [1, 3, padded.height as usize, padded.width as usize];
                assert_eq!(batch.pixels().shape(), shape);
                let options = preprocessor.options();
                let sane = options.mean.iter().all(|mean| mean.abs() < 1e6)
                    && options.std.iter().all(|std| *std > 1e-3);
                assert!(!sane || batch.pixels().iter().all(|pixel| pixel.is_finite()));
            }
            Err(Error::EmptyImage { .. }) => assert!(width == 0 || height == 0),
            Err(error) => panic!("{error}"),
        }
        // Whatever size is claimed for them, bytes are only taken if there are as many.
        let claimed = size(&mut Unstructured::new(data), 80)?;
        if let Ok(source) = SourceImage::from_rgb(claimed, image.to_rgb8().as_raw()) {
            let _ = preprocessor.run(&source);
        }
        Ok(())
    });
}

/// Whatever size, stride and format are claimed for a camera's buffer, what is accepted can be read.
pub fn camera(data: &[u8]) {
    read(data, |input| {
        let claimed = size(input, 40)?;
        let format = match input.int_in_range(0..=15u8)? {
            15 => PixelFormat::Mono16 {
                shift: u8::arbitrary(input)?,
            },
            place => PixelFormat::ALL[usize::from(place)],
        };
        let strides = [count(input)?, count(input)?, count(input)?];
        let planes = input.int_in_range(0..=3usize)?;
        let bytes = input.peek_bytes(input.len()).unwrap_or_default();
        let images = [
            SourceImage::from_buffer(claimed, strides[0], format, bytes),
            SourceImage::from_planes(
                claimed,
                format,
                &strides.map(|stride| Plane::new(bytes, stride))[..planes],
            ),
        ];
        for image in images.into_iter().flatten() {
            let [width, height] = [claimed.width, claimed.height].map(|side| side as usize);
            assert_eq!(image.rgb().len(), 3 * width * height);
        }
        Ok(())
    });
}

/// Any bytes as a file: it is no larger than allowed, and can be turned upright.
pub fn picture(data: &[u8]) {
    let limits = PictureLimits::default().with_max_pixels(100_000);
    if let Ok(picture) = Picture::decode(data, "x", limits) {
        let ImageSize { width, height } = picture.size();
        assert!(u64::from(width) * u64::from(height) <= 100_000);
        let _ = picture.upright();
    }
}

/// Any boxes and names onto any picture.
pub fn draw(data: &[u8]) {
    read(data, |input| {
        let mut image = RgbImage::new(input.int_in_range(0..=120)?, input.int_in_range(0..=120)?);
        let length = input.int_in_range(0..=6)?;
        let found = list(input, length, detection)?;
        draw_detections(&mut image, &found.into_iter().flatten().collect());
        Ok(())
    });
}

fn detection(input: &mut Unstructured) -> Result<Option<Detection>> {
    let corners = match bool::arbitrary(input)? {
        true => numbers(input)?,
        false => <[u8; 4]>::arbitrary(input)?.map(|edge| f32::from(edge) / 2.0),
    };
    let name = String::arbitrary(input)?;
    let (index, score) = (usize::arbitrary(input)?, number(input)?);
    Ok(BBox::try_from(corners)
        .ok()
        .map(|bbox| Detection::new(name, index, score, bbox)))
}

fn options(input: &mut Unstructured, usual: u32) -> Result<PreprocessOptions> {
    let resize = match input.int_in_range(0..=3u8)? {
        0 => ResizeRule::square(side(input, usual)?),
        1 => ResizeRule::longest_side(side(input, usual)?),
        2 => ResizeRule::short_side(side(input, usual)?, side(input, usual)?),
        _ => ResizeRule::ShortSide {
            short_side: side(input, usual)?,
            long_side: side(input, usual)?,
            rounding: Rounding::Rounded,
        },
    };
    let padding = match bool::arbitrary(input)? {
        true => Padding::MultipleOf(side(input, 64)?),
        false => Padding::Square(side(input, usual)?),
    };
    let mut options = PreprocessOptions::default()
        .with_resize(resize)
        .with_padding(padding);
    if input.ratio(1, 4)? {
        options = options.with_mean([number(input)?, number(input)?, number(input)?]);
    }
    if input.ratio(1, 4)? {
        options = options.with_std([number(input)?, number(input)?, number(input)?]);
    }
    if bool::arbitrary(input)? {
        options = options.with_channel_order(ChannelOrder::Rgb);
    }
    Ok(options)
}

/// A picture of one of the ten pixel types, its samples taken from the bytes over and over.
fn picture_of(kind: u8, width: u32, height: u32, bytes: &[u8]) -> DynamicImage {
    let byte = |place: usize| match bytes.len() {
        0 => (place * 37) as u8,
        length => bytes[place % length].wrapping_add((place / length) as u8),
    };
    let short = |place: usize| u16::from_le_bytes([byte(place), byte(place + 1)]);
    let float = |place: usize| {
        f32::from_le_bytes([
            byte(place),
            byte(place + 1),
            byte(place + 2),
            byte(place + 3),
        ])
    };
    match kind {
        0 => DynamicImage::ImageLuma8(filled(width, height, byte)),
        1 => DynamicImage::ImageLumaA8(filled(width, height, byte)),
        2 => DynamicImage::ImageRgb8(filled(width, height, byte)),
        3 => DynamicImage::ImageRgba8(filled(width, height, byte)),
        4 => DynamicImage::ImageLuma16(filled(width, height, short)),
        5 => DynamicImage::ImageLumaA16(filled(width, height, short)),
        6 => DynamicImage::ImageRgb16(filled(width, height, short)),
        7 => DynamicImage::ImageRgba16(filled(width, height, short)),
        8 => DynamicImage::ImageRgb32F(filled(width, height, float)),
        _ => DynamicImage::ImageRgba32F(filled(width, height, float)),
    }
}

fn filled<P: Pixel>(
    width: u32,
    height: u32,
    sample: impl Fn(usize) -> P::Subpixel,
) -> ImageBuffer<P, Vec<P::Subpixel>> {
    let samples = width as usize * height as usize * usize::from(P::CHANNEL_COUNT);
    ImageBuffer::from_raw(width, height, (0..samples).map(sample).collect())
        .expect("there are as many samples as the size needs")
}
