//! A camera's frames in, results out.

use std::{
    ffi::{CString, c_char, c_void},
    ptr,
    sync::Arc,
    time::Duration,
};

use glip::{
    ImageSize,
    live::{FrameResult, Live, LiveOptions, Outcome},
    tracks::TrackOptions,
};

use crate::{
    arguments::{borrow, give, is_null, place, take_back},
    detections::glip_detections,
    detector::glip_detector,
    extensible::{self, Extensible},
    fault::{Fault, c_string, guard},
    image::{View, glip_image},
    lent::{Lent, glip_release_callback},
    live_stats::{glip_live_stats, nanoseconds},
    prompt::glip_prompt,
    status::glip_status,
};

/// Looks at a camera's frames on a thread of its own, always at the newest. Any number of threads may push frames and call
/// whatever else there is at the same time, but `glip_live_finish` and `glip_live_free`, which come last.
pub struct glip_live(pub(crate) Live);

/// What became of a frame.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum glip_outcome {
    /// It was looked at.
    Found = 0,
    /// It was not begun, since its result would have come after the deadline, by what frames took lately.
    NotStarted = 1,
    /// It was begun, and given up when the deadline had passed.
    Overdue = 2,
    /// It could not be looked at.
    Failed = 3,
}

/// What became of a frame that was not dropped for a newer one.
#[repr(C)]
#[derive(Debug)]
pub struct glip_frame_result {
    /// The frame's number, as it was pushed.
    pub id: u64,
    /// When the frame was taken, as it was pushed.
    pub stamp_ns: u64,
    /// The number of the prompt that it was asked for: 0 for the first, then what `glip_live_set_prompt` gave.
    pub prompt: u64,
    /// From its push to its result.
    pub latency_ns: u64,
    /// If it was not started: the latency that was expected.
    pub expected_ns: u64,
    /// What became of it.
    pub outcome: glip_outcome,
    /// If it failed: how.
    pub status: glip_status,
    /// If it was looked at: what was found, which lives as long as this result. Otherwise NULL.
    pub found: *const glip_detections,
    /// If it failed: why, which lives as long as this result. Otherwise NULL.
    pub error: *const c_char,
}

impl glip_frame_result {
    fn new(result: &FrameResult) -> Self {
        let mut own = Self {
            id: result.id,
            stamp_ns: nanoseconds(result.stamp),
            prompt: result.prompt,
            latency_ns: nanoseconds(result.latency),
            expected_ns: 0,
            outcome: glip_outcome::Found,
            status: glip_status::Ok,
            found: ptr::null(),
            error: ptr::null(),
        };
        match &result.outcome {
            Outcome::Found(found) => {
                own.found = Box::into_raw(Box::new(glip_detections::new(found, &result.tracks)));
            }
            Outcome::NotStarted { expected } => {
                own.outcome = glip_outcome::NotStarted;
                own.expected_ns = nanoseconds(*expected);
            }
            Outcome::Overdue => own.outcome = glip_outcome::Overdue,
            Outcome::Failed(error) => own.fail(&Fault::from(error)),
            other => own.fail(&Fault {
                status: glip_status::Internal,
                message: format!("{other:?} is not known here: please report it"),
            }),
        }
        own
    }

    fn fail(&mut self, fault: &Fault) {
        self.outcome = glip_outcome::Failed;
        self.status = fault.status;
        self.error = c_string(&fault.message).into_raw();
    }
}

impl Drop for glip_frame_result {
    fn drop(&mut self) {
        // SAFETY: both are NULL, or came out of a box and a string in `new`, and are taken back here alone.
        unsafe {
            take_back(self.found.cast_mut());
            if !self.error.is_null() {
                drop(CString::from_raw(self.error.cast_mut()));
            }
        }
    }
}

/// Takes the result of a frame, on the thread that looks at frames: while it runs, no frame is looked at. The result lives until it
/// returns. It may call any function but `glip_live_warm_up`, `glip_live_finish` and `glip_live_free`.
pub type glip_result_callback =
    Option<unsafe extern "C" fn(result: *const glip_frame_result, user_data: *mut c_void)>;

