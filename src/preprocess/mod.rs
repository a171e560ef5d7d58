//! From an image to the network's input: resize, normalise, pad.

mod geometry;
mod resize;
mod source_image;

use ndarray::{Array4, ArrayView4, ArrayViewMut3, Axis, s};
use serde::{Deserialize, Serialize};

pub use self::{
    geometry::{ImageGeometry, ImageSize, ResizeRule},
    source_image::SourceImage,
};
use crate::error::{Error, Result};

/// The largest side an input may be resized to; beyond it one image would need gigabytes.
const LARGEST_SIDE: u32 = 16_384;

/// The order of the three channels in the network input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChannelOrder {
    /// Blue, green, red: what the official models take.
    Bgr,
    /// Red, green, blue.
    Rgb,
}

impl ChannelOrder {
    /// For each channel of the network input, where it is in an RGB pixel.
    fn rgb_indices(self) -> [usize; 3] {
        match self {
            Self::Bgr => [2, 1, 0],
            Self::Rgb => [0, 1, 2],
        }
    }
}

/// What a model expects of its input. The defaults are those of all released GLIP models.
///
/// ```
/// use glip::{PreprocessOptions, ResizeRule};
///
/// let options = PreprocessOptions::default()
///     .with_resize(ResizeRule { short_side: 480, long_side: 800 });
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PreprocessOptions {
    /// The size images are resized to. Default: 800 and 1333 pixels; less is faster and misses
    /// small things.
    pub resize: ResizeRule,
    /// Default: blue, green, red, as the models' image encoders were pre-trained.
    pub channel_order: ChannelOrder,
    /// Subtracted from each channel, on the 0..255 scale, in the order of the network input.
    /// Default: `[103.53, 116.28, 123.675]`, ImageNet's mean.
    pub mean: [f32; 3],
    /// Each channel is divided by this after the mean is subtracted; same scale and order.
    /// Default: `[57.375, 57.12, 58.395]`, ImageNet's standard deviation.
    pub std: [f32; 3],
    /// Height and width are padded to a multiple of this. Default: 32, the stride that the image
    /// encoder's levels need.
    pub size_divisor: u32,
}

impl Default for PreprocessOptions {
    fn default() -> Self {
        Self {
            resize: ResizeRule {
                short_side: 800,
                long_side: 1333,
            },
            channel_order: ChannelOrder::Bgr,
            mean: [103.53, 116.28, 123.675],
            std: [57.375, 57.12, 58.395],
            size_divisor: 32,
        }
    }
}

impl PreprocessOptions {
    /// Sets [`resize`](Self::resize).
    pub fn with_resize(self, resize: ResizeRule) -> Self {
        Self { resize, ..self }
    }

    /// Sets [`channel_order`](Self::channel_order).
    pub fn with_channel_order(self, channel_order: ChannelOrder) -> Self {
        Self {
            channel_order,
            ..self
        }
    }

    /// Sets [`mean`](Self::mean).
    pub fn with_mean(self, mean: [f32; 3]) -> Self {
        Self { mean, ..self }
    }

    /// Sets [`std`](Self::std).
    pub fn with_std(self, std: [f32; 3]) -> Self {
        Self { std, ..self }
    }

    /// Sets [`size_divisor`](Self::size_divisor).
    pub fn with_size_divisor(self, size_divisor: u32) -> Self {
        Self {
            size_divisor,
            ..self
        }
    }

