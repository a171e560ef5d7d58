//! Tables for a terminal.

use std::fmt::Write;

use crate::eval::{
    average_precision::{ClassScores, DetectionScores},
    odinw::{NamedScores, odinw_summary},
    phrase_recall::{PhraseRecall, RecallAt},
};

/// The averages, and a line for each category with objects, in percent as papers give them.
pub fn detection_table(scores: &DetectionScores) -> String {
    let mut table = String::new();
    let named = scores.averages.named(scores.protocol);
    for (name, _) in &named {
        put(&mut table, format_args!("{name:>6}"));
    }
    table.push('\n');
    for (_, value) in &named {
        put(&mut table, format_args!("{:>6}", percent(*value)));
    }
    table.push_str("\n\n");
    let width = scores
        .classes
        .iter()
        .map(|class| class.name.chars().count())
        .max();
    let width = width.unwrap_or(0).clamp(8, 40);
    put(
        &mut table,
        format_args!(
            "{:width$} {:>8} {:>6} {:>6} {:>6}\n",
            "category", "objects", "AP", "AP50", "AR"
        ),
    );
    for class in scores.classes.iter().filter(|class| class.ap.is_some()) {
        put_class(&mut table, class, width);
    }
    table
}

fn put_class(table: &mut String, class: &ClassScores, width: usize) {
    let [ap, ap_50, ar] = [class.ap, class.ap_50, class.ar].map(percent);
    let (name, objects) = (&class.name, class.objects);
    put(
        table,
        format_args!("{name:width$} {objects:>8} {ap:>6} {ap_50:>6} {ar:>6}\n"),
    );
}

/// Recall of phrases of every kind, by both protocols or one, in percent.
pub fn phrase_table(recalls: &[PhraseRecall]) -> String {
    let mut table = String::new();
    for recall in recalls {
        put(
            &mut table,
            format_args!(
                "{:14} {:>8} {:>6} {:>6} {:>6} {:>6}\n",
                format!("{:?}", recall.protocol),
                "phrases",
                "R@1",
                "R@5",
                "R@10",
                "R@all"
            ),
        );
        put_recall(&mut table, "all", &recall.all);
        for (kind, of_kind) in &recall.kinds {
            put_recall(&mut table, kind, of_kind);
        }
        table.push('\n');
    }
    table
}

fn put_recall(table: &mut String, kind: &str, recall: &RecallAt) {
    let [at_1, at_5, at_10, at_any] =
        [recall.at_1, recall.at_5, recall.at_10, recall.at_any].map(percent);
    let phrases = recall.phrases;
    put(
        table,
        format_args!("{kind:14} {phrases:>8} {at_1:>6} {at_5:>6} {at_10:>6} {at_any:>6}\n"),
    );
}

/// AP of every set and their mean, in percent.
pub fn sets_table(sets: &[NamedScores]) -> String {
    let width = sets.iter().map(|set| set.name.chars().count()).max();
    let width = width.unwrap_or(0).max(4);
    let mut table = String::new();
    put(
        &mut table,
        format_args!("{:width$} {:>6} {:>6}\n", "set", "AP", "AP50"),
    );
    for set in sets {
        let [ap, ap_50] = [set.scores.averages.ap, set.scores.averages.ap_50].map(percent);
        put(
            &mut table,
            format_args!("{:width$} {ap:>6} {ap_50:>6}\n", set.name),
        );
    }
    put(
        &mut table,
        format_args!("{:width$} {:>6}\n", "mean", percent(odinw_summary(sets))),
    );
    table
}

/// A share in percent, as papers give it; a dash where there is none.
pub(super) fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "-".to_owned(), |share| format!("{:.1}", 100.0 * share))
}

fn put(table: &mut String, text: std::fmt::Arguments<'_>) {
    // A string takes everything.
    let _ = table.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::{Averages, Overlap, Protocol};

    #[test]
    fn what_was_not_there_has_no_number() {
        let class = |name: &str, ap| ClassScores {
            category: 1,
            name: name.into(),
            objects: 3,
            ap,
            ap_50: ap,
            ar: ap,
            curves: Vec::new(),
        };
        let scores = DetectionScores {
            protocol: Protocol::Coco,
            overlap: Overlap::Boxes,
            averages: Averages {
                ap: Some(0.1234),
                ..Default::default()
            },
            classes: vec![class("dög", Some(0.5)), class("cat", None)],
        };
        let table = detection_table(&scores);
        let lines: Vec<_> = table.lines().collect();
        assert!(lines[0].trim_start().starts_with("AP  AP50"), "{table}");
        assert!(lines[1].starts_with("  12.3     -"), "{table}");
        assert_eq!(lines[4], "dög             3   50.0   50.0   50.0");
        assert_eq!(lines.len(), 5);
    }
}
