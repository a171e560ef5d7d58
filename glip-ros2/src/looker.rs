//! What looks at images: the live detector, and what it is asked for.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use glip::{
    Bundle, Detector, Device, GroundOptions,
    live::{FrameResult, Live, LiveOptions, LiveStats},
    parts::CpuOptions,
};

use crate::{
    error::Result,
    messages::Header,
    picture::{Picture, stamp},
};

/// How models are run.
#[derive(Clone, Debug)]
pub(crate) struct Loader {
    pub(crate) device: Device,
    pub(crate) threads: usize,
    pub(crate) cpu: CpuOptions,
}

impl Loader {
    /// The model of a folder, or the small one in the program.
    pub(crate) fn load(&self, model: Option<&Path>) -> Result<Detector> {
        let bundle = match model {
            Some(folder) => Bundle::from_dir(folder)?,
            None => nano()?,
        };
        let builder = Detector::builder().bundle(bundle).device(self.device);
        let builder = builder.threads(self.threads).cpu(self.cpu.clone());
        Ok(builder.build()?)
    }
}

#[cfg(feature = "nano")]
fn nano() -> Result<Bundle> {
    Ok(Bundle::nano()?)
}

/// Built without the small model, the node needs another.
#[cfg(not(feature = "nano"))]
fn nano() -> Result<Bundle> {
    Err(glip::Error::NoModel.into())
}

/// What is looked for.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) prompt: String,
    pub(crate) threshold: f32,
}

impl Asked {
    fn options(&self) -> GroundOptions {
        GroundOptions::default().with_score_threshold(self.threshold)
    }
}

/// Shows images to a detector, always the newest, and hands on what it says with the header of the image.
pub(crate) struct Looker {
    loader: Loader,
    options: LiveOptions,
    /// Held while it is changed, so that one change follows another.
    asked: Mutex<Asked>,
    live: RwLock<Live>,
    last_id: AtomicU64,
    headers: Arc<Headers>,
}

impl Looker {
    /// Begins to wait for images. `tell` is called on the thread that looks at them.
    pub(crate) fn start(
        loader: Loader,
        detector: &Detector,
        asked: Asked,
        options: LiveOptions,
        tell: impl Fn(Header, &FrameResult) + Send + Sync + 'static,
    ) -> Result<Self> {
        let headers = Arc::new(Headers::default());
        let kept = Arc::clone(&headers);
        let options = options.on_result(move |result| {
            if let Some(header) = kept.take(result.id) {
                tell(header, &result);
            }
        });
        Ok(Self {
            live: RwLock::new(live(detector, &asked, &options)?),
            loader,
            options,
            asked: Mutex::new(asked),
            last_id: AtomicU64::new(0),
            headers,
        })
    }

    /// Has an image looked at next.
    pub(crate) fn show(&self, picture: impl Picture) -> Result<()> {
        let header = picture.header().clone();
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        let frame = picture.into_frame()?.with_id(id).with_stamp(stamp(&header));
        self.headers.keep(id, header);
        self.live().push(frame);
        Ok(())
    }

    /// Looks for something else from the next image on.
    pub(crate) fn ask(&self, change: impl FnOnce(&mut Asked)) -> Result<()> {
        let mut asked = self.asked();
        let mut changed = asked.clone();
        change(&mut changed);
        self.live()
            .set_prompt_with(changed.prompt.as_str(), &changed.options())?;
        *asked = changed;
        Ok(())
    }

    /// Looks with another model. Until it is loaded, images are shown to the one before.
    pub(crate) fn change_model(&self, model: Option<PathBuf>) -> Result<()> {
        let asked = self.asked();
        let detector = self.loader.load(model.as_deref())?;
        let live = live(&detector, &asked, &self.options)?;
        *self.live.write().unwrap_or_else(PoisonError::into_inner) = live;
        Ok(())
    }

    pub(crate) fn stats(&self) -> LiveStats {
        self.live().stats()
    }

    /// What is looked for now.
    pub(crate) fn prompt(&self) -> String {
        self.asked().prompt.clone()
    }