    fn validate(&self) -> Result<()> {
        let invalid = |option, found: String, expected| {
            Err(Error::InvalidOption {
                option,
                found,
                expected,
            })
        };
        let side = 1..=LARGEST_SIDE;
        if !side.contains(&self.resize.short_side) {
            let found = self.resize.short_side.to_string();
            return invalid("resize.short_side", found, "1 to 16384 pixels");
        }
        if !side.contains(&self.resize.long_side) {
            let found = self.resize.long_side.to_string();
            return invalid("resize.long_side", found, "1 to 16384 pixels");
        }
        if !side.contains(&self.size_divisor) {
            return invalid(
                "size_divisor",
                self.size_divisor.to_string(),
                "1 to 16384 pixels",
            );
        }
        if !self.mean.iter().all(|mean| mean.is_finite()) {
            return invalid("mean", format!("{:?}", self.mean), "three finite numbers");
        }
        if !self.std.iter().all(|std| std.is_finite() && *std > 0.0) {
            return invalid("std", format!("{:?}", self.std), "three numbers above 0");
        }
        Ok(())
    }
}

/// Turns images into the network's input, as the official evaluation does.
///
/// The image is resized (bilinear with antialiasing on 8-bit RGB, equal to Pillow's to the last
/// bit; but Pillow 13 takes the columns first if it reduces an image more than twice as tall as
/// wide, and levels can differ by one there), put into the model's channel order, normalised, and
/// padded with zeros on the right and at the bottom. All of that happens a row at a time: beside the image and the input, a few rows are
/// held, whatever the image's size and pixel type.
///
/// ```
/// use glip::{ImageSize, PreprocessOptions, Preprocessor};
/// use image::DynamicImage;
///
/// let preprocessor = Preprocessor::new(PreprocessOptions::default())?;
/// let batch = preprocessor.run(&DynamicImage::new_rgb8(640, 480))?;
/// assert_eq!(batch.geometries()[0].resized, ImageSize { width: 1066, height: 800 });
/// assert_eq!(batch.pixels().shape(), [1, 3, 800, 1088]);
/// # Ok::<(), glip::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Preprocessor {
    options: PreprocessOptions,
    /// The normalised value of each of the 256 levels, for each channel of the network input.
    normalised: Box<[[f32; 256]; 3]>,
}

impl Preprocessor {
    /// A preprocessor with these options.
    ///
    /// # Errors
    /// - [`Error::InvalidOption`]: a side or the divisor is not within 1 to 16384, a mean is not
    ///   finite, or a standard deviation is not above 0.
    pub fn new(options: PreprocessOptions) -> Result<Self> {
        options.validate()?;
        let mut normalised = Box::new([[0.0; 256]; 3]);
        for (channel, table) in normalised.iter_mut().enumerate() {
            for (level, value) in table.iter_mut().enumerate() {
                *value = (level as f32 - options.mean[channel]) / options.std[channel];
            }
        }
        Ok(Self {
            options,
            normalised,
        })
    }

    /// The options in use.
    pub fn options(&self) -> &PreprocessOptions {
        &self.options
    }

    /// What an image of this size becomes. Only images with equal `padded` sizes can share a batch.
    ///
    /// # Errors
    /// - [`Error::EmptyImage`]: the image has no pixels.
    pub fn geometry(&self, original: ImageSize) -> Result<ImageGeometry> {
        let resized = self.options.resize.apply(original)?;
        let padded = resized.padded_to(self.options.size_divisor);
        Ok(ImageGeometry {
            original,
            resized,
            padded,
        })
    }

