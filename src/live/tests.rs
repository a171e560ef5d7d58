//! The thread and its rules, with a look that is a function and a clock that is set.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, Receiver, Sender},
    },
    time::{Duration, Instant},
};

use image::RgbImage;

use super::{
    engine::{Clock, Engine},
    frame::{Frame, FrameBytes, FramePlane},
    options::LiveOptions,
    result::{FrameResult, Outcome},
};
#[cfg(feature = "tracks")]
use crate::tracks::TrackOptions;
use crate::{
    detection::{Detection, Detections},
    detector::{Stage, Watch},
    error::{Error, Result},
    geometry::{BBox, ImageSize},
    preprocess::PixelFormat,
};

const PATIENCE: Duration = Duration::from_secs(60);

fn frame(id: u64) -> Frame {
    let stamp = Duration::from_millis(33 * id);
    Frame::from(RgbImage::new(4, 3))
        .with_id(id)
        .with_stamp(stamp)
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// What finds the prompt itself, everywhere.
fn found(prompt: &str) -> Detections {
    let bbox = BBox::new(0.0, 0.0, 1.0, 1.0).unwrap();
    Detections::from_iter([Detection::new(prompt, 0, 1.0, bbox)])
}

/// Options whose results come out of the receiver.
fn listening(options: LiveOptions) -> (LiveOptions, Receiver<Arc<FrameResult>>) {
    let (sender, results) = mpsc::channel();
    let options = options.on_result(move |result| {
        let _ = sender.send(result);
    });
    (options, results)
}

fn start<L>(options: LiveOptions, look: L) -> Engine<&'static str>
where
    L: FnMut(&Frame, &&'static str, Watch<'_>) -> Result<Detections> + Send + 'static,
{
    Engine::start("cat", options, Box::new(Instant::now), None, look).unwrap()
}

/// A look that says which frame it has begun, and ends when it is let.
struct Gate {
    begun: Receiver<u64>,
    go: Sender<()>,
}

fn gated() -> (
    Gate,
    impl FnMut(&Frame, &&'static str, Watch<'_>) -> Result<Detections> + Send + 'static,
) {
    let (begin, begun) = mpsc::channel();
    let (go, may_go) = mpsc::channel();
    let look = move |frame: &Frame, prompt: &&'static str, _: Watch<'_>| {
        begin.send(frame.id()).unwrap();
        may_go.recv_timeout(PATIENCE).unwrap();
        Ok(found(prompt))
    };
    (Gate { begun, go }, look)
}

impl Gate {
    fn begun(&self) -> u64 {
        self.begun.recv_timeout(PATIENCE).unwrap()
    }
}

#[test]
fn the_newest_frame_is_next_and_those_before_it_are_dropped() {
    let (gate, look) = gated();
    let (options, results) = listening(LiveOptions::default());
    let mut engine = start(options, look);
    assert_eq!(engine.push(frame(1)), None);
    assert_eq!(gate.begun(), 1);
    let replaced = [2, 3, 4].map(|id| engine.push(frame(id)));
    assert_eq!(replaced, [None, Some(2), Some(3)]);

    gate.go.send(()).unwrap();
    assert_eq!(gate.begun(), 4);
    assert_eq!(engine.latest().unwrap().id, 1);
    assert_eq!(engine.set_prompt("dog"), 1);
    assert_eq!(engine.push(frame(5)), None);
    gate.go.send(()).unwrap();
    gate.go.send(()).unwrap();
    engine.finish();

    let seen: Vec<_> = results
        .iter()
        .take(3)
        .map(|result| {
            let phrase = result.found().unwrap()[0].phrase.clone();
            (result.id, result.stamp, result.prompt, phrase)
        })
        .collect();
    let expected = [(1, 0, "cat"), (4, 0, "cat"), (5, 1, "dog")];
    let expected =
        expected.map(|(id, prompt, phrase)| (id, ms(33 * id), prompt, phrase.to_owned()));
    assert_eq!(seen, expected);
    let stats = engine.stats();
    assert_eq!((stats.pushed, stats.done, stats.dropped), (5, 3, 2));
    assert_eq!((stats.late, stats.failed), (0, 0));
    assert_eq!(engine.latest().unwrap().id, 5);
}

/// A clock that is set by hand.
#[derive(Clone)]
struct Hand(Arc<AtomicU64>);

impl Hand {
    fn new() -> Self {
        Self(Arc::default())
    }

    fn advance(&self, milliseconds: u64) {
        self.0.fetch_add(milliseconds, Ordering::SeqCst);
    }

    fn clock(&self) -> Clock {
        let (begin, hand) = (Instant::now(), self.clone());
        Box::new(move || begin + ms(hand.0.load(Ordering::SeqCst)))
    }
}

/// A detector that takes as long as it is told to, most of it in the head, by a clock that is set.
struct Slow {
    engine: Engine<&'static str>,
    results: Receiver<Arc<FrameResult>>,
    encoder: Arc<AtomicU64>,
    head: Arc<AtomicU64>,
}

impl Slow {
    fn new(deadline: u64, head: u64) -> Self {
        let hand = Hand::new();
        let times = [0, head].map(|time| Arc::new(AtomicU64::new(time)));
        let [encoder, head] = times.clone();
        let (options, results) = listening(LiveOptions::default().with_deadline(ms(deadline)));
        let clock = hand.clock();
        let look = move |_: &Frame, prompt: &&'static str, after: Watch<'_>| {
            let [encoder, head] = times.each_ref().map(|time| time.load(Ordering::SeqCst));
            for (stage, time) in [
                (Stage::Preprocess, 1),
                (Stage::ImageEncoder, encoder),
                (Stage::Fusion, 0),
                (Stage::Head, head),
            ] {
                hand.advance(time);
                after(stage)?;
            }
            Ok(found(prompt))
        };
        Self {
            engine: Engine::start("cat", options, clock, None, look).unwrap(),
            results,
            encoder,
            head,
        }
    }

    /// What becomes of a frame.
    fn push(&self) -> Arc<FrameResult> {
        self.engine.push(frame(9));
        self.results.recv_timeout(PATIENCE).unwrap()
    }

    fn is_begun(&self) -> bool {
        !matches!(self.push().outcome, Outcome::NotStarted { .. })
    }
}

#[test]
fn a_frame_that_would_be_late_is_not_begun() {
    let slow = Slow::new(25, 29);
    for _ in 0..20 {
        assert_eq!(slow.push().latency, ms(30), "too little is known yet");
    }
    for _ in 0..9 {
        match &slow.push().outcome {
            Outcome::NotStarted { expected } => assert_eq!(*expected, ms(30)),
            other => panic!("{other:?}"),
        }
    }
    assert!(
        slow.is_begun(),
        "one is, to see whether it still takes so long"
    );
    assert_eq!([(); 9].map(|()| slow.is_begun()), [false; 9]);

    slow.head.store(4, Ordering::SeqCst);
    assert!(slow.is_begun());
    assert_eq!(
        [(); 50].map(|()| slow.is_begun()),
        [true; 50],
        "it is faster by now"
    );
    let stats = slow.engine.stats();
    assert_eq!((stats.done, stats.late, stats.pushed), (72, 18, 90));
    assert_eq!((stats.head.p50, stats.head.max), (ms(4), ms(29)));
    assert_eq!((stats.preprocess.p99, stats.total.p50), (ms(1), ms(5)));
}

#[test]
fn another_prompt_is_measured_anew() {
    let slow = Slow::new(25, 29);
    while slow.is_begun() {}
    slow.engine.set_prompt("dog");
    assert!(slow.is_begun());
}

#[test]
fn a_frame_is_given_up_between_graphs_when_its_time_is_over() {
    let slow = Slow::new(25, 1);
    slow.encoder.store(40, Ordering::SeqCst);
    let result = slow.push();
    assert!(matches!(result.outcome, Outcome::Overdue), "{result:?}");
    assert_eq!(result.latency, ms(41), "without the head");
    assert!(result.found().is_none() && slow.engine.latest().is_none());
    assert_eq!(slow.engine.stats().late, 1);
}

#[test]
fn panics_and_errors_end_nothing() {
    let (sender, results) = mpsc::channel();
    let options = LiveOptions::default().on_result(move |result| {
        let id = result.id;
        sender.send(result).unwrap();
        assert_ne!(id, 2, "the callback panics");
    });
    let look = |frame: &Frame, prompt: &&'static str, _: Watch<'_>| match frame.id() {
        3 => panic!("frame {} is odd", frame.id()),
        4 => Err(Error::EmptyPrompt),
        _ => Ok(found(prompt)),
    };
    let mut engine = start(options, look);
    let outcomes = [1, 2, 3, 4, 5].map(|id| {
        engine.push(frame(id));
        let result: Arc<FrameResult> = results.recv_timeout(PATIENCE).unwrap();
        format!("{:?}", result.outcome)
    });
    engine.finish();
    let [first, second, third, fourth, fifth] = outcomes;
    for outcome in [first, second, fifth] {
        assert!(outcome.starts_with("Found"), "{outcome}");
    }
    assert!(third.contains("frame 3 is odd"), "{third}");
    assert!(fourth.contains("the prompt has no phrases"), "{fourth}");
    let stats = engine.stats();
    assert_eq!((stats.done, stats.failed, stats.callback_panics), (3, 2, 1));
}

#[test]
fn buffers_come_back() {
    let (gate, look) = gated();
    let (options, results) = listening(LiveOptions::default());
    let engine = start(options, look);
    assert_eq!(engine.spare_buffer().capacity(), 0);
    let size = ImageSize::new(4, 2);
    let push = |id, bytes: FrameBytes| {
        let frame = Frame::new(size, 4, PixelFormat::Mono8, bytes).unwrap();
        engine.push(frame.with_id(id))
    };
    let shared = Arc::new([0; 8]);
    push(1, vec![0; 8].into());
    gate.begun();
    push(2, Arc::clone(&shared).into());
    push(3, vec![0; 100].into());
    assert_eq!(
        Arc::strong_count(&shared),
        1,
        "a dropped frame lets go of its memory"
    );
    push(4, shared.into());
    let buffer = engine.spare_buffer();
    assert_eq!((buffer.len(), buffer.capacity()), (0, 100));
    gate.go.send(()).unwrap();
    results.recv_timeout(PATIENCE).unwrap();
    assert_eq!(engine.spare_buffer().capacity(), 8);
    gate.go.send(()).unwrap();
}

#[test]
fn buffers_of_planes_come_back_in_their_order() {
    let (gate, look) = gated();
    let (options, results) = listening(LiveOptions::default());
    let engine = start(options, look);
    let push = |id, planes: [FramePlane; 2]| {
        let size = ImageSize::new(4, 2);
        let frame = Frame::from_planes(size, PixelFormat::Nv12, planes).unwrap();
        engine.push(frame.with_id(id))
    };
    let own = |bytes| FramePlane::new(vec![0; bytes], 4);
    let shared = Arc::new([0; 8]);
    push(1, [own(8), own(4)]);
    gate.begun();
    push(2, [FramePlane::new(Arc::clone(&shared), 4), own(50)]);
    push(3, [own(8), own(4)]);
    assert_eq!(Arc::strong_count(&shared), 1);
    assert_eq!(engine.spare_buffer().capacity(), 50);
    gate.go.send(()).unwrap();
    results.recv_timeout(PATIENCE).unwrap();
    assert_eq!(
        [(); 3].map(|()| engine.spare_buffer().capacity()),
        [8, 4, 0]
    );
    gate.go.send(()).unwrap();
}

/// Whoever pushes vectors and never takes one back.
#[test]
fn no_more_buffers_are_kept_than_there_are_at_a_time() {
    let (gate, look) = gated();
    let engine = start(LiveOptions::default(), look);
    engine.push(frame(0));
    gate.begun();
    let spare = || {
        let buffers = (0..).map(|_| engine.spare_buffer().capacity());
        buffers.take_while(|&capacity| capacity > 0).count()
    };
    for id in 1..20 {
        engine.push(frame(id));
    }
    assert_eq!(spare(), 3);
    for _ in 0..20 {
        let planes = [8, 4].map(|bytes| FramePlane::new(vec![0; bytes], 4));
        engine.push(Frame::from_planes(ImageSize::new(4, 2), PixelFormat::Nv12, planes).unwrap());
    }
    assert_eq!(spare(), 6);
    gate.go.send(()).unwrap();
    gate.go.send(()).unwrap();
}

#[test]
fn frames_that_lie_about_their_size_are_refused() {
    let error = Frame::new(ImageSize::new(4, 2), 4, PixelFormat::Bgr8, vec![0; 24]).unwrap_err();
    assert!(matches!(error, Error::BufferStride { .. }), "{error}");
}

#[test]
fn warming_up_is_counted_nowhere_and_its_errors_are_told() {
    let (sender, sizes) = mpsc::channel();
    let look = move |frame: &Frame, prompt: &&'static str, _: Watch<'_>| {
        sender.send(frame.size()).unwrap();
        match frame.size().width {
            0 => Err(Error::EmptyPrompt),
            1 => panic!("of a narrow picture"),
            _ => Ok(found(prompt)),
        }
    };
    let engine = start(LiveOptions::default(), look);
    let error = engine.warm_up(vec![ImageSize::new(1, 1)]).unwrap_err();
    assert!(error.to_string().contains("of a narrow picture"), "{error}");
    let (small, large) = (ImageSize::new(4, 2), ImageSize::new(8, 6));
    assert_eq!(engine.warm_up(vec![small, large]).unwrap().len(), 2);
    let error = engine.warm_up(vec![ImageSize::new(0, 1)]).unwrap_err();
    assert!(matches!(error, Error::EmptyPrompt), "{error}");
    assert_eq!(
        sizes.iter().skip(1).take(4).collect::<Vec<_>>(),
        [small, small, large, large]
    );
    assert_eq!(engine.stats().pushed, 0);
}

#[test]
fn finishing_waits_for_the_frame_that_waits() {
    let (gate, look) = gated();
    let (options, results) = listening(LiveOptions::default());
    let mut engine = start(options, look);
    engine.push(frame(1));
    gate.begun();
    engine.push(frame(2));
    gate.go.send(()).unwrap();
    gate.go.send(()).unwrap();
    engine.finish();
    drop(engine);
    let seen: Vec<_> = results.iter().map(|result| result.id).collect();
    assert_eq!(seen, [1, 2]);
}

/// The look waits until the engine has been told to end, which it sees by the end of the one that told it.
#[test]
fn a_dropped_engine_looks_at_no_more_frames() {
    let (begin, begun) = mpsc::channel();
    let (options, results) = listening(LiveOptions::default());
    let slot = Arc::new(Mutex::new(None::<Engine<&'static str>>));
    let own = Arc::clone(&slot);
    let look = move |frame: &Frame, prompt: &&'static str, _: Watch<'_>| {
        begin.send(frame.id()).unwrap();
        // Dropped by its own thread, it cannot wait for it.
        drop(own.lock().unwrap().take());
        Ok(found(prompt))
    };
    let engine = start(options, look);
    let mut guard = slot.lock().unwrap();
    engine.push(frame(1));
    assert_eq!(begun.recv_timeout(PATIENCE).unwrap(), 1);
    engine.push(frame(2));
    *guard = Some(engine);
    drop(guard);
    let seen: Vec<_> = results.iter().map(|result| result.id).collect();
    assert_eq!(seen, [1], "the second was dropped with the engine");
}

#[cfg(feature = "tracks")]
#[test]
fn what_is_found_has_ids_that_stay_while_the_prompt_does() {
    let options = LiveOptions::default().with_tracks(TrackOptions::default());
    let (options, results) = listening(options);
    let engine = start(
        options,
        |frame: &Frame, prompt: &&'static str, _: Watch<'_>| {
            let x = frame.id() as f32;
            let bbox = BBox::new(x, 0.0, x + 9.0, 9.0)?;
            Ok(Detections::from_iter([Detection::new(
                *prompt, 0, 0.5, bbox,
            )]))
        },
    );
    let look = |id: u64| {
        engine.push(frame(id));
        let result = results.recv_timeout(PATIENCE).unwrap();
        let tracks = result.tracks.iter().map(|track| (track.id, track.hits));
        (tracks.collect::<Vec<_>>(), result)
    };
    assert_eq!(look(1).0, [(1, 1)]);
    // Frame 2 was dropped.
    let (tracks, result) = look(3);
    assert_eq!(tracks, [(1, 2)]);
    assert_eq!(result.tracks[0].detection, result.found().unwrap()[0]);

    let (tracks, result) = look(3);
    assert!(
        tracks.is_empty() && matches!(result.outcome, Outcome::Failed(Error::SameStamp { .. }))
    );
    assert_eq!(look(4).0, [(1, 3)]);
    engine.set_prompt("dog");
    assert_eq!(look(5).0, [(2, 1)]);
}

#[cfg(feature = "tracks")]
#[test]
fn options_of_tracks_are_checked_before_anything_starts() {
    let tracks = TrackOptions::default().with_min_iou(2.0);
    let options = LiveOptions::default().with_tracks(tracks);
    let look = |_: &Frame, prompt: &&'static str, _: Watch<'_>| Ok(found(prompt));
    let started = Engine::start("cat", options, Box::new(Instant::now), None, look);
    assert!(matches!(
        started,
        Err(Error::InvalidOption {
            option: "min_iou",
            ..
        })
    ));
}

#[cfg(target_os = "linux")]
#[test]
fn frames_are_looked_at_on_the_core_that_is_given() {
    use crate::affinity::tests::{cores, last_core};

    let (sender, looked) = mpsc::channel();
    let look = move |_: &Frame, prompt: &&str, _: Watch<'_>| {
        let _ = sender.send(cores());
        Ok(found(prompt))
    };
    let options = LiveOptions::default();
    let engine = Engine::start(
        "cat",
        options,
        Box::new(Instant::now),
        Some(last_core()),
        look,
    );
    let engine = engine.unwrap();
    engine.push(frame(1));
    assert_eq!(looked.recv().unwrap(), last_core().to_string());
}
