//! From images and words to labelled boxes.

use std::{borrow::Cow, ops::AddAssign, sync::Arc, thread};

use glip::{Category, Detections, Detector, GroundOptions, ImageSize, Prompt, Segmenter};
use image::DynamicImage;

use crate::{
    error::{Error, Result},
    failure::Failure,
    label::{
        grounding::{Grounding, ModelGrounding},
        options::{Band, LabelOptions, Verdict},
        record::{Asked, Done, Failed, LabelRecord, LabelledBox, Outcome},
        request::{ImageBytes, Request},
        segmenting::{Segmenting, add_masks},
        subject::Subject,
        tiles::{Tile, merge},
    },
    ordered::{Batches, stage},
    pictures::{Picture, Place, SharedPixels},
    stamp::Stamp,
};

/// How many calls of the model run at once: while one is in the image encoder, the other can be in
/// the fusion, and what a processor does before and after them costs no time.
const CALLS: usize = 2;
/// How many batches wait for the one before them, or to be written.
const BATCHES_AHEAD: usize = 2;

/// Labels images with a model: any number of them, in the memory of a few.
///
/// ```text
/// requests --decode--> pictures --ground--> detections --filter--> boxes --(segment)--> records
/// ```
///
/// The steps run side by side, each on threads of its own, and records come in the order of the
/// requests. A failed image is an outcome too, in its place, and does not end the run.
///
/// ```
/// use std::sync::Arc;
///
/// use glip::Detector;
/// use glip_tools::label::{ImageBytes, LabelOptions, Labeller, Request, Subject};
///
/// let labeller = Labeller::new(Detector::nano()?, LabelOptions::default())?;
/// let things = Arc::new(Subject::categories(["coffee cup", "table"]));
/// let request = |name: &str| Ok(Request {
///     image: name.to_owned(),
///     bytes: ImageBytes::File(format!("../examples/images/{name}").into()),
///     subject: Arc::clone(&things),
///     source: None,
/// });
///
/// let mut found = Vec::new();
/// let counts = labeller.run(["coffee.jpg", "missing.jpg"].map(request), |outcome| {
///     match outcome {
///         Ok(record) => found.extend(record.boxes.iter().map(|bbox| record.name(bbox).to_owned())),
///         Err(failure) => eprintln!("{}", failure.error),
///     }
///     Ok(())
/// })?;
/// assert_eq!(found, ["coffee cup", "table"]);
/// assert_eq!((counts.labelled, counts.failed), (1, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Labeller {
    grounding: Box<dyn Grounding>,
    segmenting: Option<Box<dyn Segmenting>>,
    options: LabelOptions,
}

/// A decoded image and what to look for in it.
struct Task {
    request: Request,
    asked: Asked,
    picture: SharedPixels,
    stamp: Stamp,
}

impl Labeller {
    /// A labeller with this model.
    ///
    /// # Errors
    /// - [`Error::Option`]: an option is outside its range.
    pub fn new(detector: Detector, options: LabelOptions) -> Result<Self> {
        Self::with_grounding(Box::new(ModelGrounding::new(detector)), options)
    }

    fn with_grounding(grounding: Box<dyn Grounding>, options: LabelOptions) -> Result<Self> {
        options.validate()?;
        Ok(Self {
            grounding,
            segmenting: None,
            options,
        })
    }

    /// Has this segmenter say which pixels things are.
    ///
    /// The mask of a box is asked of the smallest part of its picture that shows all of it, a [tile](LabelOptions::tiling)
    /// or the whole picture, as a segmenter too makes what it sees as small as its input. So a thing has one mask, as it
    /// has one box, however many tiles it is in. One that the segmenter gives no pixel is all that is in its box,
    /// with a score of 0.
    #[must_use]
    pub fn with_segmenter(self, segmenter: Segmenter) -> Self {
        Self {
            segmenting: Some(Box::new(segmenter)),
            ..self
        }
    }

