//! What each stage costs, and the whole.
//!
//! Runs on the model in the box (feature `nano`), or on another with `GLIP_MODEL=FOLDER`.

#![allow(missing_docs, reason = "criterion's macros make public functions")]

#[path = "../examples/common/mod.rs"]
mod common;
#[path = "common/picture.rs"]
mod picture;

use std::{env, hint::black_box, path::Path};

use criterion::{Criterion, criterion_group, criterion_main};
use glip::{Bundle, Detector, Prompt};
use picture::picture;

fn benchmarks(criterion: &mut Criterion) {
    if let Err(error) = stages(criterion) {
        eprintln!("error: {error}");
        std::process::exit(1);
    }
}

fn stages(criterion: &mut Criterion) -> common::Result<()> {
    let folder = env::var_os("GLIP_MODEL");
    let model = Bundle::from_dir_or_nano(folder.as_deref().map(Path::new))?;
    let mut group = criterion.benchmark_group(model.manifest().name());
    group.sample_size(20);
    let detector = Detector::builder().bundle(model).build()?;
    let picture = picture(640, 480, 0);
    let prompt = Prompt::from("person . dog . coffee cup");

    group.bench_function("preprocess", |bencher| {
        bencher.iter(|| detector.preprocessor().run(black_box(&picture)))
    });
    let pixels = detector.preprocessor().run(&picture)?;
    group.bench_function("image_encoder", |bencher| {
        bencher.iter(|| detector.image_encoder().run(black_box(&pixels)))
    });
    let pyramid = detector.image_encoder().run(&pixels)?;

    group.bench_function("tokenize", |bencher| {
        bencher.iter(|| detector.tokenizer().tokenize(black_box(&prompt)))
    });
    let tokens = detector.tokenizer().tokenize(&prompt)?;
    group.bench_function("text_encoder", |bencher| {
        bencher.iter(|| detector.text_encoder().run(black_box(&tokens)))
    });
    let text = detector.text_encoder().run(&tokens)?;

    group.bench_function("fusion", |bencher| {
        bencher.iter(|| detector.fusion().run(black_box(&pyramid), black_box(&text)))
    });
    let fused = detector.fusion().run(&pyramid, &text)?;
    group.bench_function("head", |bencher| {
        bencher.iter(|| detector.head().run(black_box(&fused)))
    });
    let output = detector.head().run(&fused)?;
    group.bench_function("postprocess", |bencher| {
        let (phrases, geometries) = (tokens.phrases(), pixels.geometries());
        bencher.iter(|| {
            detector
                .postprocessor()
                .run(black_box(&output), phrases, geometries)
        })
    });

    group.bench_function("ground", |bencher| {
        bencher.iter(|| detector.ground(black_box(&picture), black_box(&prompt)))
    });
    let encoded = detector.encode_image(&picture)?;
    group.bench_function("ground_again", |bencher| {
        bencher.iter(|| detector.ground(black_box(&encoded), black_box(&prompt)))
    });
    group.finish();
    Ok(())
}

criterion_group!(pipeline, benchmarks);
criterion_main!(pipeline);
