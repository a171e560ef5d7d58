//! What the host does around the graphs: no model, no ONNX Runtime.
//!
//! One core: `taskset -c 1 cargo bench --bench host`.

#![allow(missing_docs, reason = "criterion's macros make public functions")]

#[path = "common/picture.rs"]
mod picture;

use std::{hint::black_box, ops::Range};

use criterion::{Criterion, criterion_group, criterion_main};
use glip::{
    ImageSize, PixelFormat, Result, SourceImage,
    parts::{
        GridSize, HeadBoxes, HeadOutput, ImageGeometry, Phrase, PreprocessOptions, Preprocessor,
        TokenizedPhrase,
    },
    postprocess::{HeadSpec, PostprocessOptions, Postprocessor, upsample_mask},
};
use image::DynamicImage;
use ndarray::{Array2, Array3};
use picture::picture;

fn benchmarks(criterion: &mut Criterion) {
    for result in [
        preprocess(criterion),
        camera(criterion),
        postprocess(criterion),
        masks(criterion),
    ] {
        if let Err(error) = result {
            eprintln!("error: {error}");
            std::process::exit(1);
        }
    }
}

/// A 12-megapixel photo of every pixel type, and a small picture that is enlarged.
fn preprocess(criterion: &mut Criterion) -> Result<()> {
    let preprocessor = Preprocessor::new(PreprocessOptions::default())?;
    let mut group = criterion.benchmark_group("preprocess");
    group.sample_size(30);
    let photo = DynamicImage::from(picture(4000, 3000, 0));
    let images = [
        ("12 MP, rgb8", photo.clone()),
        ("12 MP, rgba8", photo.to_rgba8().into()),
        ("12 MP, luma8", photo.to_luma8().into()),
        ("12 MP, rgb16", photo.to_rgb16().into()),
        ("12 MP, rgb32f", photo.to_rgb32f().into()),
        (
            "1 MP, rgb8, of the input's size",
            picture(1248, 800, 0).into(),
        ),
        ("0.3 MP, rgb8", picture(640, 480, 0).into()),
    ];
    for (name, image) in &images {
        group.bench_function(*name, |bencher| {
            bencher.iter(|| preprocessor.run(black_box(image)))
        });
    }
    group.finish();
    Ok(())
}

/// A camera's frame of 1080 rows in every form that it comes in.
fn camera(criterion: &mut Criterion) -> Result<()> {
    let preprocessor = Preprocessor::new(PreprocessOptions::default())?;
    let mut group = criterion.benchmark_group("camera, 1920 x 1080");
    group.sample_size(30);
    let size = ImageSize::new(1920, 1080);
    let picture = picture(1920, 1080, 0).into_raw();
    for format in PixelFormat::ALL {
        let stride = format.packed_stride(size.width);
        // Chroma may be anything, and so may the colours of a mosaic; there are bytes enough for four a pixel.
        let bytes = [&*picture, &picture].concat();
        let frame = SourceImage::from_buffer(size, stride, format, &bytes)?;
        group.bench_function(format.name(), |bencher| {
            bencher.iter(|| preprocessor.run(black_box(&frame)))
        });
    }
    group.finish();
    Ok(())
}

/// 22,400 anchors (an input of 1344 x 800) or 900 queries, and 256 tokens.
fn postprocess(criterion: &mut Criterion) -> Result<()> {
    let size = ImageSize::new(1344, 800);
    let geometry = ImageGeometry {
        original: size,
        resized: size,
        padded: size,
    };
    let everything = PostprocessOptions::default().with_score_threshold(0.0);
    let postprocessor = |options| Postprocessor::new(options, HeadSpec::default());
    let (display, evaluation) = (
        postprocessor(PostprocessOptions::default())?,
        postprocessor(everything)?,
    );
    // As Grounding DINO's bundles have it: the best 300 pairs of a query and a phrase.
    let best_pairs = PostprocessOptions::default()
        .with_candidate_threshold(0.0)
        .with_candidates_per_level(300)
        .with_nms_iou_threshold(1.0)
        .with_max_detections(300);
    let of_queries = |score_threshold| {
        let options = best_pairs.clone().with_score_threshold(score_threshold);
        Postprocessor::new(options, HeadSpec::Queries)
    };
    let (query_display, query_evaluation) = (of_queries(0.35)?, of_queries(0.0)?);
    let (names, long_list) = (phrases(80), phrases(100));
    let (few, many) = (head_output(-6.0, 10)?, head_output(-6.0, 1500)?);
    // One token in 50 over the threshold without an object behind it.
    let noisy = head_output(-4.0, 1500)?;
    let queries = query_output(900)?;
    let cases = [
        ("few candidates, 80 phrases", &display, &few, &names),
        (
            "few candidates, 80 phrases, all scores",
            &evaluation,
            &few,
            &names,
        ),
        ("many candidates, 80 phrases", &display, &many, &names),
        (
            "many candidates, 80 phrases, all scores",
            &evaluation,
            &many,
            &names,
        ),
        (
            "many candidates, 100 phrases, all scores",
            &evaluation,
            &many,
            &long_list,
        ),
        ("noise, 80 phrases, all scores", &evaluation, &noisy, &names),
        (
            "900 queries x 256 tokens, 80 phrases",
            &query_display,
            &queries,
            &names,
        ),
        (
            "900 queries x 256 tokens, 80 phrases, all scores",
            &query_evaluation,
            &queries,
            &names,
        ),
    ];
    let mut group = criterion.benchmark_group("postprocess");
    group.sample_size(30);
    for (name, postprocessor, output, phrases) in cases {
        group.bench_function(name, |bencher| {
            bencher.iter(|| postprocessor.run(black_box(output), phrases, &[geometry]))
        });
    }
    group.finish();
    Ok(())
}

