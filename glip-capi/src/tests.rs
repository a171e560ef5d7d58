//! The functions, called as C calls them.

#![allow(
    clippy::undocumented_unsafe_blocks,
    reason = "what each points to stands in the lines above it"
)]

use std::{
    ffi::{CStr, CString, c_char, c_void},
    ptr,
    sync::{
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread,
    time::Instant,
};

use crate::*;

const MS: u64 = 1_000_000;

/// What was said about the last fault on this thread.
fn last_error() -> String {
    let message = unsafe { CStr::from_ptr(glip_last_error()) };
    message.to_str().unwrap().to_owned()
}

/// Asserts that a call failed in this way, with all these words in its message.
fn assert_fault(found: glip_status, expected: glip_status, words: &[&str]) {
    let message = last_error();
    assert_eq!(found, expected, "{message}");
    for word in words {
        assert!(message.contains(word), "{word:?} is not in: {message}");
    }
}

fn assert_ok(status: glip_status) {
    assert_eq!(status, glip_status::Ok, "{}", last_error());
}

/// All zeros but its size, as `{.struct_size = sizeof options}` makes it.
macro_rules! zeroed {
    ($type:ty) => {{
        let mut value: $type = unsafe { std::mem::zeroed() };
        value.struct_size = size_of::<$type>();
        value
    }};
}

struct Model(*mut glip_detector);

impl Model {
    fn nano() -> Self {
        Self::new(|_| ())
    }

    fn new(change: impl FnOnce(&mut glip_detector_options)) -> Self {
        let mut options = zeroed!(glip_detector_options);
        options.threads = 1;
        change(&mut options);
        let mut detector = ptr::null_mut();
        assert_ok(unsafe { glip_detector_new(&options, &mut detector) });
        Self(detector)
    }

    fn prompt(&self, phrases: &CStr) -> Words {
        let mut prompt = ptr::null_mut();
        assert_ok(unsafe { glip_prompt_new(self.0, phrases.as_ptr(), &mut prompt) });
        Words(prompt)
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        unsafe { glip_detector_free(self.0) };
    }
}

struct Words(*mut glip_prompt);

impl Drop for Words {
    fn drop(&mut self) {
        unsafe { glip_prompt_free(self.0) };
    }
}

/// The photograph of the examples, blue before green before red, with padded rows.
struct Picture {
    bytes: Vec<u8>,
    width: u32,
    height: u32,
    stride: usize,
}

impl Picture {
    fn coffee() -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/images/coffee.jpg");
        let picture = ::image::open(path).unwrap().into_rgb8();
        let (width, height) = picture.dimensions();
        let stride = 3 * width as usize + 5;
        let mut bytes = Vec::new();
        for row in picture.rows() {
            bytes.extend(row.flat_map(|pixel| [pixel[2], pixel[1], pixel[0]]));
            bytes.extend([77; 5]);
        }
        Self {
            bytes,
            width,
            height,
            stride,
        }
    }

    fn view(&self) -> glip_image {
        let mut image = zeroed!(glip_image);
        image.width = self.width;
        image.height = self.height;
        image.format = glip_pixel_format::Bgr8 as u32;
        image.planes[0] = glip_plane {
            data: self.bytes.as_ptr(),
            size: self.bytes.len(),
            stride: self.stride,
        };
        image
    }
}

/// Phrase, index, score, box and track of each.
fn read(found: *const glip_detections) -> Vec<(String, usize, f32, [f32; 4], u64)> {
    let count = unsafe { glip_detections_count(found) };
    assert!(unsafe { glip_detections_get(found, count) }.is_null());
    let detection = |index| {
        let found = unsafe { &*glip_detections_get(found, index) };
        let phrase = unsafe { CStr::from_ptr(found.phrase) };
        (
            phrase.to_str().unwrap().to_owned(),
            found.phrase_index,
            found.score,
            [found.x1, found.y1, found.x2, found.y2],
            found.track_id,
        )
    };
    (0..count).map(detection).collect()
}