    /// The options in use.
    pub fn options(&self) -> &LabelOptions {
        &self.options
    }

    /// That something can be looked for, and that the options speak of it: to know before a run, in
    /// which it would fail for each image.
    ///
    /// # Errors
    /// - [`Error::Model`]: for example, a name is empty, or one occurs twice.
    /// - [`Error::Option`]: an option is for a phrase that is not looked for.
    pub fn check(&self, subject: &Arc<Subject>) -> Result<()> {
        self.options.check_phrases(subject)?;
        let none = self
            .grounding
            .ground(&[], subject, &GroundOptions::default());
        none.map(|_| ()).map_err(Error::from)
    }

    /// What the model is called.
    pub fn model(&self) -> &str {
        self.grounding.name()
    }

    /// How the model reads categories, as one list.
    pub(super) fn text_of(&self, categories: &[Category]) -> glip::Result<String> {
        let rule = self.grounding.rule();
        let rendered = rule.render(&Prompt::categories(categories))?;
        Ok(rendered.text().to_owned())
    }

    /// What boxes depend on besides the options.
    pub(super) fn model_options(&self) -> serde_json::Value {
        self.grounding.identity()
    }

    /// What masks depend on besides the boxes; nothing without masks.
    pub(super) fn segmenter_options(&self) -> Option<serde_json::Value> {
        let segmenting = self.segmenting.as_ref();
        segmenting.map(|segmenting| segmenting.identity())
    }

    /// Labels all requests, and calls `each` with every outcome, in their order. Requests that are
    /// failures already keep their place.
    ///
    /// # Errors
    /// What `each` returns, which ends the run.
    pub fn run<I>(&self, requests: I, mut each: impl FnMut(Outcome) -> Result<()>) -> Result<Counts>
    where
        I: IntoIterator<Item = Result<Request, Failure>>,
        I::IntoIter: Send,
    {
        self.run_done(requests, |done| each(done.outcome))
    }

    /// As [`run`](Self::run), with what tells the images' bytes from others.
    pub(super) fn run_done<I>(
        &self,
        requests: I,
        mut each: impl FnMut(Done) -> Result<()>,
    ) -> Result<Counts>
    where
        I: IntoIterator<Item = Result<Request, Failure>>,
        I::IntoIter: Send,
    {
        let batch = self.options.batch_on(self.grounding.device());
        let LabelOptions {
            decoders,
            decoded_ahead,
            ..
        } = self.options;
        let memory = self.options.pictures.memory();
        let requests = requests
            .into_iter()
            .map(|request| (memory.line_up(), request));
        thread::scope(|scope| {
            let decode = |(place, request): (Place, Result<_, _>)| match request {
                Ok(request) => self.decode(place, request),
                Err(failure) => Err(Failed {
                    failure,
                    stamp: None,
                }),
            };
            let tasks = stage(scope, decoders, decoded_ahead, requests, decode);
            let batches = Batches::new(tasks, batch, run_together);
            let done = stage(scope, CALLS, BATCHES_AHEAD, batches, |batch| {
                self.ground(batch)
            });
            let mut counts = Counts::default();
            for done in done.flatten() {
                counts += Counts::of(&done.outcome);
                each(done)?;
            }
            Ok(counts)
        })
    }

    /// Labels one picture, which is upright.
    ///
    /// # Errors
    /// - [`Error::Model`]: the words cannot be looked for, or a graph failed.
    pub fn label(&self, picture: DynamicImage, subject: &Arc<Subject>) -> Result<Vec<LabelledBox>> {
        let asked = Asked::of(subject)?;
        let mut found = self.find(&[&picture], &asked, subject)?;
        Ok(found.pop().unwrap_or_default())
    }

