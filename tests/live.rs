//! A camera in front of hand-made models that find colours.

#![allow(clippy::unwrap_used)] // Clippy does not see that helpers of tests are tests.

mod common;

use std::{
    sync::{Arc, mpsc},
    time::Duration,
};

use common::fixture;
use glip::{
    Detections, Detector, Error, GroundOptions, ImageSize, PixelFormat, SourceImage,
    live::{Frame, FramePlane, FrameResult, Live, LiveOptions},
    parts::{Arena, CpuOptions},
};

const SIZE: ImageSize = ImageSize::new(160, 128);

/// A grey picture with a dot, in the order of levels that cameras have.
fn bgr(dot: [u8; 3], padding: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for y in 0..SIZE.height {
        for x in 0..SIZE.width {
            let is_dot = (48..56).contains(&x) && (64..72).contains(&y);
            bytes.extend(if is_dot { dot } else { [90; 3] });
        }
        bytes.extend(vec![0; padding]);
    }
    bytes
}

const RED: [u8; 3] = [0, 0, 255];
const BLUE: [u8; 3] = [255, 0, 0];
const STRIDE: usize = 3 * SIZE.width as usize + 4;

fn frame(id: u64, dot: [u8; 3]) -> Frame {
    let frame = Frame::new(SIZE, STRIDE, PixelFormat::Bgr8, bgr(dot, 4)).unwrap();
    frame.with_id(id).with_stamp(Duration::from_millis(id))
}

/// What the detector finds by itself.
fn expected(detector: &Detector, dot: [u8; 3], prompt: &str) -> Detections {
    let bytes = bgr(dot, 4);
    let image = SourceImage::from_buffer(SIZE, STRIDE, PixelFormat::Bgr8, &bytes).unwrap();
    detector.ground(image, prompt).unwrap()
}

#[test]
fn frames_are_looked_at_as_pictures_are() {
    for name in ["colour", "colour_without_fusion"] {
        let detector = Detector::from_dir(fixture(name)).unwrap();
        let (sender, results) = mpsc::channel::<Arc<FrameResult>>();
        let options = LiveOptions::default().on_result(move |result| {
            let _ = sender.send(result);
        });
        let live = Live::new(&detector, "red . blue", options).unwrap();
        let times = live.warm_up(&[SIZE, ImageSize::new(64, 64)]).unwrap();
        assert_eq!(times.len(), 2);
        for (id, dot, words) in [
            (1, RED, None),
            (2, BLUE, None),
            (3, RED, Some("green . red")),
        ] {
            let prompt = words.unwrap_or("red . blue");
            let number = words.map_or(0, |words| live.set_prompt(words).unwrap());
            assert_eq!(live.push(frame(id, dot)), None);

            let result = results.recv().unwrap();
            let stamp = Duration::from_millis(id);
            assert_eq!(
                (result.id, result.stamp, result.prompt),
                (id, stamp, number)
            );
            let found = result.found().unwrap();
            assert!(!found.is_empty());
            assert_eq!(*found, expected(&detector, dot, prompt));
            assert_eq!(live.latest().unwrap().id, id);
        }
        let error = live.set_prompt("").unwrap_err();
        assert!(matches!(error, Error::EmptyPrompt), "{error}");
        let stats = live.finish();
        assert_eq!((stats.pushed, stats.done), (3, 3));
        assert!(stats.image_encoder.max > Duration::ZERO);
        assert!(stats.total.p50 >= stats.image_encoder.p50);
    }
}

/// Luma, and U and V in turn for 2 x 2 pixels each: green, with a red dot.
fn nv12_planes() -> [Vec<u8>; 2] {
    let (width, height) = (SIZE.width as usize, SIZE.height as usize);
    let [mut luma, mut chroma] = [
        vec![144; width * height],
        [54, 34].repeat(width * height / 4),
    ];
    for y in 64..72 {
        luma[y * width..][48..56].fill(81);
        chroma[y / 2 * width..][48..56].copy_from_slice(&[90, 240].repeat(4));
    }
    [luma, chroma]
}

