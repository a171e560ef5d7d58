//! What becomes of a result: a message of detections at once, on the thread that looks at images, and pictures beside it, of the
//! newest result alone.

mod annotated;
pub(crate) mod detections;
mod masks;
mod newest;
mod painter;

use std::{sync::Arc, thread::JoinHandle, time::Instant};

use glip::{
    Control, Segmenter,
    live::{FrameResult, Outcome},
};
use ros2_client::Publisher;

use self::{
    newest::Newest,
    painter::{Painter, Scene, Wanted},
};
use crate::{
    error::{Error, Result, in_one_line},
    faults::Faults,
    looker::Shown,
    messages::{Detection2DArray, Image},
    ros::Output,
    threads,
};

/// Where results go.
pub(crate) struct Outputs {
    detections: Publisher<Detection2DArray>,
    pictures: Option<Painting>,
    faults: Arc<Faults>,
}

/// The thread that makes pictures, until this is dropped.
struct Painting {
    newest: Arc<Newest<Scene>>,
    /// Of what runs there.
    control: Control,
    thread: Option<JoinHandle<()>>,
}

/// Where pictures go, and what makes masks for them.
pub(crate) struct Pictures {
    pub(crate) masks: Option<Output<Image>>,
    pub(crate) annotated: Option<Output<Image>>,
    pub(crate) segmenter: Option<Segmenter>,
}

impl Outputs {
    pub(crate) fn new(
        detections: Publisher<Detection2DArray>,
        pictures: Pictures,
        faults: Arc<Faults>,
    ) -> Result<Self> {
        let has_topics = pictures.masks.is_some() || pictures.annotated.is_some();
        let pictures = has_topics.then(|| pictures.start(Arc::clone(&faults)));
        Ok(Self {
            detections,
            pictures: pictures.transpose()?,
            faults,
        })
    }

    /// Publishes what was found in an image.
    pub(crate) fn tell(&self, shown: Shown, result: Arc<FrameResult>) {
        match &result.outcome {
            Outcome::Found(found) => {
                let message = detections::message(shown.header.clone(), found, &result.tracks);
                if let Err(error) = self.detections.publish(message) {
                    let fault = format!("detections were not published: {error}");
                    self.faults.add(fault);
                }
                if let Some(pictures) = &self.pictures {
                    pictures.newest.put(Scene { shown, result });
                }
            }
            // The node ends, or its model is another now.
            Outcome::Failed(glip::Error::Stopped) => {}
            Outcome::Failed(error) => self.faults.add(in_one_line(error)),
            // Counted, and told of in the diagnostics.
            _ => {}
        }
    }
}

impl Drop for Painting {
    fn drop(&mut self) {
        self.newest.close();
        self.control.stop();
        threads::join(self.thread.take());
    }
}

impl Pictures {
    /// Makes them on a thread of its own, of what is put there.
    fn start(self, faults: Arc<Faults>) -> Result<Painting> {
        let newest = Arc::new(Newest::new());
        let scenes = Arc::clone(&newest);
        let Self {
            masks,
            annotated,
            segmenter,
        } = self;
        let control = Control::new();
        let segmenter = segmenter.map(|segmenter| segmenter.controlled(&control));
        let painter = Painter { segmenter };
        let paint = move || {
            while let Some(scene) = scenes.take() {
                let begin = Instant::now();
                let wanted = Wanted {
                    masks: masks.as_ref().is_some_and(Output::is_wanted),
                    annotated: annotated.as_ref().is_some_and(Output::is_wanted),
                };
                let published = painter.paint(&scene, wanted).and_then(|painted| {
                    publish(masks.as_ref(), painted.masks)?;
                    publish(annotated.as_ref(), painted.annotated)
                });
                match published {
                    Ok(()) => log::debug!("{wanted:?} took {:.1?}", begin.elapsed()),
                    Err(Error::Detector(glip::Error::Stopped)) => {}
                    Err(error) => faults.add(in_one_line(&error)),
                }
            }
        };
        let thread = threads::start("the thread that makes pictures", "glip-pictures", paint)?;
        Ok(Painting {
            newest,
            control,
            thread: Some(thread),
        })
    }
}

fn publish(topic: Option<&Output<Image>>, picture: Option<Image>) -> Result<()> {
    match (topic, picture) {
        (Some(topic), Some(picture)) => topic.publish(picture),
        _ => Ok(()),
    }
}
