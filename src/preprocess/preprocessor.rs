//! Resize, normalise, pad.

use std::sync::{Arc, Mutex, PoisonError};

use half::f16;
use ndarray::{ArrayViewMut2, ArrayViewMut3, ArrayViewMut4, Axis};
use smallvec::SmallVec;

use super::{
    crew::Crew,
    options::PreprocessOptions,
    pixel_batch::{PixelBatch, PixelViewMut},
    resize::{Resizer, Rows},
    source_image::SourceImage,
};
use crate::{
    error::{Error, Result},
    geometry::{ImageGeometry, ImageSize},
};

/// Turns images into the network's input, as the official evaluation does.
///
/// The image is resized (bilinear with antialiasing on 8-bit RGB, equal to Pillow's to the last
/// bit; but Pillow 13 takes the columns first if it reduces an image more than twice as tall as
/// wide, and levels can differ by one there), put into the model's channel order, normalised, and
/// padded with zeros on the right and at the bottom. All of that happens a row at a time: beside the image and the input, a few rows are
/// held, whatever the image's size and pixel type.
///
/// ```
/// use glip::{ImageSize, parts::{PreprocessOptions, Preprocessor}};
/// use image::DynamicImage;
///
/// let preprocessor = Preprocessor::new(PreprocessOptions::default())?;
/// let batch = preprocessor.run(&DynamicImage::new_rgb8(640, 480))?;
/// assert_eq!(batch.geometries()[0].resized, ImageSize::new(1066, 800));
/// assert_eq!(batch.pixels().shape(), [1, 3, 800, 1088]);
/// # Ok::<(), glip::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Preprocessor {
    options: PreprocessOptions,
    normalised: Box<Table<f32>>,
    /// The same as halves, if the input shall be such.
    halves: Option<Box<Table<f16>>>,
    threads: usize,
    /// The cores of these threads, the caller's first; none where it is the system's choice.
    cores: Arc<[usize]>,
}

/// The normalised value of each of the 256 levels, for each channel of the network input.
type Table<T> = [[T; 256]; 3];

impl Preprocessor {
    /// The longest side that an image may have, in pixels. The weights of resizing take some 40 bytes for
    /// each pixel of a side; what is longer is cut into tiles, or was made to fill the memory.
    pub const LONGEST_SIDE: u32 = 1 << 20;

    /// Threads beyond which resizing does not get faster.
    pub const MOST_THREADS: usize = 4;