/// What the library itself finds there.
fn expected(picture: &Picture, phrases: &str) -> Vec<(String, usize, f32, [f32; 4], u64)> {
    let detector = glip::Detector::builder().bundle(glip::Bundle::nano().unwrap());
    let detector = detector.threads(1).build().unwrap();
    let image = glip::SourceImage::from_buffer(
        (picture.width, picture.height).into(),
        picture.stride,
        glip::PixelFormat::Bgr8,
        &picture.bytes,
    );
    let found = detector.ground(image.unwrap(), phrases).unwrap();
    let found = found.iter().map(|found| {
        let corners = <[f32; 4]>::from(found.bbox);
        let phrase = found.phrase.clone();
        (phrase, found.phrase_index, found.score, corners, 0)
    });
    found.collect()
}

#[test]
fn what_is_found_is_what_rust_finds() {
    let (model, picture) = (Model::nano(), Picture::coffee());
    let prompt = model.prompt(c"cup . bicycle . table");
    let mut found = ptr::null_mut();
    let status =
        unsafe { glip_ground(model.0, &picture.view(), prompt.0, ptr::null(), &mut found) };
    assert_ok(status);
    // It needs none of what it was made with.
    drop((model, prompt));
    let detections = read(found);
    assert_eq!(detections[0].0, "cup");
    assert_eq!(detections, expected(&picture, "cup . bicycle . table"));
    unsafe { glip_detections_free(found) };
}

#[test]
fn options_of_a_call_and_lists_of_names_count() {
    let (model, picture) = (Model::nano(), Picture::coffee());
    let names = [c"dining_table".as_ptr(), c"cup".as_ptr()];
    let mut prompt = ptr::null_mut();
    assert_ok(unsafe { glip_prompt_from_names(model.0, names.as_ptr(), 2, &mut prompt) });
    let mut options = zeroed!(glip_ground_options);
    options.score_threshold = 0.001;
    options.max_per_phrase = 1;
    let ground = |options: &glip_ground_options, found: &mut *mut glip_detections| unsafe {
        glip_ground(model.0, &picture.view(), prompt, options, found)
    };
    let mut found = ptr::null_mut();
    assert_ok(ground(&options, &mut found));
    let mut indices: Vec<_> = read(found).iter().map(|found| found.1).collect();
    indices.sort_unstable();
    assert_eq!(indices, [0, 1]);
    unsafe { glip_detections_free(found) };

    options.timeout_ns = 1;
    let status = ground(&options, &mut found);
    assert_fault(status, glip_status::Deadline, &[]);
    assert!(found.is_null(), "nothing is given where a call fails");
    options.timeout_ns = 0;
    options.score_threshold = 2.0;
    assert_fault(
        ground(&options, &mut found),
        glip_status::Option,
        &["score_threshold", "2"],
    );
    unsafe { glip_prompt_free(prompt) };
}

#[test]
fn images_that_cannot_be_are_errors() {
    let (model, picture) = (Model::nano(), Picture::coffee());
    let prompt = model.prompt(c"cup");
    type Change = fn(&mut glip_image);
    let cases: [(Change, glip_status, &[&str]); 12] = [
        (
            |image| image.struct_size = 0,
            glip_status::Argument,
            &["struct_size", "glip_image"],
        ),
        (
            |image| image.struct_size -= 1,
            glip_status::Argument,
            &["struct_size"],
        ),
        (
            |image| image.struct_size = usize::MAX,
            glip_status::Argument,
            &["struct_size"],
        ),
        (
            |image| image.format = 0,
            glip_status::Option,
            &["format", "0"],
        ),
        (
            |image| image.format = 99,
            glip_status::Option,
            &["format", "99"],
        ),
        (
            |image| image.yuv_encoding = 4,
            glip_status::Option,
            &["yuv_encoding"],
        ),
        (
            |image| {
                image.format = glip_pixel_format::Mono16 as u32;
                image.mono16_bits = 17;
            },
            glip_status::Option,
            &["mono16_bits", "17"],
        ),
        (
            |image| image.plane_count = 4,
            glip_status::Option,
            &["plane_count", "4"],
        ),
        (
            |image| image.planes[0].data = ptr::null(),
            glip_status::Argument,
            &["NULL"],
        ),
        (
            |image| image.planes[0].size = usize::MAX,
            glip_status::Argument,
            &["plane"],
        ),
        (
            |image| image.planes[0].size /= 2,
            glip_status::Image,
            &["bgr8"],
        ),
        (|image| image.width *= 2, glip_status::Image, &["stride"]),
    ];
    for (case, (change, status, words)) in cases.into_iter().enumerate() {
        let mut image = picture.view();
        change(&mut image);
        let mut found = ptr::null_mut();
        let result = unsafe { glip_ground(model.0, &image, prompt.0, ptr::null(), &mut found) };
        assert_fault(result, status, words);
        assert!(found.is_null(), "case {case}");
    }
    // Several planes of a format that has one.
    let mut image = picture.view();
    image.plane_count = 2;
    image.planes[1] = image.planes[0];
    let mut found = ptr::null_mut();
    let result = unsafe { glip_ground(model.0, &image, prompt.0, ptr::null(), &mut found) };
    assert_fault(result, glip_status::Image, &["plane"]);
}

