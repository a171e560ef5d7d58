//! What the host side does not allocate: a second image, and anything for each anchor.

#![allow(clippy::unwrap_used)] // Clippy does not see that helpers of tests are tests.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use glip::{
    ImageSize, PixelFormat, ResizeRule, SourceImage,
    parts::{
        GridSize, HeadBoxes, HeadOutput, ImageGeometry, Phrase, PreprocessOptions, Preprocessor,
        TokenizedPhrase,
    },
    postprocess::{AnchorOptions, BoxCoder, HeadSpec, PostprocessOptions, Postprocessor},
};
use image::{DynamicImage, Rgb, RgbImage};
use ndarray::{Array2, Array3};

/// The system's allocator, keeping account for each thread.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
    /// Signed, as memory may be freed by another thread than took it.
    static BYTES: Cell<isize> = const { Cell::new(0) };
    static MOST_BYTES: Cell<isize> = const { Cell::new(0) };
}

#[allow(unsafe_code, reason = "an allocator is unsafe to implement")]
// SAFETY: every call goes to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        BYTES.set(BYTES.get() + layout.size() as isize);
        MOST_BYTES.set(MOST_BYTES.get().max(BYTES.get()));
        // SAFETY: as of the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        BYTES.set(BYTES.get() - layout.size() as isize);
        // SAFETY: as of the caller.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// The number of allocations and the most bytes held at a time while something is done.
fn account<T>(work: impl FnOnce() -> T) -> (usize, isize) {
    let (allocations, bytes) = (ALLOCATIONS.get(), BYTES.get());
    MOST_BYTES.set(bytes);
    work();
    (ALLOCATIONS.get() - allocations, MOST_BYTES.get() - bytes)
}

#[test]
fn preprocessing_makes_no_second_image_of_any_pixel_type() {
    let (width, height) = (1600, 1200);
    let image = RgbImage::from_fn(width, height, |x, y| Rgb([x as u8, y as u8, (x ^ y) as u8]));
    let image = DynamicImage::from(image);
    let images: [DynamicImage; 10] = [
        image.to_luma8().into(),
        image.to_luma_alpha8().into(),
        image.to_rgba8().into(),
        image.to_luma16().into(),
        image.to_luma_alpha16().into(),
        image.to_rgb16().into(),
        image.to_rgba16().into(),
        image.to_rgb32f().into(),
        image.to_rgba32f().into(),
        image,
    ];
    let options = PreprocessOptions::default().with_resize(ResizeRule::short_side(96, 128));
    let preprocessor = Preprocessor::new(options).unwrap();
    let input_bytes = 3 * 96 * 128 * 4;

    let buffer = vec![90; (width * height * 4) as usize];
    let frames = PixelFormat::ALL.map(|format| {
        let (size, stride) = (ImageSize::new(width, height), format.packed_stride(width));
        let frame = SourceImage::from_buffer(size, stride, format, &buffer).unwrap();
        (format.to_string(), frame)
    });
    let images = images
        .iter()
        .map(|image| (format!("{:?}", image.color()), SourceImage::from(image)));
    for (name, image) in images.chain(frames) {
        let (_, bytes) = account(|| preprocessor.run(&image).unwrap());

        let most = input_bytes + (width * height * 3 / 20) as isize;
        assert!(
            (input_bytes..most).contains(&bytes),
            "{name}: {bytes} bytes held, at most {most} expected"
        );
    }
}

/// A head that sees "cat" at three anchors of a square feature map.
fn head_output(side: usize) -> HeadOutput {
    let anchors = side * side;
    let mut logits = Array3::from_elem((1, anchors, 12), -9.0);
    for anchor in [0, anchors / 2, anchors - 1] {
        logits[[0, anchor, 9]] = 4.0;
        logits[[0, anchor, 10]] = 4.0;
    }
    let boxes = HeadBoxes::Anchors {
        deltas: Array3::zeros((1, anchors, 4)),
        centerness: Array2::from_elem((1, anchors), 5.0),
        level_sizes: vec![GridSize::new(side, side)],
    };
    HeadOutput::new(logits, boxes).unwrap()
}

#[test]
fn post_processing_allocates_nothing_for_an_anchor() {
    let phrase = |label: &str, index, tokens: &[usize]| TokenizedPhrase {
        phrase: Phrase {
            label: label.to_owned(),
            index,
            spans: vec![0..1],
        },
        tokens: tokens.to_vec(),
    };
    let phrases = [phrase("dog", 0, &[1, 2, 3]), phrase("cat", 1, &[9, 10])];
    let size = ImageSize::new(800, 800);
    let geometry = ImageGeometry {
        original: size,
        resized: size,
        padded: size,
    };
    let anchors = AnchorOptions {
        strides: vec![8],
        sizes: vec![64],
    };
    let head = HeadSpec::Anchors {
        anchors,
        box_coder: BoxCoder::default(),
    };
    let postprocessor = Postprocessor::new(PostprocessOptions::default(), head).unwrap();

    let [few, many] = [10, 100].map(|side| {
        let output = head_output(side);
        let run = || postprocessor.run(&output, &phrases, &[geometry]).unwrap();
        assert_eq!(run()[0].len(), 3);
        account(run)
    });

    assert_eq!(few, many);
}