    /// One image as a batch of one.
    ///
    /// # Errors
    /// - [`Error::EmptyImage`]: the image has no pixels.
    pub fn run<'a>(&self, image: impl Into<SourceImage<'a>>) -> Result<PixelBatch> {
        self.run_batch([image])
    }

    /// Several images as one batch, in their order.
    ///
    /// The images must have the same [padded size](Self::geometry): GLIP does not mask padding, so
    /// padding one image further to fit its neighbours would change its detections.
    ///
    /// # Errors
    /// - [`Error::EmptyBatch`]: there are no images.
    /// - [`Error::EmptyImage`]: an image has no pixels.
    /// - [`Error::MixedSizes`]: the padded sizes differ.
    pub fn run_batch<'a, I>(&self, images: I) -> Result<PixelBatch>
    where
        I: IntoIterator,
        I::Item: Into<SourceImage<'a>>,
    {
        let images: Vec<SourceImage<'a>> = images.into_iter().map(Into::into).collect();
        let geometries = images.iter().map(|image| self.geometry(image.size()));
        let geometries = geometries.collect::<Result<Vec<_>>>()?;
        let ImageSize { width, height } = common_padded_size(&geometries)?;
        let mut pixels = Array4::zeros((images.len(), 3, height as usize, width as usize));
        for ((image, geometry), input) in images
            .iter()
            .zip(&geometries)
            .zip(pixels.axis_iter_mut(Axis(0)))
        {
            self.fill(input, image, geometry.resized);
        }
        Ok(PixelBatch { pixels, geometries })
    }

    /// Writes the resized image, normalised, into the upper left corner of `[3, height, width]`.
    fn fill(&self, mut input: ArrayViewMut3<'_, f32>, image: &SourceImage<'_>, resized: ImageSize) {
        let width = resized.width as usize;
        let rgb_indices = self.options.channel_order.rgb_indices();
        resize::resize(image, resized, |y, levels| {
            let planes = self.normalised.iter().zip(rgb_indices);
            for (channel, (table, rgb_index)) in planes.enumerate() {
                let levels = &levels[rgb_index * width..][..width];
                let values = levels.iter().map(|&level| table[usize::from(level)]);
                let output = input.slice_mut(s![channel, y, ..width]);
                output
                    .into_iter()
                    .zip(values)
                    .for_each(|(output, value)| *output = value);
            }
        });
    }
}

/// The padded size that all images of a batch share.
fn common_padded_size(geometries: &[ImageGeometry]) -> Result<ImageSize> {
    let first = geometries.first().ok_or(Error::EmptyBatch)?.padded;
    match geometries
        .iter()
        .position(|geometry| geometry.padded != first)
    {
        None => Ok(first),
        Some(index) => Err(Error::MixedSizes {
            first,
            index,
            found: geometries[index].padded,
        }),
    }
}

/// Images as the network takes them, all of one padded size.
#[derive(Clone, Debug)]
pub struct PixelBatch {
    pixels: Array4<f32>,
    geometries: Vec<ImageGeometry>,
}

impl PixelBatch {
    /// The network input, `[batch, 3, height, width]`, normalised; padding is 0.
    pub fn pixels(&self) -> ArrayView4<'_, f32> {
        self.pixels.view()
    }

    /// How each image of the batch lies in the input, one for each image in order.
    pub fn geometries(&self) -> &[ImageGeometry] {
        &self.geometries
    }

    /// The pixels and the geometries, without a copy.
    pub fn into_parts(self) -> (Array4<f32>, Vec<ImageGeometry>) {
        (self.pixels, self.geometries)
    }
}

#[cfg(test)]
mod tests {
    use image::{DynamicImage, Rgb, RgbImage};

    use super::*;

    fn preprocessor(short_side: u32, long_side: u32) -> Preprocessor {
        let options = PreprocessOptions::default().with_resize(ResizeRule {
            short_side,
            long_side,
        });
        Preprocessor::new(options).unwrap()
    }

    #[test]
    fn normalises_to_bgr_and_pads_with_zeros() {
        let image = RgbImage::from_pixel(40, 32, Rgb([255, 0, 10]));
        let batch = preprocessor(32, 64).run(&image).unwrap();
        let pixels = batch.pixels();
        assert_eq!(pixels.dim(), (1, 3, 32, 64));
        let expected = [
            (10.0 - 103.53) / 57.375,
            -116.28 / 57.12,
            (255.0 - 123.675) / 58.395,
        ];
        for (channel, value) in expected.into_iter().enumerate() {
            assert!(
                pixels
                    .slice(s![0, channel, .., ..40])
                    .iter()
                    .all(|&v| v == value)
            );
        }
        assert!(pixels.slice(s![0, .., .., 40..]).iter().all(|&v| v == 0.0));
    }