#[test]
fn null_is_an_error_or_nothing() {
    let (model, picture) = (Model::nano(), Picture::coffee());
    let (prompt, image) = (model.prompt(c"cup"), picture.view());
    let (mut found, mut made) = (ptr::null_mut(), ptr::null_mut());
    let mut live = ptr::null_mut();
    let (detector, words) = (model.0.cast_const(), prompt.0.cast_const());
    let name = [ptr::null()];
    macro_rules! assert_refused {
        ($($what:literal: $call:expr),+ $(,)?) => {$(
            assert_fault(unsafe { $call }, glip_status::Argument, &[concat!($what, " is NULL")]);
        )+};
    }
    assert_refused! {
        "detector": glip_detector_new(ptr::null(), ptr::null_mut()),
        "detector": glip_prompt_new(ptr::null(), c"cup".as_ptr(), &mut made),
        "phrases": glip_prompt_new(detector, ptr::null(), &mut made),
        "prompt": glip_prompt_new(detector, c"cup".as_ptr(), ptr::null_mut()),
        "names": glip_prompt_from_names(detector, ptr::null(), 3, &mut made),
        "one of the names": glip_prompt_from_names(detector, name.as_ptr(), 1, &mut made),
        "prompt": glip_prompt_from_names(detector, name.as_ptr(), 1, ptr::null_mut()),
        "detector": glip_ground(ptr::null(), &image, words, ptr::null(), &mut found),
        "glip_image": glip_ground(detector, ptr::null(), words, ptr::null(), &mut found),
        "prompt": glip_ground(detector, &image, ptr::null(), ptr::null(), &mut found),
        "detections": glip_ground(detector, &image, words, ptr::null(), ptr::null_mut()),
        "name": glip_pixel_format_parse(ptr::null(), &mut 0),
        "format": glip_pixel_format_parse(c"bgr8".as_ptr(), ptr::null_mut()),
        "detector": glip_live_new(ptr::null(), words, ptr::null(), &mut live),
        "prompt": glip_live_new(detector, ptr::null(), ptr::null(), &mut live),
        "live": glip_live_new(detector, words, ptr::null(), ptr::null_mut()),
        "live": glip_live_push(ptr::null(), &image, 0, 0),
        "live": glip_live_set_prompt(ptr::null(), words, ptr::null_mut()),
        "live": glip_live_latest(ptr::null(), &mut ptr::null_mut()),
        "live": glip_live_warm_up(ptr::null(), 8, 8, ptr::null_mut()),
        "live": glip_live_stats_get(ptr::null(), ptr::null_mut()),
        "live": glip_live_finish(ptr::null_mut(), ptr::null_mut()),
    }
    assert!(made.is_null() && found.is_null() && live.is_null());
    unsafe {
        glip_detector_free(ptr::null_mut());
        glip_prompt_free(ptr::null_mut());
        glip_detections_free(ptr::null_mut());
        glip_live_free(ptr::null_mut());
        glip_frame_result_free(ptr::null_mut());
        assert_eq!(glip_detections_count(ptr::null()), 0);
        assert!(glip_detections_get(ptr::null(), 0).is_null());
    }
}

