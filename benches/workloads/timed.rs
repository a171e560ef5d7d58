//! The workloads.

use std::{collections::BTreeMap, result, thread, time::Instant};

use glip::{Prompt, Vocabulary};

use crate::{common::Result, subject::Subject};

/// Names in one of the separate calls that a vocabulary would take otherwise: official's number.
pub(crate) const NAMES_PER_CALL: usize = 40;

/// Milliseconds of every run, by what was timed.
#[derive(Default)]
pub(crate) struct Times(pub(crate) BTreeMap<&'static str, Vec<f64>>);

impl Times {
    fn time<T, E>(
        &mut self,
        name: &'static str,
        run: impl FnOnce() -> result::Result<T, E>,
    ) -> result::Result<T, E> {
        let start = Instant::now();
        let result = run();
        let ms = start.elapsed().as_secs_f64() * 1e3;
        self.0.entry(name).or_default().push(ms);
        result
    }
}

/// Something a detector is used for. One run times all that shall be compared, in turn, so that
/// what else the machine does falls on each alike.
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&Subject, &mut Times) -> Result<()>,
}

const WORKLOADS: [Workload; 9] = [
    Workload {
        name: "components",
        run: components,
    },
    Workload {
        name: "reuse",
        run: reuse,
    },
    Workload {
        name: "ground",
        run: ground,
    },
    Workload {
        name: "vocabulary",
        run: vocabulary,
    },
    Workload {
        name: "names",
        run: names,
    },
    Workload {
        name: "batch",
        run: batch,
    },
    Workload {
        name: "pipelined",
        run: pipelined,
    },
    Workload {
        name: "callers",
        run: callers,
    },
    Workload {
        name: "load",
        run: load,
    },
];

impl Workload {
    pub(crate) fn named(name: &str) -> Result<&'static Self> {
        let found = WORKLOADS.iter().find(|workload| workload.name == name);
        found.ok_or_else(|| {
            let names = WORKLOADS.map(|workload| workload.name).join(", ");
            format!("there is no workload {name:?}: choose among {names}").into()
        })
    }
}

fn components(subject: &Subject, times: &mut Times) -> Result<()> {
    let Subject {
        detector,
        pictures,
        prompt,
        ..
    } = subject;
    let pixels = times.time("preprocess", || detector.preprocessor().run_batch(pictures))?;
    let pyramid = times.time("image_encoder", || detector.image_encoder().run(&pixels))?;
    let tokens = times.time("tokenize", || detector.tokenizer().tokenize(prompt))?;
    let text = times.time("text_encoder", || detector.text_encoder().run(&tokens))?;
    let features = times.time("fusion", || detector.fusion().run(&pyramid, &text))?;
    let output = times.time("head", || detector.head().run(&features))?;
    let (phrases, geometries) = (tokens.phrases(), pixels.geometries());
    times.time("postprocess", || {
        detector.postprocessor().run(&output, phrases, geometries)
    })?;
    ground(subject, times)
}

fn ground(subject: &Subject, times: &mut Times) -> Result<()> {
    let Subject {
        detector,
        pictures,
        prompt,
        ..
    } = subject;
    times.time("whole", || detector.ground_batch(pictures, prompt))?;
    Ok(())
}

fn reuse(subject: &Subject, times: &mut Times) -> Result<()> {
    let Subject {
        detector,
        pictures,
        prompt,
        second_prompt,
        ..
    } = subject;
    let picture = &pictures[0];
    let (encoded, prepared) = (
        detector.encode_image(picture)?,
        detector.encode_prompt(prompt)?,
    );
    times.time("whole", || detector.ground(picture, prompt))?;
    times.time("second_prompt", || detector.ground(&encoded, second_prompt))?;
    times.time("next_frame", || detector.ground(picture, &prepared))?;
    Ok(())
}