    fn live(&self) -> RwLockReadGuard<'_, Live> {
        self.live.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn live(detector: &Detector, asked: &Asked, options: &LiveOptions) -> Result<Live> {
    let prompt = detector.encode_prompt(asked.prompt.as_str())?;
    let live = Live::new(detector, &prompt, options.clone())?;
    live.set_prompt_with(&prompt, &asked.options())?;
    Ok(live)
}

/// The headers of images that are looked at or wait, by their numbers.
#[derive(Default)]
struct Headers(Mutex<BTreeMap<u64, Header>>);

impl Headers {
    fn keep(&self, id: u64, header: Header) {
        self.lock().insert(id, header);
    }

    /// Results come in the order of their images: those before it were dropped.
    fn take(&self, id: u64) -> Option<Header> {
        let mut headers = self.lock();
        let later = headers.split_off(&(id + 1));
        let header = headers.remove(&id);
        *headers = later;
        header
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Header>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use super::*;
    use crate::messages::{Image, Time};

    const PATIENCE: Duration = Duration::from_secs(60);

    #[test]
    fn headers_are_of_their_images() {
        let headers = Headers::default();
        for id in 1..=4 {
            let frame_id = id.to_string();
            headers.keep(
                id,
                Header {
                    frame_id,
                    ..Header::default()
                },
            );
        }
        assert_eq!(headers.take(3).unwrap().frame_id, "3");
        assert_eq!(headers.take(2), None);
        assert_eq!(headers.lock().len(), 1);
    }

    /// The photograph of a cup on a table.
    fn coffee(sec: i32) -> Image {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/images/coffee.jpg");
        let picture = image::open(path).unwrap().into_rgb8();
        let (width, height) = picture.dimensions();
        Image {
            header: Header {
                stamp: Time { sec, nanosec: 0 },
                frame_id: "camera".to_owned(),
            },
            height,
            width,
            encoding: "rgb8".to_owned(),
            is_bigendian: 0,
            step: 3 * width,
            data: picture.into_raw(),
        }
    }

    #[test]
    fn what_is_asked_for_can_be_changed() {
        let loader = Loader {
            device: Device::Cpu,
            threads: 0,
            cpu: CpuOptions::default(),
        };
        let detector = loader.load(None).unwrap();
        let asked = Asked {
            prompt: "cup . bicycle".to_owned(),
            threshold: 0.5,
        };
        let (sender, results) = mpsc::channel();
        let tell = move |header: Header, result: &FrameResult| {
            let found = result.found().unwrap();
            let phrases = found.iter().map(|found| found.phrase.clone());
            sender
                .send((header.stamp.sec, phrases.collect::<Vec<_>>()))
                .unwrap();
        };
        let options = LiveOptions::default();
        let looker = Looker::start(loader, &detector, asked, options, tell).unwrap();
        let look = |sec| {
            looker.show(coffee(sec)).unwrap();
            results.recv_timeout(PATIENCE).unwrap()
        };
        assert_eq!(look(1), (1, vec!["cup".to_owned()]));

        looker
            .ask(|asked| asked.prompt = "table".to_owned())
            .unwrap();
        let (sec, found) = look(2);
        assert!(sec == 2 && found.contains(&"table".to_owned()), "{found:?}");
        looker.ask(|asked| asked.threshold = 1.0).unwrap();
        assert_eq!(look(3), (3, vec![]));
        // What cannot be asked for changes nothing.
        assert!(looker.ask(|asked| asked.prompt.clear()).is_err());
        assert!(looker.ask(|asked| asked.threshold = -1.0).is_err());
        assert!(looker.change_model(Some("no/such".into())).is_err());
        assert_eq!(
            (look(4), looker.prompt()),
            ((4, vec![]), "table".to_owned())
        );

        looker.ask(|asked| asked.threshold = 0.5).unwrap();
        looker.change_model(None).unwrap();
        let (sec, found) = look(5);
        assert!(sec == 5 && found.contains(&"table".to_owned()), "{found:?}");
        assert_eq!(looker.stats().done, 1);
    }
}