#[test]
fn detectors_that_cannot_be_are_errors() {
    type Change = fn(&mut glip_detector_options);
    let cases: [(Change, glip_status, &[&str]); 12] = [
        (
            |options| options.model_dir = c"no/such".as_ptr(),
            glip_status::Model,
            &["no/such"],
        ),
        (
            |options| options.device = c"abacus".as_ptr(),
            glip_status::Option,
            &["abacus"],
        ),
        (
            |options| options.device = c"coreml".as_ptr(),
            glip_status::Device,
            &["coreml", "allow_cpu_fallback of glip_detector_options"],
        ),
        (
            |options| options.device = c"\xff".as_ptr(),
            glip_status::Argument,
            &["device", "UTF-8"],
        ),
        (
            |options| options.onnxruntime = c"no/such.so".as_ptr(),
            glip_status::Runtime,
            &["no/such.so"],
        ),
        (
            |options| options.arena = 3,
            glip_status::Option,
            &["arena", "3"],
        ),
        (
            |options| options.core_count = 2,
            glip_status::Argument,
            &["cores"],
        ),
        (
            |options| options.cuda_graphs = 1,
            glip_status::Option,
            &["cuda_graphs", "set for cpu"],
        ),
        (
            |options| options.cuda_convolutions = 2,
            glip_status::Option,
            &["cuda_convolutions", "2"],
        ),
        (
            |options| options.tensorrt_engine_cache = c"\xff".as_ptr(),
            glip_status::Argument,
            &["tensorrt_engine_cache", "UTF-8"],
        ),
        (
            |options| {
                options.struct_size = std::mem::offset_of!(glip_detector_options, cuda_graphs) - 1
            },
            glip_status::Argument,
            &["glip_detector_options"],
        ),
        (
            |options| options.struct_size = 4,
            glip_status::Argument,
            &["glip_detector_options"],
        ),
    ];
    for (change, status, words) in cases {
        let mut options = zeroed!(glip_detector_options);
        change(&mut options);
        let mut detector = ptr::null_mut();
        let result = unsafe { glip_detector_new(&options, &mut detector) };
        assert_fault(result, status, words);
        assert!(detector.is_null());
    }
}

#[test]
fn prompts_that_cannot_be_are_errors() {
    let model = Model::nano();
    let long = CString::new("cup . ".repeat(200)).unwrap();
    let cases: [(&CStr, &[&str]); 2] = [(c"", &["phrase"]), (c" . ", &["phrase"])];
    let mut prompt = ptr::null_mut();
    for (phrases, words) in cases {
        let status = unsafe { glip_prompt_new(model.0, phrases.as_ptr(), &mut prompt) };
        assert_fault(status, glip_status::Prompt, words);
    }
    let status = unsafe { glip_prompt_new(model.0, long.as_ptr(), &mut prompt) };
    assert_eq!(status, glip_status::Prompt);
    assert!(!last_error().contains("::"), "{}", last_error());
    assert!(prompt.is_null());
}

#[test]
fn structs_may_be_older_and_newer() {
    #[repr(C)]
    struct Newer {
        known: glip_ground_options,
        added: u64,
    }
    let mut newer = Newer {
        known: zeroed!(glip_ground_options),
        added: 0,
    };
    newer.known.struct_size = size_of::<Newer>();
    newer.known.max_detections = 3;
    let read = |newer: &Newer| unsafe {
        extensible::read((&raw const *newer).cast::<glip_ground_options>())
    };
    assert_eq!(read(&newer).unwrap().max_detections, 3);
    newer.added = 1;
    let fault = read(&newer).unwrap_err();
    assert_eq!(fault.status, glip_status::Argument);
    assert!(fault.message.contains("does not know"), "{}", fault.message);

    // A program that was compiled before there were options of GPUs has other things after its struct.
    let mut older = zeroed!(glip_detector_options);
    older.struct_size = std::mem::offset_of!(glip_detector_options, cuda_graphs);
    older.max_detections = 7;
    older.cuda_graphs = 1;
    older.tensorrt_engine_cache = ptr::dangling();
    let read = unsafe { extensible::read(&raw const older) }.unwrap();
    assert_eq!((read.max_detections, read.cuda_graphs), (7, 0));
    assert!(read.tensorrt_engine_cache.is_null());

    // What is written ends where the caller's struct does.
    #[repr(C)]
    struct Stats {
        known: glip_live_stats,
        added: u64,
    }
    let mut stats: Stats = unsafe { std::mem::zeroed() };
    stats.known.struct_size = size_of::<glip_live_stats>();
    stats.added = 9;
    let mut value = zeroed!(glip_live_stats);
    value.total.max_ns = 5;
    let to = (&raw mut stats).cast::<glip_live_stats>();
    assert!(unsafe { extensible::write(to, &value) }.is_ok());
    assert_eq!((stats.known, stats.added), (value, 9));
    stats.known.struct_size = size_of::<Stats>();
    assert!(unsafe { extensible::write(to, &value) }.is_ok());
    assert_eq!((stats.known.total.max_ns, stats.added), (5, 0));
    assert_eq!(stats.known.struct_size, size_of::<Stats>());
}

