//! How the node does, as `/diagnostics` has it.

use glip::live::{Latency, LiveStats};

use crate::{
    faults::Record,
    messages::{DiagnosticArray, DiagnosticStatus, Header, KeyValue, Time},
};

/// What is known of the node at a time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    pub(crate) stats: LiveStats,
    pub(crate) faults: Record,
    pub(crate) prompt: String,
}

/// What is said of the node once a second.
pub(crate) struct Diagnostics {
    /// The node's name.
    pub(crate) node: String,
    /// The topic that images come from.
    pub(crate) topic: String,
    /// What models run on.
    pub(crate) device: String,
    /// What was known the last time.
    pub(crate) before: Report,
}

/// Levels of `diagnostic_msgs/DiagnosticStatus`.
const OK: u8 = 0;
const WARN: u8 = 1;
const ERROR: u8 = 2;

impl Diagnostics {
    /// What is to be said now, of the time since the last.
    pub(crate) fn message(&mut self, stamp: Time, now: Report) -> DiagnosticArray {
        let (level, message) = self.judge(&now);
        let status = DiagnosticStatus {
            level,
            name: format!("{}: detections", self.node),
            message,
            hardware_id: self.device.clone(),
            values: values(&now),
        };
        self.before = now;
        DiagnosticArray {
            header: Header {
                stamp,
                frame_id: String::new(),
            },
            status: vec![status],
        }
    }

    fn judge(&self, now: &Report) -> (u8, String) {
        let (last, stats) = (&self.before.stats, &now.stats);
        // Another model counts anew.
        let since = |of: fn(&LiveStats) -> u64| of(stats).saturating_sub(of(last));
        if now.faults.count > self.before.faults.count {
            return (ERROR, now.faults.last.clone());
        }
        let pushed = since(|stats| stats.pushed);
        if pushed == 0 {
            return (WARN, format!("no images on {}", self.topic));
        }
        let (done, dropped) = (since(|stats| stats.done), since(|stats| stats.dropped));
        let done = format!("{done} of {pushed} images looked at, {dropped} dropped for newer ones");
        match since(|stats| stats.late) {
            0 => (OK, done),
            late => (WARN, format!("{done}, {late} too late for the deadline")),
        }
    }
}

fn values(report: &Report) -> Vec<KeyValue> {
    let Report {
        stats,
        faults,
        prompt,
    } = report;
    let value = |key: &str, value: String| KeyValue {
        key: key.to_owned(),
        value,
    };
    let mut values = vec![value("prompt", prompt.clone())];
    for (key, count) in [
        ("images", stats.pushed),
        ("done", stats.done),
        ("dropped", stats.dropped),
        ("late", stats.late),
        ("failed", stats.failed),
        ("faults", faults.count),
    ] {
        values.push(value(key, count.to_string()));
    }
    for (stage, latency) in stats.stages() {
        let Latency {
            p50, p95, p99, max, ..
        } = latency;
        for (rank, time) in [("p50", p50), ("p95", p95), ("p99", p99), ("max", max)] {
            let milliseconds = format!("{:.1}", 1000.0 * time.as_secs_f64());
            values.push(value(&format!("{stage} {rank} (ms)"), milliseconds));
        }
    }
    if let Some(bytes) = stats.resident_bytes {
        values.push(value("memory (MB)", (bytes >> 20).to_string()));
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_is_judged_by_what_came_in_it() {
        let mut diagnostics = Diagnostics {
            node: "glip".to_owned(),
            topic: "/camera".to_owned(),
            device: "cpu".to_owned(),
            before: Report::default(),
        };
        // Images, done, dropped, late and faults since the start.
        for (counts, level, words) in [
            ([0, 0, 0, 0, 0], WARN, "no images on /camera"),
            ([10, 7, 2, 0, 0], OK, "7 of 10 images looked at, 2 dropped"),
            ([20, 15, 3, 1, 0], WARN, "1 too late"),
            ([20, 15, 3, 1, 4], ERROR, "encoding"),
            ([20, 16, 3, 1, 4], WARN, "no images"),
            // Another model.
            ([5, 5, 0, 0, 4], WARN, "no images"),
            ([9, 9, 0, 0, 4], OK, "4 of 4 images"),
        ] {
            let mut now = Report::default();
            let [pushed, done, dropped, late, faults] = counts;
            (now.stats.pushed, now.stats.done) = (pushed, done);
            (now.stats.dropped, now.stats.late) = (dropped, late);
            now.faults = Record {
                count: faults,
                last: "encoding".to_owned(),
            };
            let message = diagnostics.message(Time::default(), now);
            let [status] = &message.status[..] else {
                panic!("{message:?}");
            };
            assert_eq!(status.level, level, "{status:?}");
            assert!(status.message.contains(words), "{}", status.message);
            let value = status.values.iter().find(|value| value.key == "done");
            assert_eq!(value.unwrap().value, done.to_string());
        }
    }
}