    #[test]
    fn channel_order_is_an_option() {
        let image = RgbImage::from_pixel(8, 8, Rgb([1, 2, 3]));
        let options = PreprocessOptions::default()
            .with_resize(ResizeRule {
                short_side: 8,
                long_side: 8,
            })
            .with_channel_order(ChannelOrder::Rgb)
            .with_mean([0.0; 3])
            .with_std([1.0; 3])
            .with_size_divisor(8);
        let batch = Preprocessor::new(options).unwrap().run(&image).unwrap();
        assert_eq!(
            batch.pixels().slice(s![0, .., 0, 0]).to_vec(),
            [1.0, 2.0, 3.0]
        );
    }

    #[test]
    fn extreme_shapes_work() {
        for (width, height) in [(1, 1), (1, 10_000), (10_000, 1)] {
            let image = RgbImage::from_pixel(width, height, Rgb([90; 3]));
            let batch = preprocessor(64, 100).run(&image).unwrap();
            let ImageSize { width, height } = batch.geometries()[0].padded;
            assert_eq!(
                batch.pixels().dim(),
                (1, 3, height as usize, width as usize)
            );
            let expected = (90.0 - 103.53) / 57.375;
            assert_eq!(batch.pixels()[[0, 0, 0, 0]], expected);
        }
    }

    #[test]
    fn a_batch_keeps_its_order_and_each_image_as_alone() {
        let preprocessor = preprocessor(32, 64);
        let dark = RgbImage::from_pixel(50, 40, Rgb([10; 3]));
        let light = RgbImage::from_pixel(60, 48, Rgb([240; 3]));
        let batch = preprocessor.run_batch([&dark, &light]).unwrap();
        for (index, image) in [&dark, &light].into_iter().enumerate() {
            let alone = preprocessor.run(image).unwrap();
            assert_eq!(
                batch.pixels().index_axis(Axis(0), index),
                alone.pixels().index_axis(Axis(0), 0)
            );
            assert_eq!(batch.geometries()[index], alone.geometries()[0]);
        }
    }

    #[test]
    fn unfit_batches_are_errors() {
        let preprocessor = preprocessor(32, 64);
        let wide = DynamicImage::new_rgb8(64, 32);
        let square = DynamicImage::new_rgb8(32, 32);
        let mixed = preprocessor.run_batch([&wide, &square]).unwrap_err();
        assert!(
            matches!(mixed, Error::MixedSizes { index: 1, .. }),
            "{mixed}"
        );
        let none = preprocessor
            .run_batch(Vec::<&DynamicImage>::new())
            .unwrap_err();
        assert!(matches!(none, Error::EmptyBatch));
        let empty = preprocessor.run(&DynamicImage::new_rgb8(0, 4)).unwrap_err();
        assert!(matches!(
            empty,
            Error::EmptyImage {
                width: 0,
                height: 4
            }
        ));
    }

    #[test]
    fn senseless_options_are_errors() {
        let zero_side = PreprocessOptions::default().with_resize(ResizeRule {
            short_side: 0,
            long_side: 10,
        });
        let huge_side = PreprocessOptions::default().with_resize(ResizeRule {
            short_side: 10,
            long_side: u32::MAX,
        });
        let cases = [
            ("resize.short_side", zero_side),
            ("resize.long_side", huge_side),
            (
                "size_divisor",
                PreprocessOptions::default().with_size_divisor(0),
            ),
            (
                "mean",
                PreprocessOptions::default().with_mean([0.0, f32::NAN, 0.0]),
            ),
            (
                "std",
                PreprocessOptions::default().with_std([1.0, 0.0, 1.0]),
            ),
        ];
        for (expected, options) in cases {
            let error = Preprocessor::new(options).unwrap_err();
            assert!(matches!(error, Error::InvalidOption { option, .. } if option == expected));
        }
    }
}