/// A field that is added must make a struct larger, or nobody can tell whether it is there.
#[test]
fn no_struct_has_room_at_its_end() {
    let ends = [
        (
            size_of::<glip_image>(),
            std::mem::offset_of!(glip_image, planes),
            size_of::<[glip_plane; 3]>(),
        ),
        (
            size_of::<glip_detector_options>(),
            std::mem::offset_of!(glip_detector_options, tensorrt_engine_cache),
            size_of::<*const c_char>(),
        ),
        (
            size_of::<glip_ground_options>(),
            std::mem::offset_of!(glip_ground_options, nms_across_phrases),
            4,
        ),
        (
            size_of::<glip_live_options>(),
            std::mem::offset_of!(glip_live_options, track_max_unseen_ns),
            8,
        ),
        (
            size_of::<glip_live_stats>(),
            std::mem::offset_of!(glip_live_stats, total),
            size_of::<glip_latency>(),
        ),
    ];
    for (size, last, last_size) in ends {
        assert_eq!(size, last + last_size);
    }
}

#[test]
fn formats_have_the_names_of_ros() {
    let mut format = 0;
    assert_ok(unsafe { glip_pixel_format_parse(c"bgr8".as_ptr(), &mut format) });
    assert_eq!(format, glip_pixel_format::Bgr8 as u32);
    assert_ok(unsafe { glip_pixel_format_parse(c"yuv422_yuy2".as_ptr(), &mut format) });
    assert_eq!(format, glip_pixel_format::Yuyv as u32);
    let status = unsafe { glip_pixel_format_parse(c"rgb9".as_ptr(), &mut format) };
    assert_fault(status, glip_status::Option, &["rgb9", "bgr8"]);
    assert_eq!(format, 0);
}

#[test]
fn a_panic_is_a_status() {
    let status = fault::guard(|| panic!("in here"));
    assert_fault(status, glip_status::Internal, &["in here", "report"]);
}

#[test]
fn messages_are_of_the_thread() {
    let mut format = 0;
    unsafe { glip_pixel_format_parse(c"mine".as_ptr(), &mut format) };
    let other = thread::spawn(last_error).join().unwrap();
    assert_eq!(other, "");
    assert!(last_error().contains("mine"));
}

/// What a callback was told of a frame: number, time, prompt, outcome, and the ids of its cups.
type Told = (u64, u64, u64, glip_outcome, Vec<u64>);

unsafe extern "C" fn tell(result: *const glip_frame_result, user_data: *mut c_void) {
    let (result, sender) = unsafe { (&*result, &*user_data.cast::<mpsc::Sender<Told>>()) };
    let cups = read(result.found)
        .into_iter()
        .filter(|found| found.0 == "cup");
    let ids = cups.map(|found| found.4).collect();
    sender
        .send((
            result.id,
            result.stamp_ns,
            result.prompt,
            result.outcome,
            ids,
        ))
        .unwrap();
}