fn vocabulary(subject: &Subject, times: &mut Times) -> Result<()> {
    let Subject {
        detector,
        pictures,
        vocabulary,
        ..
    } = subject;
    times.time("one_encoding", || -> Result<()> {
        detector.ground(&pictures[0], Vocabulary::new(vocabulary))?;
        Ok(())
    })?;
    times.time("separate_calls", || -> Result<()> {
        for names in vocabulary.chunks(NAMES_PER_CALL) {
            // One prompt, unless the model's tokenizer cuts these words into many pieces.
            for prompt in Vocabulary::new(names).prompts(detector.tokenizer())? {
                detector.ground(&pictures[0], &prompt)?;
            }
        }
        Ok(())
    })
}

fn names(subject: &Subject, times: &mut Times) -> Result<()> {
    let Subject {
        detector,
        pictures,
        vocabulary,
        ..
    } = subject;
    let call = Prompt::categories(vocabulary.iter().take(NAMES_PER_CALL));
    let full = subject.full_prompt()?;
    times.time("names_call", || detector.ground(&pictures[0], &call))?;
    let encoded = times.time("names_encoding", || detector.encode_image(&pictures[0]))?;
    times.time("names_prompt", || detector.ground(&encoded, &full))?;
    Ok(())
}

fn batch(subject: &Subject, times: &mut Times) -> Result<()> {
    let Subject {
        detector,
        pictures,
        prompt,
        ..
    } = subject;
    let prompt = detector.encode_prompt(prompt)?;
    times.time("together", || detector.ground_batch(pictures, &prompt))?;
    times.time("one_by_one", || {
        pictures
            .iter()
            .try_for_each(|picture| detector.ground(picture, &prompt).map(drop))
    })?;
    Ok(())
}

fn pipelined(subject: &Subject, times: &mut Times) -> Result<()> {
    let Subject {
        detector,
        pictures,
        prompt,
        ..
    } = subject;
    if pictures.len() < 2 {
        return Err("pipelined: two threads need a --batch of at least 2 frames".into());
    }
    let prompt = detector.encode_prompt(prompt)?;
    let ground = |frames: &[_]| -> glip::Result<()> {
        frames
            .iter()
            .try_for_each(|frame| detector.ground(frame, &prompt).map(drop))
    };
    times.time("one_thread", || ground(pictures))?;
    let (first, second) = pictures.split_at(pictures.len() / 2);
    times.time("two_threads", || {
        thread::scope(|scope| -> Result<()> {
            let other = scope.spawn(|| ground(second));
            ground(first)?;
            Ok(other.join().map_err(|_| "a thread panicked")??)
        })
    })
}

/// One caller and four, of detectors that are ready for one, two and four: 16 pictures each.
fn callers(subject: &Subject, times: &mut Times) -> Result<()> {
    const PICTURES: usize = 16;
    let (picture, prompt) = (&subject.pictures[0], &subject.prompt);
    for (ready_for, [one, four]) in [
        (None, ["defaults_one", "defaults_four"]),
        (Some(2), ["ready_for_2_one", "ready_for_2_four"]),
        (Some(4), ["ready_for_4_one", "ready_for_4_four"]),
    ] {
        let builder = subject.arguments.builder()?;
        let detector = match ready_for {
            Some(callers) => builder.for_callers(callers).build()?,
            None => builder.build()?,
        };
        let ask = |callers: usize| -> Result<()> {
            thread::scope(|scope| {
                let one = || {
                    (0..PICTURES / callers)
                        .try_for_each(|_| detector.ground(picture, prompt).map(drop))
                };
                let threads: Vec<_> = (0..callers).map(|_| scope.spawn(one)).collect();
                for thread in threads {
                    thread.join().map_err(|_| "a thread panicked")??;
                }
                Ok(())
            })
        };
        ask(4)?; // every session once, which is slower
        times.time(one, || ask(1))?;
        times.time(four, || ask(4))?;
    }
    Ok(())
}

fn load(subject: &Subject, times: &mut Times) -> Result<()> {
    times.time("load", || subject.arguments.detector().map(drop))
}