    /// A preprocessor with these options.
    ///
    /// # Errors
    /// - [`Error::InvalidOption`]: a side or the padding is not within 1 to 16384, a mean is not
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
            halves: None,
            threads: 1,
            cores: Arc::default(),
        })
    }

    /// The same, which makes the network's input of float16, as models of that precision take it on a GPU. Others
    /// have it converted when they run.
    #[must_use]
    pub fn with_halves(mut self) -> Self {
        let halves = self.normalised.map(|table| table.map(f16::from_f32));
        self.halves = Some(Box::new(halves));
        self
    }

    /// The same, which resizes each image with so many threads, at least 1 and few for small images. Default: 1.
    /// A detector's has as many as its sessions, or all cores but at most [`MOST_THREADS`](Self::MOST_THREADS).
    #[must_use]
    pub fn with_threads(mut self, threads: usize) -> Self {
        self.threads = threads.max(1);
        self
    }

    /// The same, whose threads stay on these cores. The first is of the thread that calls, which is left where it is.
    pub(crate) fn on_cores(mut self, cores: &[usize]) -> Self {
        self.cores = cores.into();
        self
    }

    pub(crate) fn cores(&self) -> &[usize] {
        &self.cores
    }

    /// The options in use.
    pub fn options(&self) -> &PreprocessOptions {
        &self.options
    }

    /// What an image of this size becomes. Only images with equal `padded` sizes can share a batch, unless
    /// the model [masks padding](PreprocessOptions::masks_padding).
    ///
    /// # Errors
    /// - [`Error::EmptyImage`]: the image has no pixels.
    /// - [`Error::ImageTooLong`]: a side has more than [`LONGEST_SIDE`](Self::LONGEST_SIDE) pixels.
    pub fn geometry(&self, original: ImageSize) -> Result<ImageGeometry> {
        let ImageSize { width, height } = original;
        if width.max(height) > Self::LONGEST_SIDE {
            return Err(Error::ImageTooLong {
                width,
                height,
                limit: Self::LONGEST_SIDE,
            });
        }
        let resized = self.options.resize.apply(original)?;
        let padded = self.options.padding.apply(resized);
        Ok(ImageGeometry {
            original,
            resized,
            padded,
        })
    }

    /// One image as a batch of one.
    ///
    /// # Errors
    /// As [`geometry`](Self::geometry).
    pub fn run<'a>(&self, image: impl Into<SourceImage<'a>>) -> Result<PixelBatch> {
        self.run_batch([image])
    }

    /// Several images as one batch, in their order.
    ///
    /// The images must have the same [padded size](Self::geometry): GLIP does not mask padding, so
    /// padding one image further to fit its neighbours would change its detections. For a model that
    /// [masks it](PreprocessOptions::masks_padding), all are padded to the largest.
    ///
    /// # Errors
    /// - [`Error::EmptyBatch`]: there are no images.
    /// - As [`geometry`](Self::geometry), for the first image that has none.
    /// - [`Error::MixedSizes`]: the padded sizes differ, and the model does not mask padding.
    pub fn run_batch<'a, I>(&self, images: I) -> Result<PixelBatch>
    where
        I: IntoIterator,
        I::Item: Into<SourceImage<'a>>,
    {
        let images: Vec<SourceImage<'a>> = images.into_iter().map(Into::into).collect();
        let mut kept = KeptInput::default();
        self.run_in(&images, &mut kept)?;
        Ok(kept.batch)
    }

    /// As [`run_batch`](Self::run_batch), in memory that is kept: images of the same sizes after one another allocate
    /// nothing.
    pub(crate) fn run_in<'k>(
        &self,
        images: &[SourceImage<'_>],
        kept: &'k mut KeptInput,
    ) -> Result<&'k PixelBatch> {
        let KeptInput {
            batch,
            workers,
            crew,
        } = kept;
        batch.make_room(images.len(), self.halves.is_some(), |geometries| {
            for image in images {
                geometries.push(self.geometry(image.size())?);
            }
            if self.options.masks_padding {
                pad_to_largest(geometries);
            }
            common_padded_size(geometries)
        })?;
        let (pixels, geometries) = batch.parts_mut();
        let images = images.iter().zip(geometries);
        match (pixels, &self.halves) {
            (PixelViewMut::Halves(pixels), Some(table)) => {
                self.fill_all(pixels, images, table, workers, crew);
            }
            (PixelViewMut::Floats(pixels), _) => {
                self.fill_all(pixels, images, &self.normalised, workers, crew);
            }
            (PixelViewMut::Halves(_), None) => {} // there is room for floats then
        }
        Ok(batch)
    }

    fn fill_all<'i, T: Copy + Send + Sync>(
        &self,
        mut pixels: ArrayViewMut4<'_, T>,
        images: impl Iterator<Item = (&'i SourceImage<'i>, &'i ImageGeometry)>,
        table: &Table<T>,
        workers: &mut Option<Workers>,
        crew: &mut Crew,
    ) {
        for ((image, geometry), input) in images.zip(pixels.axis_iter_mut(Axis(0))) {
            let (from, to) = (geometry.original, geometry.resized);
            let workers = match workers.take() {
                Some(known) if known.resizer.fits(from, to) => workers.insert(known),
                _ => workers.insert(Workers::new(Resizer::new(from, to), self.threads)),
            };
            self.fill(input, image, table, workers, crew);
        }
    }

    /// Writes the resized image, normalised, into the upper left corner of `[3, height, width]`.
    fn fill<T: Copy + Send + Sync>(
        &self,
        input: ArrayViewMut3<'_, T>,
        image: &SourceImage<'_>,
        table: &Table<T>,
        workers: &mut Workers,
        crew: &mut Crew,
    ) {
        let (resizer, height) = (&workers.resizer, workers.resizer.height());
        let parts = workers.rows.len();
        let (mut rest, mut bands) = (input, Jobs::new());
        for (part, rows) in workers.rows.iter_mut().enumerate() {
            let (begin, end) = (part * height / parts, (part + 1) * height / parts);
            let (input, below) = rest.split_at(Axis(1), end - begin);
            rest = below;
            bands.push((begin..end, rows, input));
        }
        for_each_in_crew(crew, &self.cores, bands, |(range, rows, mut input)| {
            let begin = range.start;
            resizer.run(image, range, rows, |y, levels| {
                self.normalise(table, levels, input.index_axis_mut(Axis(1), y - begin));
            });
        });
    }

    /// A row of levels, channel by channel, as the network's `[3, width]`, which may be wider.
    fn normalise<T: Copy>(&self, table: &Table<T>, levels: &[u8], mut input: ArrayViewMut2<'_, T>) {
        let width = levels.len() / 3;
        let rgb_indices = self.options.channel_order.rgb_indices();
        let planes = table.iter().zip(rgb_indices);
        for ((table, rgb_index), mut output) in planes.zip(input.outer_iter_mut()) {
            let levels = &levels[rgb_index * width..][..width];
            let values = levels.iter().map(|&level| table[usize::from(level)]);
            // Rows of an input lie as they are: the compiler makes less of what may have gaps.
            match output.as_slice_mut() {
                Some(output) => output
                    .iter_mut()
                    .zip(values)
                    .for_each(|(o, value)| *o = value),
                None => output
                    .iter_mut()
                    .zip(values)
                    .for_each(|(o, value)| *o = value),
            }
        }
    }
}

