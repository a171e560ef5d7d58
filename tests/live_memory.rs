//! What a camera's frame does not allocate, once the first ones have been looked at.
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
use glip::{
    Detector, ImageSize, PixelFormat,
    live::{Frame, Live, LiveOptions},
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

/// A camera, and the frames of it that have been looked at.
struct Camera {
    live: Live,
    done: Arc<(Mutex<u64>, Condvar)>,
}

impl Camera {
    fn new() -> Self {
        let detector = Detector::from_dir(fixture("colour")).unwrap();
        let done = Arc::new((Mutex::new(0), Condvar::new()));
        let counter = Arc::clone(&done);
        let options = LiveOptions::default().on_result(move |result| {
            assert!(result.found().is_some());
            *counter.0.lock().unwrap() += 1;
            counter.1.notify_all();
        });
        let live = Live::new(&detector, "red . blue", options).unwrap();
        Self { live, done }
    }

    /// Pushes a frame and waits until it has been looked at, and tells allocations and bytes.
    fn take(&self, size: ImageSize, format: PixelFormat, picture: &[u8]) -> (usize, usize) {
        let before = (
            ALLOCATIONS.load(Ordering::Relaxed),
            BYTES.load(Ordering::Relaxed),
        );
        let expected = *self.done.0.lock().unwrap() + 1;
        let mut bytes = self.live.spare_buffer();
        bytes.extend_from_slice(picture);
        let stride = format.packed_stride(size.width);
        self.live
            .push(Frame::new(size, stride, format, bytes).unwrap());
        let done = self.done.0.lock().unwrap();
        drop(
            self.done
                .1
                .wait_while(done, |done| *done < expected)
                .unwrap(),
        );
        (
            ALLOCATIONS.load(Ordering::Relaxed) - before.0,
            BYTES.load(Ordering::Relaxed) - before.1,
        )
    }
}

#[test]
fn frames_take_no_memory_of_their_size() {
    let camera = Camera::new();
    let small = ImageSize::new(160, 128);
    let large = ImageSize::new(640, 512); // of the same proportions: the network's input is the same
    let mut counts = Vec::new();
    for (size, format) in [(small, PixelFormat::Rgb8), (large, PixelFormat::Nv12)] {
        let picture = vec![90; size.width as usize * size.height as usize * 3];
        for _ in 0..3 {
            camera.take(size, format, &picture);
        }
        counts.extend((0..6).map(|_| camera.take(size, format, &picture)));
    }
    // The network's input has 240 kilobytes, the pictures up to a megabyte. What is left are names and shapes for ONNX
    // Runtime, and the result: as much for any picture, and for any number of frames before it.
    assert!(counts.iter().all(|&count| count == counts[0]), "{counts:?}");
    assert!(counts[0].1 < 32 << 10, "{counts:?}");
}