    fn decode(&self, place: Place, request: Request) -> Result<Task, Failed> {
        let failed = |error: Error, stamp| Failed {
            failure: Failure::new(&request.image, &error),
            stamp,
        };
        let limits = self.options.pictures;
        let (bytes, stamp) = request
            .bytes
            .read(limits)
            .map_err(|error| failed(error, None))?;
        let decode = || -> Result<_> {
            let asked = Asked::of(&request.subject)?;
            let picture = Picture::decode_in(place, &bytes, request.image.as_ref(), limits)?;
            Ok((asked, picture.shared_upright()))
        };
        let decoded = decode();
        drop(bytes);
        match decoded {
            Err(error) => Err(failed(error, Some(stamp))),
            Ok((asked, picture)) => Ok(Task {
                asked,
                picture,
                stamp,
                request: Request {
                    bytes: ImageBytes::Memory(Vec::new()), // it is decoded
                    ..request
                },
            }),
        }
    }

    /// The outcomes of a batch. What failed before is a batch of its own.
    fn ground(&self, batch: Vec<Result<Task, Failed>>) -> Vec<Done> {
        match batch.into_iter().collect() {
            Ok(tasks) => self.ground_tasks(tasks),
            Err(failed) => vec![failed.into()],
        }
    }

    /// If one of several images fails, each is run alone, to know which.
    fn ground_tasks(&self, tasks: Vec<Task>) -> Vec<Done> {
        let Some(Task {
            request,
            asked,
            stamp,
            ..
        }) = tasks.first()
        else {
            return Vec::new();
        };
        let pictures: Vec<&DynamicImage> = tasks.iter().map(|task| &*task.picture).collect();
        match self.find(&pictures, asked, &request.subject) {
            Ok(found) => {
                let tasks = tasks.into_iter().zip(found);
                tasks.map(|(task, boxes)| task.done(boxes)).collect()
            }
            Err(error) if tasks.len() == 1 => {
                let failed = Failed {
                    failure: Failure::new(&request.image, &error),
                    stamp: Some(stamp.clone()),
                };
                vec![failed.into()]
            }
            Err(_) => {
                let alone = tasks.into_iter().map(|task| vec![task]);
                alone.flat_map(|task| self.ground_tasks(task)).collect()
            }
        }
    }