#[test]
fn frames_are_looked_at_and_tracked() {
    let (model, picture) = (Model::nano(), Picture::coffee());
    let (first, second) = (model.prompt(c"cup . table"), model.prompt(c"table . cup"));
    let (sender, results) = mpsc::channel::<Told>();
    let mut options = zeroed!(glip_live_options);
    options.callback = Some(tell);
    options.user_data = (&raw const sender).cast_mut().cast();
    options.tracks = 1;
    let mut live = ptr::null_mut();
    assert_ok(unsafe { glip_live_new(model.0, first.0, &options, &mut live) });
    drop(model);
    let mut latest = ptr::null_mut();
    assert_ok(unsafe { glip_live_latest(live, &mut latest) });
    assert!(latest.is_null(), "nothing was looked at yet");
    let mut took = 0;
    assert_ok(unsafe { glip_live_warm_up(live, picture.width, picture.height, &mut took) });
    assert!(took > 0);

    let mut ids = vec![];
    for id in 0..2 {
        assert_ok(unsafe { glip_live_push(live, &picture.view(), id, 33 * id * MS) });
        let told = results.recv().unwrap();
        assert_eq!(
            (told.0, told.1, told.2, told.3),
            (id, 33 * id * MS, 0, glip_outcome::Found)
        );
        ids.push(told.4);
    }
    assert!(!ids[0].is_empty() && ids[0] == ids[1], "{ids:?}");
    assert!(ids[0].iter().all(|&id| id > 0));

    let mut number = 0;
    assert_ok(unsafe { glip_live_set_prompt(live, second.0, &mut number) });
    assert_ok(unsafe { glip_live_push(live, &picture.view(), 2, 99 * MS) });
    assert_eq!(results.recv().unwrap().2, number);

    // The same time again: tracks cannot be told, and the frame's result says so.
    assert_ok(unsafe { glip_live_push(live, &picture.view(), 3, 99 * MS) });
    assert_eq!(results.recv().unwrap().3, glip_outcome::Failed);
    assert_ok(unsafe { glip_live_latest(live, &mut latest) });
    let result = unsafe { &*latest };
    let error = unsafe { CStr::from_ptr(result.error) }.to_str().unwrap();
    assert_eq!((result.id, result.status), (3, glip_status::Value));
    assert!(error.contains("stamp_ns of glip_live_push"), "{error}");
    assert!(result.found.is_null());

    let mut stats = zeroed!(glip_live_stats);
    assert_ok(unsafe { glip_live_stats_get(live, &mut stats) });
    assert_eq!((stats.pushed, stats.done, stats.failed), (4, 3, 1));
    assert!(stats.total.p50_ns >= stats.image_encoder.p50_ns && stats.image_encoder.p50_ns > 0);
    assert_ok(unsafe { glip_live_finish(live, &mut stats) });
    assert_eq!(stats.pushed, 4);
    // It outlives what it came of.
    assert_eq!(unsafe { &*latest }.stamp_ns, 99 * MS);
    unsafe { glip_frame_result_free(latest) };
}

#[test]
fn frames_and_live_options_that_cannot_be_are_errors() {
    let (model, picture) = (Model::nano(), Picture::coffee());
    let prompt = model.prompt(c"cup");
    let mut options = zeroed!(glip_live_options);
    options.tracks = 1;
    options.track_min_iou = 7.0;
    let mut live = ptr::null_mut();
    let status = unsafe { glip_live_new(model.0, prompt.0, &options, &mut live) };
    assert_fault(status, glip_status::Option, &["min_iou", "7"]);
    assert_ok(unsafe { glip_live_new(model.0, prompt.0, ptr::null(), &mut live) });
    let mut image = picture.view();
    image.planes[0].size = 10;
    let status = unsafe { glip_live_push(live, &image, 0, 0) };
    assert_fault(status, glip_status::Image, &["bgr8"]);
    image.plane_count = 2;
    image.planes[1] = image.planes[0];
    let status = unsafe { glip_live_push(live, &image, 0, 0) };
    assert_fault(status, glip_status::Image, &["bgr8", "plane"]);
    let mut stats = zeroed!(glip_live_stats);
    stats.struct_size = 3;
    let status = unsafe { glip_live_stats_get(live, &mut stats) };
    assert_fault(status, glip_status::Argument, &["glip_live_stats"]);
    unsafe { glip_live_free(live) };
}

unsafe extern "C" fn release(user_data: *mut c_void) {
    unsafe { &*user_data.cast::<AtomicU32>() }.fetch_add(1, Ordering::SeqCst);
}