/// One for each thread.
type Jobs<J> = SmallVec<[J; Preprocessor::MOST_THREADS]>;

/// Runs all jobs, each in a thread, of which this one is one.
fn for_each_in_crew<J: Send>(
    crew: &mut Crew,
    cores: &[usize],
    jobs: Jobs<J>,
    run: impl Fn(J) + Sync,
) {
    let helpers = jobs.len().saturating_sub(1);
    let jobs = Mutex::new(jobs);
    // Its own statement: the lock is free while the job runs.
    let next = || jobs.lock().unwrap_or_else(PoisonError::into_inner).pop();
    crew.run(helpers, cores, &|| {
        while let Some(job) = next() {
            run(job);
        }
    });
}

/// The network's input, and what its images were resized with, kept for the next ones.
#[derive(Default)]
pub(crate) struct KeptInput {
    batch: PixelBatch,
    workers: Option<Workers>,
    crew: Crew,
}

/// What resizes images of one size, and the memory of each thread that does.
struct Workers {
    resizer: Resizer,
    rows: Vec<Rows>,
}

/// Fewer rows of a resized image are not worth a thread.
const ROWS_OF_A_THREAD: usize = 64;

impl Workers {
    fn new(resizer: Resizer, threads: usize) -> Self {
        let threads = threads.min(resizer.height() / ROWS_OF_A_THREAD).max(1);
        let rows = (0..threads).map(|_| resizer.rows()).collect();
        Self { resizer, rows }
    }
}