    /// The boxes of each picture, with masks if there is a segmenter.
    fn find(
        &self,
        pictures: &[&DynamicImage],
        asked: &Asked,
        subject: &Arc<Subject>,
    ) -> Result<Vec<Vec<LabelledBox>>> {
        let options = self.options_for(asked);
        let numbered = pictures.iter().enumerate();
        let parts: Vec<(usize, Part<'_>)> = numbered
            .flat_map(|(index, picture)| {
                let views = self.views(size(picture)).into_iter();
                views.map(move |place| {
                    let pixels = place.of(picture);
                    (index, Part { place, pixels })
                })
            })
            .collect();
        let images: Vec<&DynamicImage> = parts.iter().map(|(_, part)| &*part.pixels).collect();
        let found = self.grounding.ground(&images, subject, &options)?;
        let mut of_picture = vec![Vec::new(); pictures.len()];
        for ((index, part), found) in parts.iter().zip(found) {
            of_picture[*index].push((part.place, found));
        }
        let options = options.apply_to(self.grounding.defaults());
        let boxes = |(picture, parts): (&&DynamicImage, _)| {
            let size = size(picture);
            let found = merge(parts, size, &options)?;
            let mut boxes = self.labelled(found, asked, size);
            if let Some(segmenting) = &self.segmenting {
                add_masks(&**segmenting, picture, &self.views(size), &mut boxes)?;
            }
            Ok(boxes)
        };
        pictures.iter().zip(of_picture).map(boxes).collect()
    }

    /// What models see of a picture: all of it, or tiles and perhaps all of it.
    fn views(&self, image: ImageSize) -> Vec<Tile> {
        let whole = Tile::whole(image);
        let Some(tiling) = &self.options.tiling else {
            return vec![whole];
        };
        let mut views = tiling.tiles(image);
        if tiling.whole_image || views.is_empty() {
            views.push(whole);
        }
        views
    }

    /// The options of a call: whatever no band wants is dropped there.
    fn options_for(&self, asked: &Asked) -> GroundOptions {
        let mut options = GroundOptions::default();
        if let Some(iou) = self.options.nms_iou {
            options = options.with_nms_iou_threshold(iou);
        }
        if self.options.nms_across_phrases {
            options = options.with_nms_across_phrases(true);
        }
        let numbered = asked.phrases().iter().enumerate();
        numbered.fold(options, |options, (index, phrase)| {
            options.with_phrase_threshold(index, self.band(phrase).review)
        })
    }

    /// What is found, with verdicts, without the boxes that are not wanted.
    fn labelled(&self, found: Detections, asked: &Asked, size: ImageSize) -> Vec<LabelledBox> {
        let labelled = |detection: glip::Detection| {
            let phrase = asked.phrases().get(detection.phrase_index)?;
            Some(LabelledBox {
                phrase: detection.phrase_index,
                score: detection.score,
                verdict: self.band(phrase).verdict(detection.score)?,
                bbox: detection.bbox,
                mask: None,
            })
        };
        let boxes = found.into_iter().filter_map(labelled);
        boxes
            .filter(|found| self.options.boxes.passes(found.bbox, size))
            .collect()
    }

    fn band(&self, phrase: &str) -> Band {
        let own = self.options.phrase_bands.get(phrase).copied();
        let general = own.or(self.options.band);
        general.unwrap_or_else(|| Band::keep(self.grounding.defaults().score_threshold))
    }
}

impl Task {
    fn done(self, boxes: Vec<LabelledBox>) -> Done {
        let ImageSize { width, height } = size(&self.picture);
        let record = LabelRecord {
            image: self.request.image,
            width,
            height,
            source: self.request.source,
            asked: self.asked,
            boxes,
        };
        Done {
            outcome: Ok(record),
            stamp: Some(self.stamp),
        }
    }
}

/// A part of a picture that the model sees at once.
struct Part<'p> {
    place: Tile,
    pixels: Cow<'p, DynamicImage>,
}

/// Whether two tasks can share a run of the model: no failures, one size, the same words.
fn run_together(a: &Result<Task, Failed>, b: &Result<Task, Failed>) -> bool {
    match (a, b) {
        (Ok(a), Ok(b)) => {
            size(&a.picture) == size(&b.picture) && a.request.subject == b.request.subject
        }
        _ => false,
    }
}

fn size(picture: &DynamicImage) -> ImageSize {
    ImageSize {
        width: picture.width(),
        height: picture.height(),
    }
}

/// What a run came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Images with a record, even if nothing was found in them.
    pub labelled: u64,
    /// Inputs that failed.
    pub failed: u64,
    /// Boxes that are kept.
    pub kept: u64,
    /// Boxes for a person to look at.
    pub in_review: u64,
}

impl Counts {
    /// The counts of one outcome.
    pub fn of(outcome: &Outcome) -> Self {
        let Ok(record) = outcome else {
            return Self {
                failed: 1,
                ..Self::default()
            };
        };
        let of = |verdict| {
            record
                .boxes
                .iter()
                .filter(|found| found.verdict == verdict)
                .count() as u64
        };
        Self {
            labelled: 1,
            failed: 0,
            kept: of(Verdict::Keep),
            in_review: of(Verdict::Review),
        }
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, more: Self) {
        self.labelled += more.labelled;
        self.failed += more.failed;
        self.kept += more.kept;
        self.in_review += more.in_review;
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Cursor,
        sync::{
            Mutex,
            atomic::{AtomicU64, Ordering::SeqCst},
        },
        time::Duration,
    };

    use glip::{BBox, Detection, Device, parts::PromptRule, postprocess::PostprocessOptions};
    use image::{ImageFormat, Rgb, RgbImage};