#[test]
fn memory_that_was_lent_is_given_back_whatever_becomes_of_the_frame() {
    let (model, picture) = (Model::nano(), Picture::coffee());
    let prompt = model.prompt(c"cup");
    let mut live = ptr::null_mut();
    assert_ok(unsafe { glip_live_new(model.0, prompt.0, ptr::null(), &mut live) });
    let released = AtomicU32::new(0);
    let data = (&raw const released).cast_mut().cast::<c_void>();
    let count = || released.load(Ordering::SeqCst);
    let push = |live, image: *const glip_image| unsafe {
        glip_live_push_lent(live, image, 1, 0, Some(release), data)
    };
    assert_fault(
        push(ptr::null(), &picture.view()),
        glip_status::Argument,
        &["live"],
    );
    assert_fault(
        push(live, ptr::null()),
        glip_status::Argument,
        &["glip_image"],
    );
    let mut image = picture.view();
    image.planes[0].size = 10;
    assert_fault(push(live, &image), glip_status::Image, &["bgr8"]);
    image.plane_count = 3;
    (image.planes[1], image.planes[2]) = (image.planes[0], image.planes[0]);
    assert_fault(push(live, &image), glip_status::Image, &["bgr8", "plane"]);
    assert_eq!(count(), 4, "refused");
    for _ in 0..3 {
        assert_ok(push(live, &picture.view()));
    }
    let mut stats = zeroed!(glip_live_stats);
    let mut latest = ptr::null_mut();
    while unsafe { glip_live_stats_get(live, &mut stats) } == glip_status::Ok && stats.done == 0 {
        thread::yield_now();
    }
    assert_ok(unsafe { glip_live_latest(live, &mut latest) });
    let found = read(unsafe { (*latest).found });
    assert_eq!(found, expected(&picture, "cup"));
    unsafe { glip_frame_result_free(latest) };
    assert_ok(unsafe { glip_live_finish(live, &mut stats) });
    assert_eq!(count(), 7, "{stats:?}");
}

/// The frame of the C examples, in planes of their own, with padded rows.
struct Planes {
    luma: Vec<u8>,
    chroma: [Vec<u8>; 2],
}

impl Planes {
    const SIZE: (usize, usize) = (320, 214);
    const PADDING: usize = 7;

    fn coffee() -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/coffee-320x214.nv12");
        let bytes = std::fs::read(path).unwrap();
        let (width, height) = Self::SIZE;
        let (luma, chroma) = bytes.split_at(width * height);
        let padded = |row: Vec<u8>| [row, vec![99; Self::PADDING]].concat();
        let channel = |channel: usize| {
            let rows = chroma.chunks(width);
            let rows = rows.map(|row| row.iter().skip(channel).step_by(2).copied().collect());
            rows.flat_map(padded).collect()
        };
        Self {
            luma: luma
                .chunks(width)
                .flat_map(|row| padded(row.to_vec()))
                .collect(),
            chroma: [0, 1].map(channel),
        }
    }

    fn view(&self) -> glip_image {
        let (width, height) = Self::SIZE;
        let plane = |bytes: &[u8], row: usize| glip_plane {
            data: bytes.as_ptr(),
            size: bytes.len(),
            stride: row + Self::PADDING,
        };
        let mut image = zeroed!(glip_image);
        (image.width, image.height) = (width as u32, height as u32);
        image.format = glip_pixel_format::I420 as u32;
        image.plane_count = 3;
        let [u, v] = &self.chroma;
        image.planes = [
            plane(&self.luma, width),
            plane(u, width / 2),
            plane(v, width / 2),
        ];
        image
    }
}

#[test]
fn frames_in_planes_are_looked_at_copied_or_lent() {
    let model = Model::nano();
    let (prompt, planes) = (model.prompt(c"cup . table"), Planes::coffee());
    let mut found = ptr::null_mut();
    let image = planes.view();
    assert_ok(unsafe { glip_ground(model.0, &image, prompt.0, ptr::null(), &mut found) });
    let expected = read(found);
    unsafe { glip_detections_free(found) };
    assert_eq!(expected[0].0, "cup");

    let mut live = ptr::null_mut();
    assert_ok(unsafe { glip_live_new(model.0, prompt.0, ptr::null(), &mut live) });
    let mut stats = zeroed!(glip_live_stats);
    let mut looked_at = |frames| {
        while unsafe { glip_live_stats_get(live, &mut stats) } == glip_status::Ok
            && stats.done + stats.failed < frames
        {
            thread::yield_now();
        }
        let mut latest = ptr::null_mut();
        assert_ok(unsafe { glip_live_latest(live, &mut latest) });
        assert_eq!(unsafe { (*latest).outcome }, glip_outcome::Found);
        assert_eq!(read(unsafe { (*latest).found }), expected);
        unsafe { glip_frame_result_free(latest) };
    };
    // The memory of a frame that is copied may go at once.
    let copied = Planes::coffee();
    assert_ok(unsafe { glip_live_push(live, &copied.view(), 1, 0) });
    drop(copied);
    looked_at(1);

    let released = AtomicU32::new(0);
    let data = (&raw const released).cast_mut().cast::<c_void>();
    assert_ok(unsafe { glip_live_push_lent(live, &image, 2, 0, Some(release), data) });
    looked_at(2);
    unsafe { glip_live_free(live) };
    assert_eq!(released.load(Ordering::SeqCst), 1, "once for all planes");
}

