//! Times what a detector is used for, on any model, size and device: one line of JSON for each
//! workload, with the milliseconds of every run.
//!
//!     cargo bench --bench workloads -- --model models/glip-t components reuse

mod arguments;
mod subject;
mod timed;

#[path = "../../examples/common/mod.rs"]
mod common;
#[path = "../common/picture.rs"]
mod picture;

use std::{
    collections::HashSet,
    fs,
    io::{self, BufRead},
    process::ExitCode,
    time::Instant,
};

use arguments::{Arguments, USAGE};
use common::Result;
use glip::Runtime;
use serde_json::json;
use subject::Subject;
use timed::{NAMES_PER_CALL, Times, Workload};

fn main() -> ExitCode {
    common::run(USAGE, Arguments::parse, run)
}

fn run(arguments: Arguments) -> Result<()> {
    let start = Instant::now();
    let detector = arguments.detector()?;
    let load_ms = start.elapsed().as_secs_f64() * 1e3;
    let mut subject = Subject::new(detector, arguments)?;
    describe(&subject, load_ms)?;

    let mut warm = HashSet::new();
    let mut answer = |name: &str, subject: &Subject| -> Result<()> {
        let workload = Workload::named(name)?;
        if warm.insert((workload.name, subject.arguments.tokens)) {
            repeat(workload, subject, subject.arguments.warm_up)?;
        }
        let times = repeat(workload, subject, subject.arguments.runs)?;
        let line = json!({"workload": name, "ms": times.0, "peak_memory_mb": peak_memory_mb()});
        println!("{line}");
        Ok(())
    };
    for name in &subject.arguments.workloads {
        answer(name, &subject)?;
    }
    if subject.arguments.from_stdin {
        for line in io::stdin().lock().lines() {
            let line = line?;
            let (name, tokens) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
            if !tokens.is_empty() {
                subject = subject.with_tokens(tokens)?;
            }
            answer(name, &subject)?;
        }
    }
    Ok(())
}

fn repeat(workload: &Workload, subject: &Subject, runs: usize) -> Result<Times> {
    let mut times = Times::default();
    for _ in 0..runs {
        (workload.run)(subject, &mut times)?;
    }
    Ok(times)
}

/// The first line: what is timed, and what it took to load it.
fn describe(subject: &Subject, load_ms: f64) -> Result<()> {
    let Subject {
        arguments,
        detector,
        ..
    } = subject;
    let manifest = detector.manifest();
    let full = detector
        .tokenizer()
        .rule()
        .render(&subject.full_prompt()?)?;
    let line = json!({
        "model": manifest.name(),
        "variant": manifest.variant(),
        "precision": manifest.precision().to_string(),
        "device": detector.device().to_string(),
        "onnxruntime": Runtime::load()?.version(),
        "threads": arguments.threads,
        "height": arguments.size.height,
        "width": arguments.size.width,
        "batch": arguments.batch,
        "tokens": arguments.tokens,
        "vocabulary": {
            "names": subject.vocabulary.len(),
            "per_call": NAMES_PER_CALL,
            "per_prompt": full.phrases().len(),
        },
        "load_ms": load_ms,
        "peak_memory_mb": peak_memory_mb(),
    });
    println!("{line}");
    Ok(())
}

/// The most host memory that the process has had, in 10^6 bytes; only Linux tells.
fn peak_memory_mb() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024.0 / 1e6)
}