    use super::*;
    use crate::label::{BoxFilter, Tiling};

    /// Finds every phrase where the picture is red, and remembers how many pictures it was given.
    struct RedFinder {
        defaults: PostprocessOptions,
        rule: PromptRule,
        batches: Mutex<Vec<usize>>,
        score: f32,
    }

    fn red_finder(score: f32) -> RedFinder {
        RedFinder {
            defaults: PostprocessOptions::default(),
            rule: PromptRule::default(),
            batches: Mutex::default(),
            score,
        }
    }

    impl Grounding for RedFinder {
        fn defaults(&self) -> &PostprocessOptions {
            &self.defaults
        }

        fn rule(&self) -> &PromptRule {
            &self.rule
        }

        fn device(&self) -> Device {
            Device::Cpu
        }

        fn name(&self) -> &str {
            "red"
        }

        fn identity(&self) -> serde_json::Value {
            serde_json::Value::Null
        }

        fn ground(
            &self,
            images: &[&DynamicImage],
            subject: &Arc<Subject>,
            _: &GroundOptions,
        ) -> glip::Result<Vec<Detections>> {
            self.batches.lock().unwrap().push(images.len());
            let phrases = subject.phrases()?;
            if phrases[0] == "slow" {
                thread::sleep(Duration::from_micros(50));
            }
            let reds = images
                .iter()
                .map(|image| red(image).map(|bbox| bbox.ok_or(glip::Error::EmptyPrompt)));
            reds.map(|bbox| {
                let Some(bbox) = bbox else {
                    return Ok(Detections::default());
                };
                let bbox = bbox?;
                let found = phrases
                    .iter()
                    .enumerate()
                    .map(|(index, phrase)| Detection::new(phrase, index, self.score, bbox));
                Ok(found.collect())
            })
            .collect()
        }
    }

    #[test]
    fn categories_are_written_as_the_model_wants_them() {
        let finder = RedFinder {
            rule: PromptRule::default().with_closing(".").with_lower_case(),
            ..red_finder(0.5)
        };
        let labeller = Labeller::with_grounding(Box::new(finder), LabelOptions::default()).unwrap();
        let categories = ["US_flag", "cat"].map(Category::from);
        assert_eq!(labeller.text_of(&categories).unwrap(), "us flag. cat.");
    }

    /// The box of the red pixels, if there are any; `None` within for a picture that is all red.
    fn red(image: &DynamicImage) -> Option<Option<BBox>> {
        let rgb = image.to_rgb8();
        let is_red = |(_, _, pixel): &(u32, u32, &Rgb<u8>)| pixel.0 == [255, 0, 0];
        let reds: Vec<_> = rgb
            .enumerate_pixels()
            .filter(is_red)
            .map(|(x, y, _)| (x as f32, y as f32))
            .collect();
        let fold = |of: fn(f32, f32) -> f32, coordinate: fn(&(f32, f32)) -> f32| {
            reds.iter().map(coordinate).reduce(of)
        };
        let (x1, x2) = (fold(f32::min, |p| p.0)?, fold(f32::max, |p| p.0)?);
        let (y1, y2) = (fold(f32::min, |p| p.1)?, fold(f32::max, |p| p.1)?);
        let all = reds.len() == (rgb.width() * rgb.height()) as usize;
        Some((!all).then(|| BBox::new(x1, y1, x2 + 1.0, y2 + 1.0).unwrap()))
    }