fn pad_to_largest(geometries: &mut [ImageGeometry]) {
    let sizes = geometries.iter().map(|geometry| geometry.padded);
    if let Some(largest) = sizes.reduce(ImageSize::union) {
        for geometry in geometries {
            geometry.padded = largest;
        }
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
            first: first.to_string(),
            index,
            found: geometries[index].padded.to_string(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use image::{DynamicImage, Rgb, RgbImage};
    use ndarray::s;

    use super::*;
    use crate::preprocess::{
        options::{ChannelOrder, Padding},
        resize_rule::ResizeRule,
    };

    fn preprocessor(short_side: u32, long_side: u32) -> Preprocessor {
        let options =
            PreprocessOptions::default().with_resize(ResizeRule::short_side(short_side, long_side));
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
            .with_resize(ResizeRule::short_side(8, 8))
            .with_channel_order(ChannelOrder::Rgb)
            .with_mean([0.0; 3])
            .with_std([1.0; 3])
            .with_padding(Padding::MultipleOf(8));
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
    fn kept_memory_and_threads_change_nothing() {
        for alone in [preprocessor(200, 320), preprocessor(200, 320).with_halves()] {
            check_kept_memory(&alone);
        }
    }

    fn check_kept_memory(alone: &Preprocessor) {
        let in_threads = alone.clone().with_threads(3);
        let image = |width, height, seed: u8| {
            RgbImage::from_fn(width, height, |x, y| {
                Rgb([x as u8 ^ seed, y as u8, seed.wrapping_mul(x as u8)])
            })
        };
        let batches = [
            vec![image(50, 40, 10)],
            vec![image(300, 260, 200), image(301, 260, 90)],
            vec![image(300, 260, 30), image(300, 259, 90)],
            // The first alone has the geometry of the last batch, the second does not fit it.
            vec![image(300, 260, 30), image(90, 400, 1)],
            vec![image(300, 260, 3)],
            vec![image(90, 400, 2)],
            vec![image(300, 260, 5), image(300, 260, 6)],
        ];
        let mut kept = KeptInput::default();
        for images in &batches {
            let images: Vec<_> = images.iter().map(SourceImage::from).collect();
            let found = in_threads.run_in(&images, &mut kept);
            let expected = alone.run_batch(images.iter().cloned());
            match (found, expected) {
                (Ok(found), Ok(expected)) => {
                    assert_eq!(found.pixels(), expected.pixels());
                    assert_eq!(found.geometries(), expected.geometries());
                }
                (found, expected) => {
                    assert!(matches!(found, Err(Error::MixedSizes { .. })));
                    assert!(matches!(expected, Err(Error::MixedSizes { .. })));
                }
            }
        }
    }

    #[test]
    fn models_that_mask_padding_take_images_of_any_sizes_together() {
        let options = preprocessor(32, 64).options().clone();
        let options = options
            .with_masked_padding()
            .with_padding(Padding::MultipleOf(4));
        let (wide, tall) = (RgbImage::new(64, 32), RgbImage::new(30, 50));
        let batch = Preprocessor::new(options)
            .unwrap()
            .run_batch([&wide, &tall])
            .unwrap();
        assert_eq!(batch.pixels().dim(), (2, 3, 56, 64));
        let mask = batch.pixel_mask();
        let real = |image: usize| mask.index_axis(Axis(0), image).sum();
        assert_eq!((real(0), real(1)), (64 * 32, 32 * 53));
        assert_eq!(
            (mask[[1, 52, 31]], mask[[1, 53, 31]], mask[[1, 52, 32]]),
            (1, 0, 0)
        );
    }

    #[test]
    fn padding_to_a_square_holds_the_longer_side() {
        let small = ImageSize::new(30, 20);
        assert_eq!(Padding::Square(64).apply(small), ImageSize::new(64, 64));
        assert_eq!(Padding::Square(24).apply(small), ImageSize::new(30, 30));
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
    fn images_without_end_cost_nothing() {
        let preprocessor = preprocessor(64, 100);
        let longest = Preprocessor::LONGEST_SIDE;
        assert!(preprocessor.geometry((longest, 1).into()).is_ok());
        for size in [(longest + 1, 1), (1, 99_000_000), (u32::MAX, u32::MAX)] {
            let error = preprocessor.geometry(size.into()).unwrap_err();
            assert!(matches!(error, Error::ImageTooLong { .. }), "{error}");
        }
    }

    #[test]
    fn senseless_options_are_errors() {
        let zero_side = PreprocessOptions::default().with_resize(ResizeRule::short_side(0, 10));
        let huge_side =
            PreprocessOptions::default().with_resize(ResizeRule::short_side(10, u32::MAX));
        let cases = [
            ("resize.short_side", zero_side),
            ("resize.long_side", huge_side),
            (
                "padding.multiple_of",
                PreprocessOptions::default().with_padding(Padding::MultipleOf(0)),
            ),
            (
                "padding.square",
                PreprocessOptions::default().with_padding(Padding::Square(20_000)),
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