/// Options of live detection. Zero is the default of each.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct glip_live_options {
    /// `sizeof(glip_live_options)`.
    pub struct_size: usize,
    /// Called with the result of every frame that was not dropped, in their order. NULL: none; `glip_live_latest` has the last.
    pub callback: glip_result_callback,
    /// Given to the callback. It must be there until `glip_live_finish` or `glip_live_free` has returned.
    pub user_data: *mut c_void,
    /// The longest that a result may come after its frame was pushed: what would come later is not begun, what does is given up.
    /// 0: none.
    pub deadline_ns: u64,
    /// 1: what is found has ids that stay from frame to frame (`track_id`), for which frames need different stamps. 0: it has none.
    pub tracks: u32,
    /// The score from which on a detection may begin a track; those below it only continue one. 0: all may.
    pub track_start_score: f32,
    /// How much a detection must overlap with where a track should be to continue it: intersection over union. 0: 0.2.
    pub track_min_iou: f32,
    /// How long a track waits for its thing to be found again. 0: one second.
    pub track_max_unseen_ns: u64,
}

// SAFETY: it is `repr(C)`, begins with its size, and is of numbers, pointers and an optional function.
unsafe impl Extensible for glip_live_options {
    const NAME: &'static str = "glip_live_options";
    const FIRST: usize = size_of::<Self>();
}

impl glip_live_options {
    fn live(&self) -> LiveOptions {
        let mut options = LiveOptions::default();
        if self.deadline_ns != 0 {
            options = options.with_deadline(Duration::from_nanos(self.deadline_ns));
        }
        if self.tracks != 0 {
            options = options.with_tracks(self.track_options());
        }
        if let Some(function) = self.callback {
            let callback = Callback {
                function,
                user_data: self.user_data,
            };
            options = options.on_result(move |result| callback.call(&result));
        }
        options
    }

    fn track_options(&self) -> TrackOptions {
        let mut options = TrackOptions::default().with_start_score(self.track_start_score);
        if self.track_min_iou != 0.0 {
            options = options.with_min_iou(self.track_min_iou);
        }
        if self.track_max_unseen_ns != 0 {
            options = options.with_max_unseen(Duration::from_nanos(self.track_max_unseen_ns));
        }
        options
    }
}

#[derive(Clone, Copy)]
struct Callback {
    function: unsafe extern "C" fn(*const glip_frame_result, *mut c_void),
    user_data: *mut c_void,
}

// SAFETY: the header says that the callback is called on another thread, and so must be its data's use.
unsafe impl Send for Callback {}
// SAFETY: likewise.
unsafe impl Sync for Callback {}

impl Callback {
    fn call(&self, result: &FrameResult) {
        let result = glip_frame_result::new(result);
        // SAFETY: it has the type of the header, its data is what it came with, and the result lives until it returns.
        unsafe { (self.function)(&raw const result, self.user_data) };
    }
}

/// Begins to wait for frames, to look for the prompt in them. `options` may be NULL, which is all defaults.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glip_live_new(
    detector: *const glip_detector,
    prompt: *const glip_prompt,
    options: *const glip_live_options,
    live: *mut *mut glip_live,
) -> glip_status {
    guard(|| {
        // SAFETY: each is NULL, or what the header says that it points to.
        let (live, detector, prompt, options) = unsafe {
            (
                place(live, "live")?,
                borrow(detector, "detector")?,
                borrow(prompt, "prompt")?,
                extensible::read_or_default(options)?,
            )
        };
        let started = Live::new(&detector.0, &prompt.0, options.live())?;
        give(live, glip_live(started));
        Ok(())
    })
}

/// Has a copy of the frame looked at next. It waits for nothing but the copy, and for at most one frame there is room: one that
/// waits is dropped, and counted. `id` and `stamp_ns` are the caller's, and come back with the result; tracks go by
/// stamps.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glip_live_push(
    live: *const glip_live,
    image: *const glip_image,
    id: u64,
    stamp_ns: u64,
) -> glip_status {
    guard(|| {
        // SAFETY: each is NULL, or what the header says that it points to.
        let (live, image) = unsafe { (&borrow(live, "live")?.0, View::read(image)?) };
        let copied = |bytes: &[u8]| {
            let mut buffer = live.spare_buffer();
            buffer.extend_from_slice(bytes);
            buffer
        };
        let frame = image.frame(copied)?.with_id(id);
        live.push(frame.with_stamp(Duration::from_nanos(stamp_ns)));
        Ok(())
    })
}

