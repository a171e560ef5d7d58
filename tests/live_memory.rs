//! What a camera's frame or a call allocates, once the first ones of its size have been looked at: the result.
//!
//! All threads are counted, so there is one test here.

#![allow(clippy::unwrap_used)] // Clippy does not see that helpers of tests are tests.

mod common;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use common::fixture;
#[cfg(feature = "nano")]
use glip::{Bundle, ResizeRule, parts::CpuOptions};
use glip::{
    Detections, Detector, EncodedPrompt, ImageSize, PixelFormat, SourceImage,
    live::{Frame, FramePlane, FrameResult, Live, LiveOptions},
};

/// The system's allocator, keeping account of all threads.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);
static BYTES: AtomicUsize = AtomicUsize::new(0);

#[allow(unsafe_code, reason = "an allocator is unsafe to implement")]
// SAFETY: every call goes to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        BYTES.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: as of the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as of the caller.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// The number of allocations so far, and their bytes.
fn taken() -> (usize, usize) {
    let counters = [&ALLOCATIONS, &BYTES].map(|counter| counter.load(Ordering::Relaxed));
    counters.into()
}

/// What something took beside its result.
fn beside<T>(
    result: impl FnOnce() -> T,
    of_result: impl FnOnce(&T) -> (usize, usize),
) -> (usize, usize) {
    let before = taken();
    let result = result();
    let after = taken();
    let own = of_result(&result);
    (after.0 - before.0 - own.0, after.1 - before.1 - own.1)
}

/// A list of detections, and a label for each.
fn of_detections(found: &Detections) -> (usize, usize) {
    let labels: usize = found.iter().map(|detection| detection.phrase.len()).sum();
    let list = usize::from(!found.is_empty());
    (list + found.len(), size_of_val(&**found) + labels)
}

/// The same in what `Arc` shares: two counters and the result.
fn of_result(result: &Arc<FrameResult>) -> (usize, usize) {
    let (allocations, bytes) = of_detections(result.found().unwrap());
    let shared = 2 * size_of::<usize>() + size_of::<FrameResult>();
    (allocations + 1, bytes + shared)
}

/// A camera, and the last of its frames that was looked at.
struct Camera {
    live: Live,
    last: Arc<(Mutex<Option<Arc<FrameResult>>>, Condvar)>,
}

impl Camera {
    fn new(detector: &Detector, prompt: &EncodedPrompt) -> Self {
        let last = Arc::new((Mutex::new(None), Condvar::new()));
        let told = Arc::clone(&last);
        let options = LiveOptions::default().on_result(move |result| {
            *told.0.lock().unwrap() = Some(result);
            told.1.notify_all();
        });
        let live = Live::new(detector, prompt, options).unwrap();
        Self { live, last }
    }

    /// Memory of a frame that is done, filled anew.
    fn buffer(&self, bytes: &[u8]) -> Vec<u8> {
        let mut buffer = self.live.spare_buffer();
        buffer.extend_from_slice(bytes);
        buffer
    }

    /// Pushes a frame in one piece and waits until it has been looked at.
    fn take(&self, size: ImageSize, format: PixelFormat, picture: &[u8]) -> Arc<FrameResult> {
        let stride = format.packed_stride(size.width);
        self.look_at(Frame::new(size, stride, format, self.buffer(picture)).unwrap())
    }

    /// The same with a buffer for luma and one for chroma.
    fn take_planes(&self, size: ImageSize, picture: &[u8]) -> Arc<FrameResult> {
        let pixels = size.pixels() as usize;
        let planes = [&picture[..pixels], &picture[pixels..][..pixels / 2]];
        let planes = planes.map(|plane| FramePlane::new(self.buffer(plane), size.width as usize));
        self.look_at(Frame::from_planes(size, PixelFormat::Nv12, planes).unwrap())
    }

    fn look_at(&self, frame: Frame) -> Arc<FrameResult> {
        self.live.push(frame);
        let last = self.last.0.lock().unwrap();
        let last = self.last.1.wait_while(last, |last| last.is_none());
        last.unwrap().take().unwrap()
    }
}

/// Levels of any format, with something red in the middle if it is RGB.
fn picture(size: ImageSize) -> Vec<u8> {
    let (width, height) = (size.width as usize, size.height as usize);
    let mut picture = vec![90; 3 * width * height];
    for row in picture
        .chunks_mut(3 * width)
        .skip(height / 2)
        .take(height / 8)
    {
        row[3 * width / 2..][..3 * width / 8].fill(0);
        row[3 * width / 2..][..3 * width / 8]
            .iter_mut()
            .step_by(3)
            .for_each(|red| *red = 255);
    }
    picture
}

/// Models, and whether something red is found by them.
fn detectors() -> Vec<(&'static str, Detector, bool)> {
    let colour = |name| (name, Detector::from_dir(fixture(name)).unwrap(), true);
    let mut detectors = vec![colour("colour"), colour("colour_without_fusion")];
    // The one that has operators of this crate.
    #[cfg(feature = "nano")]
    {
        let native = CpuOptions::default().with_native_kernels(true);
        let nano = Detector::builder()
            .bundle(Bundle::nano().unwrap())
            .cpu(native);
        // Small, as these are slow without optimisation.
        let nano = nano.resize(ResizeRule::longest_side(128)).build();
        detectors.push(("glip-nano", nano.unwrap(), false));
    }
    detectors
}

#[test]
fn a_call_takes_its_result_and_nothing_else() {
    let small = ImageSize::new(160, 128);
    let large = ImageSize::new(640, 512); // of the same proportions: the network's input is the same
    for (model, detector, finds) in detectors() {
        let prompt = detector.encode_prompt("red . blue").unwrap();
        let camera = Camera::new(&detector, &prompt);
        for (size, format) in [(small, PixelFormat::Rgb8), (large, PixelFormat::Nv12)] {
            let picture = picture(size);
            let take = || camera.take(size, format, &picture);
            let ground = || {
                let stride = format.packed_stride(size.width);
                let image = SourceImage::from_buffer(size, stride, format, &picture).unwrap();
                detector.ground(image, &prompt).unwrap()
            };
            // The memory that is kept comes into being.
            for _ in 0..3 {
                take();
                ground();
            }
            for frame in 0..6 {
                let what = format!("{model}, {format:?}, frame {frame}");
                assert_eq!(beside(take, of_result), (0, 0), "{what}");
                assert_eq!(beside(ground, of_detections), (0, 0), "{what}");
            }
            if format == PixelFormat::Nv12 {
                let take = || camera.take_planes(size, &picture);
                (0..3).for_each(|_| drop(take()));
                for frame in 0..6 {
                    let what = format!("{model}, in planes, frame {frame}");
                    assert_eq!(beside(take, of_result), (0, 0), "{what}");
                }
            }
            let something = !ground().is_empty();
            assert!(
                something || !finds || format != PixelFormat::Rgb8,
                "{model}"
            );
        }
    }
}