    /// A black picture with a red rectangle: left, top, width, height.
    fn picture(width: u32, height: u32, [x, y, w, h]: [u32; 4]) -> Vec<u8> {
        let mut image = RgbImage::new(width, height);
        for (column, row) in (x..x + w).flat_map(|column| (y..y + h).map(move |row| (column, row)))
        {
            image.put_pixel(column, row, Rgb([255, 0, 0]));
        }
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, ImageFormat::Bmp).unwrap();
        bytes.into_inner()
    }

    fn request(
        name: impl ToString,
        bytes: Vec<u8>,
        subject: &Arc<Subject>,
    ) -> Result<Request, Failure> {
        Ok(Request {
            image: name.to_string(),
            bytes: ImageBytes::Memory(bytes),
            subject: Arc::clone(subject),
            source: None,
        })
    }

    fn subject(names: &[&str]) -> Arc<Subject> {
        Arc::new(Subject::categories(names))
    }

    fn labeller(score: f32, options: LabelOptions) -> Labeller {
        Labeller::with_grounding(Box::new(red_finder(score)), options).unwrap()
    }

    fn outcomes(labeller: &Labeller, requests: Vec<Result<Request, Failure>>) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        let keep = |outcome| {
            outcomes.push(outcome);
            Ok(())
        };
        labeller.run(requests, keep).unwrap();
        outcomes
    }

    #[test]
    fn a_hundred_thousand_inputs_take_the_memory_of_a_few() {
        let options = LabelOptions::default()
            .with_batch(4)
            .with_decoders(2)
            .with_decoded_ahead(4);
        let labeller = labeller(0.9, options);
        let (taken, given) = (AtomicU64::new(0), AtomicU64::new(0));
        let (bytes, subject) = (picture(2, 1, [0, 0, 1, 1]), subject(&["red"]));
        let requests = (0..100_000_u32).map(|number| {
            taken.fetch_add(1, SeqCst);
            request(number, bytes.clone(), &subject)
        });
        let (mut most, mut next) = (0, 0_u32);
        let counts = labeller.run(requests, |outcome| {
            assert_eq!(outcome.unwrap().image, next.to_string());
            next += 1;
            given.fetch_add(1, SeqCst);
            most = most.max(taken.load(SeqCst) - given.load(SeqCst));
            Ok(())
        });
        assert_eq!(counts.unwrap().labelled, 100_000);
        // Decoded ahead and being decoded; batches ahead and being run, and one that is given; one held.
        let bound = (4 + 2 + 1) + 4 * (BATCHES_AHEAD + CALLS + 1) as u64 + 1;
        assert!(most <= bound, "{most} in flight, {bound} at most");
    }

    #[test]
    fn failures_keep_their_place_and_take_nobody_with_them() {
        let options = LabelOptions::default()
            .with_batch(4)
            .with_decoders(1)
            .with_decoded_ahead(20);
        let subject = subject(&["red"]);
        let good = || picture(8, 8, [1, 1, 4, 4]);
        let all_red = picture(8, 8, [0, 0, 8, 8]); // on which the model fails
        let unnamed = Failure {
            image: "line 4".into(),
            error: "no JSON".into(),
        };
        let requests = vec![
            request("a", good(), &subject),
            request("b", b"no picture".to_vec(), &subject),
            request("c", good(), &subject),
            Err(unnamed.clone()),
            request("d", all_red, &subject),
            request("e", good(), &subject),
            request("f", good()[..90].to_vec(), &subject),
        ];
        let outcomes = outcomes(&labeller(0.9, options), requests);
        let summary: Vec<_> = outcomes
            .iter()
            .map(|outcome| match outcome {
                Ok(record) => (record.image.as_str(), record.boxes.len()),
                Err(failure) => (failure.image.as_str(), usize::MAX),
            })
            .collect();
        let failed = usize::MAX;
        let expected = [
            ("a", 1),
            ("b", failed),
            ("c", 1),
            ("line 4", failed),
            ("d", failed),
            ("e", 1),
            ("f", failed),
        ];
        assert_eq!(summary, expected);
        assert_eq!(outcomes[3], Err(unnamed));
    }

    #[test]
    fn bands_and_filters_decide_what_becomes_of_a_box() {
        let options = LabelOptions::default()
            .with_band(Band::review(0.4, 0.6))
            .with_phrase_band("sure", Band::keep(0.3))
            .with_phrase_band("never", Band::keep(0.7));
        let subject = subject(&["red", "sure", "never"]);
        let label = |options: LabelOptions| {
            let picture = image::load_from_memory(&picture(20, 20, [4, 4, 5, 10])).unwrap();
            let boxes = labeller(0.5, options).label(picture, &subject).unwrap();
            boxes
                .iter()
                .map(|found| (found.phrase, found.verdict))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            label(options.clone()),
            [(0, Verdict::Review), (1, Verdict::Keep)]
        );
        let small = BoxFilter::default().with_min_area(51.0);
        assert!(label(options.with_boxes(small)).is_empty());
    }

    #[test]
    fn tiles_are_looked_at_together_and_merged() {
        let subject = subject(&["red"]);
        let picture = image::load_from_memory(&picture(180, 90, [85, 20, 10, 30])).unwrap();
        let find = |tiling: Tiling| {
            let finder = red_finder(0.9);
            let options = LabelOptions::default().with_tiling(tiling);
            let labeller = Labeller::with_grounding(Box::new(finder), options).unwrap();
            let boxes = labeller.label(picture.clone(), &subject).unwrap();
            boxes
                .iter()
                .map(|found| <[f32; 4]>::from(found.bbox))
                .collect::<Vec<_>>()
        };
        let whole = [85.0, 20.0, 95.0, 50.0];
        assert_eq!(find(Tiling::new(100, 20)), [whole]);
        assert_eq!(find(Tiling::new(100, 20).with_whole_image(false)), [whole]);
        // No tile shows all of it; the whole image does.
        assert_eq!(find(Tiling::new(90, 0)), [whole]);
        assert_eq!(find(Tiling::new(90, 0).with_whole_image(false)).len(), 2);
    }

    #[test]
    fn different_words_or_sizes_never_share_a_batch() {
        let finder = Arc::new(Mutex::new(Vec::new()));
        struct Watching(RedFinder, Arc<Mutex<Vec<Vec<u32>>>>);
        impl Grounding for Watching {
            fn defaults(&self) -> &PostprocessOptions {
                self.0.defaults()
            }
            fn rule(&self) -> &PromptRule {
                self.0.rule()
            }
            fn device(&self) -> Device {
                self.0.device()
            }
            fn name(&self) -> &str {
                self.0.name()
            }
            fn identity(&self) -> serde_json::Value {
                self.0.identity()
            }
            fn ground(
                &self,
                images: &[&DynamicImage],
                subject: &Arc<Subject>,
                options: &GroundOptions,
            ) -> glip::Result<Vec<Detections>> {
                let widths = images.iter().map(|image| image.width()).collect();
                self.1.lock().unwrap().push(widths);
                self.0.ground(images, subject, options)
            }
        }
        let watching = Watching(red_finder(0.9), Arc::clone(&finder));
        let options = LabelOptions::default().with_batch(3);
        let labeller = Labeller::with_grounding(Box::new(watching), options).unwrap();
        let (one, other) = (subject(&["slow"]), subject(&["slow", "other"]));
        let requests = (0..60_u32).map(|number| {
            let width = 4 + number / 20;
            request(
                number,
                picture(width, 4, [1, 1, 1, 1]),
                if number % 10 < 5 { &one } else { &other },
            )
        });
        let outcomes = outcomes(&labeller, requests.collect());
        for (number, outcome) in outcomes.iter().enumerate() {
            let expected = if number % 10 < 5 { 1 } else { 2 };
            assert_eq!(outcome.as_ref().unwrap().boxes.len(), expected);
        }
        let batches = finder.lock().unwrap();
        assert!(
            batches
                .iter()
                .all(|widths| widths.len() <= 3 && widths.iter().all(|w| *w == widths[0]))
        );
        assert_eq!(batches.iter().map(Vec::len).sum::<usize>(), 60);
    }
}
