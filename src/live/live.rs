//! Frames in, detections out.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    engine::Engine, frame::Frame, options::LiveOptions, result::FrameResult, stats::LiveStats,
};
use crate::{
    control::Control,
    detector::{Detector, EncodedPrompt, GroundOptions, Kept, PromptInput},
    error::Result,
    geometry::ImageSize,
    postprocess::Postprocessor,
};

/// Looks at a camera's frames, always at the newest, on a thread of its own.
///
/// Whoever [pushes](Self::push) frames never waits: there is room for one that waits its turn, and a newer one
/// takes its place. So what is found is never older than one frame's work, however fast frames come.
///
/// Results come to a [callback](LiveOptions::on_result), and the [latest](Self::latest) can be asked for, each with
/// its frame's number and time. The prompt can be changed meanwhile. [`finish`](Self::finish) ends it
/// after the frame that waits; when it is dropped it ends at once, and what runs is told to.
///
/// With [`CpuOptions::with_cores`](crate::parts::CpuOptions::with_cores) its thread is on the first of these cores (Linux).
///
/// ```
/// use std::sync::mpsc;
///
/// use glip::{
///     Detector,
///     live::{Frame, Live, LiveOptions},
/// };
///
/// let (sender, results) = mpsc::channel();
/// let options = LiveOptions::default().on_result(move |result| {
///     let _ = sender.send(result); // nobody may be listening any more
/// });
/// let live = Live::new(&Detector::nano()?, "cup . bicycle", options)?;
///
/// let picture = image::open("examples/images/coffee.jpg")?; // from a camera: Frame::new
/// live.push(Frame::from(picture).with_id(7));
/// let result = results.recv()?;
/// assert_eq!(result.id, 7);
/// assert!(result.found().is_some_and(|found| found[0].phrase == "cup"));
///
/// println!("{:?}", live.finish().total);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Live {
    detector: Detector,
    /// Of what runs on the thread.
    control: Control,
    engine: Engine<Asked>,
}

/// What frames are asked for, and what is taken of it.
struct Asked {
    prompt: EncodedPrompt,
    postprocessor: Postprocessor,
}

impl Asked {
    fn new(detector: &Detector, prompt: PromptInput<'_>, options: &GroundOptions) -> Result<Self> {
        Ok(Self {
            postprocessor: detector.postprocessor_with(options)?.into_owned(),
            prompt: detector.encode_prompt(prompt)?,
        })
    }
}

impl Live {
    /// Begins to wait for frames, to look for the prompt's phrases in them.
    ///
    /// # Errors
    /// - As [`Detector::encode_prompt`].
    /// - [`Error::InvalidOption`](crate::Error::InvalidOption): an option of tracks is out of its range.
    /// - [`Error::Thread`](crate::Error::Thread): no thread can be started.
    pub fn new<'p>(
        detector: &Detector,
        prompt: impl Into<PromptInput<'p>>,
        options: LiveOptions,
    ) -> Result<Self> {
        let asked = Asked::new(detector, prompt.into(), &GroundOptions::default())?;
        let control = Control::new();
        let controlled = detector.controlled(&control);
        let mut kept = Kept::default();
        let engine = Engine::start(
            asked,
            options,
            Box::new(Instant::now),
            detector.preprocessor().cores().first().copied(),
            move |frame: &Frame, asked: &Asked, after| {
                let Asked {
                    prompt,
                    postprocessor,
                } = asked;
                let image = frame.image()?;
                controlled.ground_in_stages(&image, prompt, postprocessor, &mut kept, after)
            },
        )?;
        Ok(Self {
            detector: detector.clone(),
            control,
            engine,
        })
    }

    /// Has the frame looked at next, in place of one that waits, whose number is returned: it is dropped. Never
    /// waits for anything but a moment.
    pub fn push(&self, frame: Frame) -> Option<u64> {
        self.engine.push(frame)
    }

    /// Looks for another prompt from the next frame on, and returns the number by which results tell that they
    /// are of it. The prompt is encoded here, while frames are looked at for the one before.
    ///
    /// # Errors
    /// As [`Detector::encode_prompt`]; the one before stays then.
    pub fn set_prompt<'p>(&self, prompt: impl Into<PromptInput<'p>>) -> Result<u64> {
        self.set_prompt_with(prompt, &GroundOptions::default())
    }

    /// As [`set_prompt`](Self::set_prompt), with options until the prompt is set again: thresholds, limits and aggregation.
    ///
    /// # Errors
    /// - As [`Detector::encode_prompt`].
    /// - [`Error::InvalidOption`](crate::Error::InvalidOption): an option is outside its range.
    ///
    /// The prompt and the options before stay then.
    pub fn set_prompt_with<'p>(
        &self,
        prompt: impl Into<PromptInput<'p>>,
        options: &GroundOptions,
    ) -> Result<u64> {
        let asked = Asked::new(&self.detector, prompt.into(), options)?;
        Ok(self.engine.set_prompt(asked))
    }

    /// What became of the last frame that was looked at.
    pub fn latest(&self) -> Option<Arc<FrameResult>> {
        self.engine.latest()
    }

    /// How many frames there were, how long they took, and how much memory the process has.
    pub fn stats(&self) -> LiveStats {
        self.engine.stats()
    }

    /// An empty vector, with the memory of a frame that is done or was dropped if there is one: to be filled with
    /// the next frame, so that frames take no new memory. For a frame [in planes](Frame::from_planes), one for each, in
    /// their order.
    ///
    /// ```
    /// # use glip::{Detector, ImageSize, PixelFormat, live::{Frame, Live, LiveOptions}};
    /// # let live = Live::new(&Detector::nano()?, "cup", LiveOptions::default())?;
    /// # let (size, camera) = (ImageSize::new(32, 24), vec![0; 32 * 24 * 3 / 2]);
    /// let mut bytes = live.spare_buffer();
    /// bytes.extend_from_slice(&camera);
    /// live.push(Frame::new(size, 32, PixelFormat::Nv12, bytes)?);
    /// # Ok::<(), glip::Error>(())
    /// ```
    pub fn spare_buffer(&self) -> Vec<u8> {
        self.engine.spare_buffer()
    }

    /// Looks at empty pictures of these sizes, so that no frame of a camera's is the first of its size: that one
    /// takes longer, on a GPU often by seconds. Returns how long one of each size takes after that. They are in no
    /// statistics. Waits until it is done, so it is not to be called from the callback.
    ///
    /// # Errors
    /// As [`Detector::ground`].
    pub fn warm_up(&self, sizes: &[ImageSize]) -> Result<Vec<Duration>> {
        self.engine.warm_up(sizes.to_vec())
    }

    /// Ends when the frame that waits, if one does, has been looked at.
    pub fn finish(mut self) -> LiveStats {
        self.engine.finish();
        self.stats()
    }
}

/// Ends what runs; the frame that waits is dropped.
impl Drop for Live {
    fn drop(&mut self) {
        self.control.stop();
    }
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live")
            .field("detector", &self.detector)
            .finish_non_exhaustive()
    }
}
