//! Good and bad lines of the grounding format, which the reader of `glip_torch` is tested with too.

#![allow(clippy::unwrap_used)] // Clippy does not see that helpers of tests are tests.

use glip_tools::grounding::{FormatVersion, Header, Record, Records};

const GOOD: &str = include_str!("fixtures/grounding/good.jsonl");
const UNDERSTOOD: &str = include_str!("fixtures/grounding/understood.jsonl");
const GOOD_VERSION_1: &str = include_str!("fixtures/grounding/good_version_1.jsonl");
const UNDERSTOOD_VERSION_1: &str = include_str!("fixtures/grounding/understood_version_1.jsonl");
const BAD_RECORDS: &str = include_str!("fixtures/grounding/bad_records.tsv");
const BAD_HEADERS: &str = include_str!("fixtures/grounding/bad_headers.tsv");

fn value(line: &str) -> serde_json::Value {
    serde_json::from_str(line).unwrap()
}

/// Each row is what the message may say, a tab, and a line.
fn assert_refused(rows: &str, parse: impl Fn(&str) -> Result<(), String>) {
    assert!(rows.lines().count() > 10);
    let mut wrong = Vec::new();
    for row in rows.lines() {
        let (reasons, line) = row.split_once('\t').unwrap();
        match parse(line) {
            Ok(()) => wrong.push(format!("{line}: read")),
            Err(message) if reasons.split('|').any(|reason| message.contains(reason)) => {}
            Err(message) => wrong.push(format!("{line}: {message}, not {reasons}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn good_lines_are_understood_as_they_are_meant() {
    for (good, understood) in [(GOOD, UNDERSTOOD), (GOOD_VERSION_1, UNDERSTOOD_VERSION_1)] {
        let records = Records::new(good.as_bytes(), "good.jsonl").unwrap();
        let mut found = vec![value(&records.header().to_line())];
        found.extend(records.map(|record| value(&record.unwrap().to_line().unwrap())));
        let understood: Vec<_> = understood.lines().map(value).collect();
        assert_eq!(found, understood);
    }
}

#[test]
fn bad_records_are_refused_for_their_reason() {
    for version in [FormatVersion::V1, FormatVersion::V2] {
        assert_refused(BAD_RECORDS, |line| Record::parse(line, version).map(drop));
    }
}

#[test]
fn bad_headers_are_refused_for_their_reason() {
    assert_refused(BAD_HEADERS, |line| Header::parse(line).map(drop));
}
