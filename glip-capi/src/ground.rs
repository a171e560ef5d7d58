//! The one call for an image.

use std::time::Duration;

use glip::{Control, GroundOptions};

use crate::{
    arguments::{borrow, give, place},
    detections::glip_detections,
    detector::{glip_detector, ground_options},
    extensible::{self, Extensible},
    fault::guard,
    image::{View, glip_image},
    prompt::glip_prompt,
    status::glip_status,
};

/// Options of one call. Zero is the default of each.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct glip_ground_options {
    /// `sizeof(glip_ground_options)`.
    pub struct_size: usize,
    /// The longest that the call may take, in nanoseconds; then it ends with GLIP_STATUS_DEADLINE. 0: as long as it takes.
    pub timeout_ns: u64,
    /// The score that detections must be over. 0: the detector's.
    pub score_threshold: f32,
    /// The most detections. 0: the detector's.
    pub max_detections: u32,
    /// The most detections of each phrase. 0: the detector's.
    pub max_per_phrase: u32,
    /// 1: of boxes that overlap, one is kept, whatever their phrases. 0: as the detector's model recommends.
    pub nms_across_phrases: u32,
}

// SAFETY: it is `repr(C)`, begins with its size, and is of numbers.
unsafe impl Extensible for glip_ground_options {
    const NAME: &'static str = "glip_ground_options";
    const FIRST: usize = size_of::<Self>();
}

impl glip_ground_options {
    fn ground(&self) -> GroundOptions {
        let mut options = ground_options(self.score_threshold, self.max_detections);
        options.max_per_phrase = (self.max_per_phrase != 0).then_some(self.max_per_phrase as usize);
        options.nms_across_phrases = (self.nms_across_phrases != 0).then_some(true);
        options
    }
}

/// Finds the prompt's phrases in the image. `options` may be NULL, which is all defaults.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glip_ground(
    detector: *const glip_detector,
    image: *const glip_image,
    prompt: *const glip_prompt,
    options: *const glip_ground_options,
    detections: *mut *mut glip_detections,
) -> glip_status {
    guard(|| {
        // SAFETY: each is NULL, or what the header says that it points to.
        let (detections, detector, image, prompt, options) = unsafe {
            (
                place(detections, "detections")?,
                &borrow(detector, "detector")?.0,
                View::read(image)?,
                &borrow(prompt, "prompt")?.0,
                extensible::read_or_default(options)?,
            )
        };
        let limited;
        let detector = match options.timeout_ns {
            0 => detector,
            time => {
                let timeout = Duration::from_nanos(time);
                limited = detector.controlled(&Control::new().with_timeout(timeout));
                &limited
            }
        };
        let found = detector.ground_with(&image.source()?, prompt, &options.ground())?;
        give(detections, glip_detections::new(&found, &[]));
        Ok(())
    })
}