unsafe extern "C" fn count(level: glip_log_level, message: *const c_char, user_data: *mut c_void) {
    let message = unsafe { CStr::from_ptr(message) }.to_str().unwrap();
    if message == "for the callback" {
        assert_eq!(level, glip_log_level::Warn);
        unsafe { *user_data.cast::<u32>() += 1 };
    }
}

#[test]
fn what_is_logged_is_told_until_it_is_not_wanted() {
    let mut counted = 0u32;
    let data = (&raw mut counted).cast::<c_void>();
    let status = unsafe { glip_set_log_callback(Some(count), data, 6) };
    assert_fault(status, glip_status::Option, &["max_level", "6"]);
    assert_ok(unsafe { glip_set_log_callback(Some(count), data, 2) });
    log::warn!("for the callback");
    assert_ok(unsafe { glip_set_log_callback(Some(count), data, 1) });
    log::warn!("for the callback");
    assert_ok(unsafe { glip_set_log_callback(None, ptr::null_mut(), 5) });
    log::error!("for the callback");
    assert_eq!(counted, 1);
}

/// As the header says of them.
#[test]
fn handles_may_be_used_by_several_threads() {
    fn check<T: Send + Sync>() {}
    check::<glip_detector>();
    check::<glip_prompt>();
    check::<glip_live>();
}

#[test]
fn versions_are_told() {
    assert_eq!(glip_abi_version(), GLIP_ABI_VERSION);
    let version = unsafe { CStr::from_ptr(glip_version()) };
    assert_eq!(version.to_str().unwrap(), env!("CARGO_PKG_VERSION"));
}

/// What a call costs beyond what it does, measured in turn with the call that it is for. By itself, on a quiet machine:
/// `cargo test --release -p glip-capi -- --ignored --nocapture overhead`
#[test]
#[ignore = "measures time"]
fn overhead_is_less_than_a_tenth_of_a_millisecond() {
    // Many detections of a small input: what the network takes hides nothing.
    let model = Model::new(|options| {
        (options.short_side, options.long_side) = (64, 64);
        options.score_threshold = 1e-6;
    });
    let picture = Picture::coffee();
    let (prompt, image) = (model.prompt(c"cup . bicycle . table"), picture.view());
    let (detector, words) = unsafe { (&(*model.0).0, &(*prompt.0).0) };
    let size = (picture.width, picture.height).into();
    let source = || {
        let format = glip::PixelFormat::Bgr8;
        glip::SourceImage::from_buffer(size, picture.stride, format, &picture.bytes).unwrap()
    };
    let timed = |work: &dyn Fn()| {
        let begin = Instant::now();
        work();
        begin.elapsed().as_secs_f64() * 1e3
    };
    let rust = || drop(detector.ground(source(), words).unwrap());
    let c = || {
        let mut found = ptr::null_mut();
        let status = unsafe { glip_ground(model.0, &image, prompt.0, ptr::null(), &mut found) };
        assert_ok(status);
        unsafe { glip_detections_free(found) };
    };
    let median = |times: &mut Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    let (mut rusts, mut differences) = (vec![], vec![]);
    for round in 0..500 {
        let (of_rust, of_c) = match round % 2 {
            0 => (timed(&rust), timed(&c)),
            _ => {
                let of_c = timed(&c);
                (timed(&rust), of_c)
            }
        };
        rusts.push(of_rust);
        differences.push(of_c - of_rust);
    }
    let (rust, overhead) = (median(&mut rusts), median(&mut differences));
    let found = detector.ground(source(), words).unwrap().len();
    println!("{found} detections: {rust:.3} ms in Rust, {overhead:+.4} ms more in C");
    assert!(overhead < 0.1, "{overhead} ms");
}