#[test]
fn a_frame_in_planes_is_looked_at_as_in_one_piece() {
    let detector = Detector::from_dir(fixture("colour")).unwrap();
    let (sender, results) = mpsc::channel::<Arc<FrameResult>>();
    let options = LiveOptions::default().on_result(move |result| {
        let _ = sender.send(result);
    });
    let live = Live::new(&detector, "red", options).unwrap();
    let look = |frame| {
        live.push(frame);
        results.recv().unwrap().found().unwrap().clone()
    };
    let (format, stride) = (PixelFormat::Nv12, SIZE.width as usize);
    let planes = nv12_planes();
    let in_one_piece = look(Frame::new(SIZE, stride, format, planes.concat()).unwrap());
    assert!(!in_one_piece.is_empty());
    let planes = planes.map(|bytes| FramePlane::new(bytes, stride));
    let in_planes = look(Frame::from_planes(SIZE, format, planes).unwrap());
    assert_eq!(in_planes, in_one_piece);
}

#[test]
fn a_prompt_may_have_options_until_the_next() {
    let detector = Detector::from_dir(fixture("colour")).unwrap();
    let (sender, results) = mpsc::channel::<Arc<FrameResult>>();
    let options = LiveOptions::default().on_result(move |result| {
        let _ = sender.send(result);
    });
    let live = Live::new(&detector, "red", options).unwrap();
    let look = |id| {
        live.push(frame(id, RED));
        results.recv().unwrap().found().unwrap().len()
    };
    let all = look(1);
    assert!(all > 0);
    let strict = GroundOptions::default().with_score_threshold(1.0);
    assert_eq!(live.set_prompt_with("red", &strict).unwrap(), 1);
    assert_eq!(look(2), 0);

    let none = GroundOptions::default().with_score_threshold(2.0);
    let error = live.set_prompt_with("red", &none).unwrap_err();
    assert!(matches!(error, Error::InvalidOption { .. }), "{error}");
    assert_eq!(look(3), 0);
    assert_eq!(live.set_prompt("red").unwrap(), 2);
    assert_eq!(look(4), all);
}

#[test]
fn empty_frames_and_sizes_are_errors_of_theirs() {
    let detector = Detector::from_dir(fixture("colour")).unwrap();
    let live = Live::new(&detector, "red", LiveOptions::default()).unwrap();
    let error = live.warm_up(&[ImageSize::new(0, 4)]).unwrap_err();
    assert!(matches!(error, Error::EmptyImage { .. }), "{error}");
    live.push(Frame::new(ImageSize::new(4, 0), 12, PixelFormat::Rgb8, vec![]).unwrap());
    let stats = live.finish();
    assert_eq!((stats.failed, stats.done), (1, 0));
}

#[test]
fn options_of_the_processor_change_no_result() {
    let plain = Detector::from_dir(fixture("colour")).unwrap();
    let cpu = CpuOptions::default;
    for options in [
        cpu().without_spinning(),
        cpu().without_memory_pattern(),
        cpu().with_arena(Arena::Shrunk),
        cpu().with_arena(Arena::None),
        cpu().with_cores([0, 0]),
    ] {
        let builder = Detector::builder()
            .dir(fixture("colour"))
            .cpu(options.clone());
        let detector = builder.build().unwrap();
        for _ in 0..2 {
            let found = expected(&detector, RED, "red . blue");
            assert_eq!(found, expected(&plain, RED, "red . blue"), "{options:?}");
        }
    }
    let builder = Detector::builder().dir(fixture("colour")).threads(3);
    let error = builder.cpu(cpu().with_cores([0, 1])).build().unwrap_err();
    assert!(
        error.to_string().contains("2 cores for 3 threads"),
        "{error}"
    );
}
