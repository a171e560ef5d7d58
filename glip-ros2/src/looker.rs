//! What looks at images: the live detector, and what it is asked for.

use std::{
    collections::BTreeMap,
    mem,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use glip::{
    Detector, GroundOptions,
    live::{Frame, FrameResult, Live, LiveOptions, LiveStats},
};

use crate::{
    error::Result,
    loader::Loader,
    messages::Header,
    picture::{Picture, stamp},
};

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

/// An image as it was shown: its header, and its pixels, which are not copied for it.
pub(crate) struct Shown {
    pub(crate) header: Header,
    pub(crate) frame: Frame,
}

/// Shows images to a detector, always the newest, and hands on what it says with the image.
pub(crate) struct Looker {
    loader: Loader,
    options: LiveOptions,
    /// Held while it is changed, so that one change follows another.
    asked: Mutex<Asked>,
    running: RwLock<Running>,
    last_id: AtomicU64,
    pending: Arc<Pending>,
}

/// A model at work.
struct Running {
    detector: Detector,
    live: Live,
}

impl Looker {
    /// Begins to wait for images. `tell` is called on the thread that looks at them.
    pub(crate) fn start(
        loader: Loader,
        detector: Detector,
        asked: Asked,
        options: LiveOptions,
        tell: impl Fn(Shown, Arc<FrameResult>) + Send + Sync + 'static,
    ) -> Result<Self> {
        let pending = Arc::new(Pending::default());
        let kept = Arc::clone(&pending);
        let options = options.on_result(move |result| {
            if let Some(shown) = kept.take(result.id) {
                tell(shown, result);
            }
        });
        Ok(Self {
            running: RwLock::new(Running::start(detector, &asked, &options)?),
            loader,
            options,
            asked: Mutex::new(asked),
            last_id: AtomicU64::new(0),
            pending,
        })
    }

    /// Has an image looked at next.
    pub(crate) fn show(&self, picture: impl Picture) -> Result<()> {
        let header = picture.header().clone();
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        let frame = picture.into_frame()?.with_id(id).with_stamp(stamp(&header));
        let shown = Shown {
            header,
            frame: frame.clone(),
        };
        self.pending.keep(id, shown);
        if let Some(dropped) = self.running().live.push(frame) {
            self.pending.forget(dropped);
        }
        Ok(())
    }

    /// Looks for something else from the next image on.
    pub(crate) fn ask(&self, change: impl FnOnce(&mut Asked)) -> Result<()> {
        let mut asked = self.asked();
        let mut changed = asked.clone();
        change(&mut changed);
        let prompt = changed.prompt.as_str();
        let live = &self.running().live;
        live.set_prompt_with(prompt, &changed.options())?;
        *asked = changed;
        Ok(())
    }

    /// Looks with another model. Until it is loaded, images are shown to the one before.
    pub(crate) fn change_model(&self, model: Option<PathBuf>) -> Result<()> {
        let asked = self.asked();
        let detector = self.loader.detector(model.as_deref())?;
        let running = Running::start(detector, &asked, &self.options)?;
        let mut place = self.running.write().unwrap_or_else(PoisonError::into_inner);
        let before = mem::replace(&mut *place, running);
        drop(place);
        // Waits for the image that it looks at; others go on.
        drop(before);
        Ok(())
    }

    pub(crate) fn stats(&self) -> LiveStats {
        self.running().live.stats()
    }

    /// The detector of the model that looks now.
    pub(crate) fn detector(&self) -> Detector {
        self.running().detector.clone()
    }

    /// What is looked for now.
    pub(crate) fn prompt(&self) -> String {
        self.asked().prompt.clone()
    }

    fn running(&self) -> RwLockReadGuard<'_, Running> {
        self.running.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    fn start(detector: Detector, asked: &Asked, options: &LiveOptions) -> Result<Self> {
        let prompt = detector.encode_prompt(asked.prompt.as_str())?;
        let live = Live::new(&detector, &prompt, options.clone())?;
        live.set_prompt_with(&prompt, &asked.options())?;
        Ok(Self { detector, live })
    }
}

/// Images that are looked at or wait, by their numbers.
#[derive(Default)]
struct Pending(Mutex<BTreeMap<u64, Shown>>);

impl Pending {
    fn keep(&self, id: u64, shown: Shown) {
        self.lock().insert(id, shown);
    }

    /// Results come in the order of their images: those before it have none any more.
    fn take(&self, id: u64) -> Option<Shown> {
        let mut pending = self.lock();
        let later = pending.split_off(&(id + 1));
        let shown = pending.remove(&id);
        *pending = later;
        shown
    }

    fn forget(&self, id: u64) {
        self.lock().remove(&id);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Shown>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use super::*;
    use crate::picture::fixtures::coffee;

    const PATIENCE: Duration = Duration::from_secs(60);

    #[test]
    fn headers_are_of_their_images() {
        let pending = Pending::default();
        for id in 1..=5 {
            let image = coffee(id);
            let header = image.header.clone();
            let frame = image.into_frame().unwrap();
            pending.keep(id as u64, Shown { header, frame });
        }
        pending.forget(4);
        assert_eq!(pending.take(3).unwrap().header.stamp.sec, 3);
        assert!(pending.take(2).is_none() && pending.take(4).is_none());
        assert_eq!(pending.lock().len(), 1);
    }

    #[test]
    fn what_is_asked_for_can_be_changed() {
        let loader = Loader::default();
        let detector = loader.detector(None).unwrap();
        let asked = Asked {
            prompt: "cup . bicycle".to_owned(),
            threshold: 0.5,
        };
        let (sender, results) = mpsc::channel();
        let tell = move |shown: Shown, result: Arc<FrameResult>| {
            let found = result.found().unwrap();
            let phrases = found.iter().map(|found| found.phrase.clone());
            sender
                .send((shown.header.stamp.sec, phrases.collect::<Vec<_>>()))
                .unwrap();
        };
        let options = LiveOptions::default();
        let looker = Looker::start(loader, detector, asked, options, tell).unwrap();
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