const TOKENS: usize = 256;

/// As many phrases as this, one to three tokens each, with a separator after each, over all tokens.
fn phrases(count: usize) -> Vec<TokenizedPhrase> {
    let slot = |index: usize| -> Range<usize> {
        index * (TOKENS - 2) / count + 1..(index + 1) * (TOKENS - 2) / count
    };
    let phrase = |index| TokenizedPhrase {
        phrase: Phrase {
            label: format!("phrase {index}"),
            index,
            spans: vec![0..1],
        },
        tokens: slot(index).collect(),
    };
    (0..count).map(phrase).collect()
}

/// A head that sees objects at as many places of each level, one phrase each, over a background of
/// logits around a number.
fn head_output(background: f32, places: usize) -> Result<HeadOutput> {
    let level_sizes = [(168, 100), (84, 50), (42, 25), (21, 13), (11, 7)]
        .map(|(width, height)| GridSize::new(width, height))
        .to_vec();
    let anchors = level_sizes.iter().map(|level| level.cells()).sum();
    let mut noise = noise();
    let mut logits =
        Array3::from_shape_simple_fn((1, anchors, TOKENS), || background + 0.5 * noise());
    let deltas = Array3::from_shape_simple_fn((1, anchors, 4), || 2.0 * noise());
    let centerness = Array2::from_shape_simple_fn((1, anchors), &mut noise);
    let phrases = phrases(80);
    let mut begin = 0;
    for level in &level_sizes {
        for place in 0..places {
            let anchor = begin + place * 7919 % level.cells();
            let logit = noise() - 1.0;
            for &token in &phrases[place * 31 % phrases.len()].tokens {
                logits[[0, anchor, token]] = logit;
            }
        }
        begin += level.cells();
    }
    let boxes = HeadBoxes::Anchors {
        deltas,
        centerness,
        level_sizes,
    };
    HeadOutput::new(logits, boxes)
}

/// A head with so many queries, of which every tenth sees an object.
fn query_output(queries: usize) -> Result<HeadOutput> {
    let mut noise = noise();
    let mut logits = Array3::from_shape_simple_fn((1, queries, TOKENS), || 0.5 * noise() - 6.0);
    let phrases = phrases(80);
    for query in (0..queries).step_by(10) {
        let logit = noise() - 1.0;
        for &token in &phrases[query % phrases.len()].tokens {
            logits[[0, query, token]] = logit;
        }
    }
    let boxes = Array3::from_shape_simple_fn((1, queries, 4), || 1.0 / (1.0 + (-noise()).exp()));
    HeadOutput::new(logits, HeadBoxes::Queries { boxes })
}

/// Numbers of mean 0 and standard deviation 1, close to normally distributed.
fn noise() -> impl FnMut() -> f32 {
    let mut state = 1u64;
    move || {
        let uniform = |state: &mut u64| {
            *state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (*state >> 40) as f32 / (1 << 24) as f32
        };
        ((0..12).map(|_| uniform(&mut state)).sum::<f32>()) - 6.0
    }
}

/// From a map of 256 x 256 logits, as SAM gives it, to the mask of an image of 1920 x 1080 in run lengths.
fn masks(criterion: &mut Criterion) -> Result<()> {
    let geometry = ImageGeometry {
        original: ImageSize::new(1920, 1080),
        resized: ImageSize::new(1024, 576),
        padded: ImageSize::new(1024, 1024),
    };
    let mut noise = noise();
    // A thing over a quarter of the image, with an outline that is not smooth.
    let distance = |(row, column): (usize, usize)| {
        let (y, x) = ((row as f32 - 70.0) / 40.0, (column as f32 - 120.0) / 70.0);
        1.0 - y.hypot(x)
    };
    let thing = Array2::from_shape_fn((256, 256), |at| 10.0 * distance(at) + 0.3 * noise());
    let nothing_but_edges = Array2::from_shape_simple_fn((256, 256), &mut noise);
    let mut group = criterion.benchmark_group("masks, 1920 x 1080");
    group.sample_size(30);
    for (name, logits) in [("a thing", &thing), ("noise", &nothing_but_edges)] {
        group.bench_function(format!("{name}, upsampled"), |bencher| {
            bencher.iter(|| upsample_mask(black_box(logits.view()), &geometry))
        });
        let mask = upsample_mask(logits.view(), &geometry)?;
        group.bench_function(format!("{name}, run lengths"), |bencher| {
            bencher.iter(|| black_box(&mask).rle().to_compressed())
        });
    }
    group.finish();
    Ok(())
}

criterion_group!(host, benchmarks);
criterion_main!(host);