/// As `glip_live_push`, without a copy: the image's memory is lent, and must not be written to until `release` is called with `user_data`:
/// once, for all planes. That is when the frame has been looked at or dropped, and also where this call fails.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glip_live_push_lent(
    live: *const glip_live,
    image: *const glip_image,
    id: u64,
    stamp_ns: u64,
    release: glip_release_callback,
    user_data: *mut c_void,
) -> glip_status {
    let lent = Arc::new(Lent { release, user_data });
    guard(move || {
        // SAFETY: each is NULL, or what the header says that it points to; the image's memory is there until it is given
        // back.
        let (live, image) = unsafe { (&borrow(live, "live")?.0, View::read(image)?) };
        let frame = image
            .frame(|bytes| Arc::new(lent.bytes(bytes)))?
            .with_id(id);
        live.push(frame.with_stamp(Duration::from_nanos(stamp_ns)));
        Ok(())
    })
}

/// Looks for another prompt from the next frame on. Results of it have `number`, which may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glip_live_set_prompt(
    live: *const glip_live,
    prompt: *const glip_prompt,
    number: *mut u64,
) -> glip_status {
    guard(|| {
        // SAFETY: each is NULL, or what the header says that it points to.
        let (live, prompt, number) = unsafe {
            (
                borrow(live, "live")?,
                borrow(prompt, "prompt")?,
                number.as_mut(),
            )
        };
        let set = live.0.set_prompt(&prompt.0)?;
        if let Some(number) = number {
            *number = set;
        }
        Ok(())
    })
}

/// What became of the last frame that was looked at; NULL if there was none yet. It belongs to the caller.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glip_live_latest(
    live: *const glip_live,
    result: *mut *mut glip_frame_result,
) -> glip_status {
    guard(|| {
        // SAFETY: each is NULL, or what the header says that it points to.
        let (result, live) = unsafe { (place(result, "result")?, borrow(live, "live")?) };
        if let Some(latest) = live.0.latest() {
            give(result, glip_frame_result::new(&latest));
        }
        Ok(())
    })
}

/// Gives a result back.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glip_frame_result_free(result: *mut glip_frame_result) {
    guard(|| {
        // SAFETY: it is NULL, or was not given back yet, as the header asks of the caller.
        unsafe { take_back(result) };
        Ok(())
    });
}

/// Looks at empty pictures of this size, so that no frame of the camera's is the first of its size: that one takes longer, on a
/// GPU often by seconds. Waits until it is done. `time_ns`, which may be NULL, is how long a frame takes after that.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glip_live_warm_up(
    live: *const glip_live,
    width: u32,
    height: u32,
    time_ns: *mut u64,
) -> glip_status {
    guard(|| {
        // SAFETY: each is NULL, or what the header says that it points to.
        let (live, time) = unsafe { (borrow(live, "live")?, time_ns.as_mut()) };
        let times = live.0.warm_up(&[ImageSize::new(width, height)])?;
        if let (Some(time), Some(took)) = (time, times.first()) {
            *time = nanoseconds(*took);
        }
        Ok(())
    })
}

/// How many frames there were, how long they took, and how much memory the process has. The caller sets `struct_size` of
/// `stats`, and the rest is filled in.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glip_live_stats_get(
    live: *const glip_live,
    stats: *mut glip_live_stats,
) -> glip_status {
    guard(|| {
        // SAFETY: each is NULL, or what the header says that it points to.
        unsafe {
            let live = borrow(live, "live")?;
            extensible::write(stats, &glip_live_stats::from(&live.0.stats()))
        }
    })
}

/// Ends when the frame that waits, if one does, has been looked at, and gives the handle back, whatever it returns. `stats`, which may be
/// NULL, is filled in as by `glip_live_stats_get`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glip_live_finish(
    live: *mut glip_live,
    stats: *mut glip_live_stats,
) -> glip_status {
    guard(|| {
        if live.is_null() {
            return Err(is_null("live"));
        }
        // SAFETY: it is one that was not given back yet, as the header asks of the caller.
        let live = unsafe { Box::from_raw(live) };
        let last = live.0.finish();
        if stats.is_null() {
            return Ok(());
        }
        // SAFETY: it is as large as it says, as the header asks of the caller.
        unsafe { extensible::write(stats, &glip_live_stats::from(&last)) }
    })
}

/// Ends at once, what runs included, and gives the handle back.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glip_live_free(live: *mut glip_live) {
    guard(|| {
        // SAFETY: it is NULL, or was not given back yet, as the header asks of the caller.
        unsafe { take_back(live) };
        Ok(())
    });
}
