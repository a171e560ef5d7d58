//! How long COCO's numbers take: `cargo bench -p glip-tools --bench average_precision -- ANNOTATIONS DETECTIONS`.
//!
//! Prints one JSON document: the seconds of reading both files and of measuring, and the twelve numbers (-1
//! where there are none). `python/tools/evaluation_speed.py` draws the files and compares with pycocotools.

use std::{error::Error, time::Instant};

use glip_tools::{
    coco::Dataset,
    eval::{Overlap, Protocol, average_precision, read_detections},
};
use serde_json::json;

fn main() -> Result<(), Box<dyn Error>> {
    // Cargo adds `--bench`.
    let files: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"))
        .collect();
    let [annotations, detections] = files.as_slice() else {
        eprintln!("average_precision: nothing to measure; give two files: ANNOTATIONS DETECTIONS");
        return Ok(());
    };
    let begin = Instant::now();
    let (truth, mut problems) = Dataset::read(annotations)?;
    let (found, unusable) = read_detections(detections, &truth, Overlap::Boxes)?;
    problems.extend(unusable);
    if let Some(problem) = problems.first() {
        return Err(format!(
            "{} entries cannot be used, the first: {problem}",
            problems.len()
        )
        .into());
    }
    let read = begin.elapsed();
    let begin = Instant::now();
    let scores = average_precision(&truth, &found, Protocol::Coco, Overlap::Boxes)?;
    let measure = begin.elapsed();
    let named = scores.averages.named(Protocol::Coco);
    let numbers: Vec<f64> = named
        .iter()
        .map(|(_, value)| value.unwrap_or(-1.0))
        .collect();
    let result = json!({
        "read": read.as_secs_f64(),
        "measure": measure.as_secs_f64(),
        "numbers": numbers,
    });
    println!("{result}");
    Ok(())
}
