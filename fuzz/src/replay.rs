//! Seeds and, for some seconds, their random changes through the targets, on any compiler.
//!
//! What libFuzzer does is far better: it keeps what reaches new code. This needs nothing but the
//! compiler that builds the project.

use std::{
    env, fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use fastrand::Rng;
use glip_fuzz::{TARGETS, Target, seeds};
use lexopt::prelude::*;

const USAGE: &str = "usage: replay [--seconds S] [--random-seed N] [TARGET]...

Runs all seeds of the targets (all of them by default), then random changes of the seeds, S seconds
for each target. An input that is a finding is written to the folder of temporary files.";

struct Arguments {
    time: Duration,
    random_seed: u64,
    targets: Vec<String>,
}

fn main() -> ExitCode {
    match arguments().map(|arguments| run(&arguments)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}\n\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn arguments() -> Result<Arguments, lexopt::Error> {
    let mut arguments = Arguments {
        time: Duration::ZERO,
        random_seed: 0,
        targets: Vec::new(),
    };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("seconds") => arguments.time = Duration::from_secs(parser.value()?.parse()?),
            Long("random-seed") => arguments.random_seed = parser.value()?.parse()?,
            Value(name) => arguments.targets.push(name.string()?),
            other => return Err(other.unexpected()),
        }
    }
    let is_known = |name: &String| glip_fuzz::target(name).is_some();
    match arguments.targets.iter().find(|name| !is_known(name)) {
        Some(unknown) => Err(format!("there is no target {unknown:?}").into()),
        None => Ok(arguments),
    }
}

/// Whether nothing was found.
fn run(arguments: &Arguments) -> bool {
    let mut all = true;
    for (name, run) in TARGETS {
        if arguments.targets.is_empty() || arguments.targets.iter().any(|target| target == name) {
            all &= run_target(name, run, arguments);
        }
    }
    all
}

fn run_target(name: &str, run: Target, arguments: &Arguments) -> bool {
    let seeds: Vec<_> = seeds(name).into_iter().map(|(_, data)| data).collect();
    let mut random = Rng::with_seed(arguments.random_seed);
    let end = Instant::now() + arguments.time;
    let mut count = 0u64;
    let mut inputs = seeds.iter().cloned();
    loop {
        let input = match inputs.next() {
            Some(seed) => seed,
            None if Instant::now() < end => changed(&seeds, &mut random),
            None => break,
        };
        count += 1;
        if catch_unwind(AssertUnwindSafe(|| run(&input))).is_err() {
            println!(
                "{name:20} a finding after {count} inputs: {}",
                kept(name, &input).display()
            );
            return false;
        }
    }
    println!("{name:20} {count} inputs");
    true
}

fn kept(name: &str, input: &[u8]) -> PathBuf {
    let path = env::temp_dir().join(format!("finding-{name}"));
    fs::write(&path, input).expect("the folder of temporary files can be written to");
    path
}

/// A seed after a few random changes.
fn changed(seeds: &[Vec<u8>], random: &mut Rng) -> Vec<u8> {
    let mut input = seeds[random.usize(..seeds.len())].clone();
    for _ in 0..random.usize(1..=8) {
        let at = random.usize(..=input.len());
        let to = (at + random.usize(..=16)).min(input.len());
        match random.u8(..6) {
            0 => drop(input.drain(at..to)),
            1 => drop(input.splice(at..at, input[at..to].to_vec())),
            2 => drop(input.splice(
                at..to,
                std::iter::repeat_with(|| random.u8(..)).take(to - at),
            )),
            3 => input.truncate(at.max(1)),
            4 => {
                let other = &seeds[random.usize(..seeds.len())];
                let from = random.usize(..=other.len());
                let end = (from + random.usize(..=64)).min(other.len());
                drop(input.splice(at..to, other[from..end].iter().copied()));
            }
            _ => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << random.u8(..8);
                }
            }
        }
    }
    input
}
