//! Pictures of what was found, made beside the detector.

use std::sync::Arc;

use glip::{Detections, Segmenter, live::FrameResult};

use super::{annotated, masks};
use crate::{error::Result, looker::Shown, messages::Image};

/// An image and what was found in it.
pub(crate) struct Scene {
    pub(crate) shown: Shown,
    pub(crate) result: Arc<FrameResult>,
}

/// Which pictures somebody wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) masks: bool,
    pub(crate) annotated: bool,
}

/// Pictures of one scene.
#[derive(Debug, Default)]
pub(crate) struct Painted {
    pub(crate) masks: Option<Image>,
    pub(crate) annotated: Option<Image>,
}

/// What makes pictures: with a segmenter, masks are among them.
pub(crate) struct Painter {
    pub(crate) segmenter: Option<Segmenter>,
}

impl Painter {
    pub(crate) fn paint(&self, scene: &Scene, wanted: Wanted) -> Result<Painted> {
        let Some(found) = scene.result.found() else {
            return Ok(Painted::default());
        };
        let Shown { header, frame } = &scene.shown;
        let masks = self.masks(scene, found, wanted)?;
        let masks = masks.as_deref();
        let numbered = masks.filter(|_| wanted.masks);
        let annotated = wanted.annotated.then(|| {
            let tracks = &scene.result.tracks;
            annotated::message(header.clone(), frame, found, tracks, masks)
        });
        Ok(Painted {
            masks: numbered.map(|all| masks::message(header.clone(), frame.size(), all)),
            annotated: annotated.transpose()?,
        })
    }

    fn masks(
        &self,
        scene: &Scene,
        found: &Detections,
        wanted: Wanted,
    ) -> Result<Option<Vec<glip::Mask>>> {
        match &self.segmenter {
            Some(segmenter) if wanted != Wanted::default() => {
                let image = scene.shown.frame.image()?;
                Ok(Some(segmenter.masks(image, found.boxes())?))
            }
            _ => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::mpsc, time::Duration};

    use glip::{live::LiveOptions, tracks::TrackOptions};

    use super::*;
    use crate::{
        loader::Loader,
        looker::{Asked, Looker},
        picture::fixtures::coffee,
    };

    const SEGMENTER: &str = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../tests/fixtures/golden/segmenter/sam"
    );

    /// The photograph, and what is found in it.
    fn scene(loader: &Loader) -> Scene {
        let detector = loader.detector(None).unwrap();
        let asked = Asked {
            prompt: "cup . table".to_owned(),
            threshold: 0.5,
        };
        let (sender, results) = mpsc::channel();
        let tell = move |shown, result| sender.send(Scene { shown, result }).unwrap();
        let options = LiveOptions::default().with_tracks(TrackOptions::default());
        let looker = Looker::start(loader.clone(), detector, asked, options, tell).unwrap();
        looker.show(coffee(1)).unwrap();
        results.recv_timeout(Duration::from_secs(60)).unwrap()
    }

    #[test]
    fn pictures_are_those_that_are_wanted() {
        let loader = Loader::default();
        let scene = scene(&loader);
        let image = coffee(1);
        let found = scene.result.found().unwrap();
        assert!(!found.is_empty());

        let segmenter = loader.segmenter(Path::new(SEGMENTER)).unwrap();
        let masks = segmenter.masks(scene.shown.frame.image().unwrap(), found.boxes());
        let expected = masks::message(
            image.header.clone(),
            scene.shown.frame.size(),
            &masks.unwrap(),
        );
        let with_segmenter = Painter {
            segmenter: Some(segmenter),
        };
        let without = Painter { segmenter: None };
        let paint = |painter: &Painter, masks, annotated| {
            painter.paint(&scene, Wanted { masks, annotated }).unwrap()
        };

        let Painted { masks, annotated } = paint(&with_segmenter, true, false);
        assert_eq!((masks, annotated), (Some(expected.clone()), None));
        let plain = paint(&without, false, true).annotated.unwrap();
        assert_eq!(
            (&plain.header, plain.data.len()),
            (&image.header, image.data.len())
        );
        assert_ne!(plain.data, image.data);
        // Masks lie where their image has levels.
        let Painted { masks, annotated } = paint(&with_segmenter, false, true);
        assert_eq!(masks, None);
        let changed = annotated.unwrap().data;
        let tinted = changed
            .chunks(3)
            .zip(plain.data.chunks(3))
            .map(|(a, b)| a != b);
        let (mut inside, mut outside) = (0, 0);
        for (is_tinted, level) in tinted.zip(expected.data) {
            match level {
                0 => outside += usize::from(is_tinted),
                _ => inside += usize::from(is_tinted),
            }
        }
        assert!(
            inside > 0 && outside == 0,
            "{inside} inside, {outside} outside"
        );
        let Painted { masks, annotated } = paint(&with_segmenter, false, false);
        assert_eq!((masks, annotated), (None, None));
    }
}
