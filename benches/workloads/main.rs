//! Times what a detector is used for, on any model, size and device: one line of JSON for each
//! workload, with the milliseconds of every run.
//!
//!     cargo bench --bench workloads -- --model models/glip-t components reuse

mod arguments;
mod subject;
mod timed;

#[path = "../../examples/common/mod.rs"]
mod common;

use std::{
    collections::HashSet,
    fs,
    io::{self, BufRead},
    process::ExitCode,
    time::Instant,
};

use arguments::{Arguments, USAGE};
use common::Result;
use glip::{Detector, Runtime};
use lexopt::Parser;
use serde_json::json;
use subject::Subject;
use timed::{Times, Workload};

fn main() -> ExitCode {
    common::report(Arguments::parse(Parser::from_env()).and_then(run))
}

fn run(arguments: Option<Arguments>) -> Result<()> {
    let Some(arguments) = arguments else {
        print!("{USAGE}");
        return Ok(());
    };
    let start = Instant::now();
    let detector = arguments.detector()?;
    let load_ms = start.elapsed().as_secs_f64() * 1e3;
    describe(&arguments, &detector, load_ms)?;

    let subject = Subject::new(detector, arguments)?;
    let mut warm = HashSet::new();
    let mut answer = |name: &str| -> Result<()> {
        let workload = Workload::named(name)?;
        if warm.insert(workload.name) {
            repeat(workload, &subject, subject.arguments.warm_up)?;
        }
        let times = repeat(workload, &subject, subject.arguments.runs)?;
        let line = json!({"workload": name, "ms": times.0, "peak_memory_mb": peak_memory_mb()});
        println!("{line}");
        Ok(())
    };
    for name in &subject.arguments.workloads {
        answer(name)?;
    }
    if subject.arguments.from_stdin {
        for name in io::stdin().lock().lines() {
            answer(name?.trim())?;
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
fn describe(arguments: &Arguments, detector: &Detector, load_ms: f64) -> Result<()> {
    let manifest = detector.manifest();
    let line = json!({
        "model": manifest.name,
        "variant": manifest.variant,
        "precision": manifest.precision,
        "device": detector.device().to_string(),
        "onnxruntime": Runtime::load()?.version(),
        "threads": arguments.threads,
        "height": arguments.size.height,
        "width": arguments.size.width,
        "batch": arguments.batch,
        "tokens": arguments.tokens,
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
