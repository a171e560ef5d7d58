//! What a detector got wrong: boxes where nothing is, and objects without a box.

use std::collections::HashMap;

use crate::{
    coco::Dataset,
    error::{Error, Result},
    eval::{
        average_precision::{Protocol, evaluation},
        detection::Detection,
        overlap::Overlap,
    },
};

/// What went wrong, at IoU 0.5.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mistakes {
    /// Detections without an object of their category, the surest first: their places in the list.
    pub false_positives: Vec<usize>,
    /// Objects that no detection is for, the largest first: their places in the data set's annotations.
    pub missed: Vec<usize>,
}

/// Finds what counts as wrong by the protocol's rules.
///
/// # Errors
/// As [`average_precision`](super::average_precision).
pub fn mistakes(
    truth: &Dataset,
    found: &[Detection],
    protocol: Protocol,
    overlap: Overlap,
) -> Result<Mistakes> {
    let mut evaluation = evaluation(truth, found, protocol, overlap)?;
    evaluation.params.iou_thrs = vec![0.5];
    evaluation.params.area_ranges.truncate(1); // objects of any size
    evaluation.evaluate().map_err(|source| Error::Matching {
        source: Box::new(source),
    })?;
    let mut mistakes = Mistakes::default();
    for cell in evaluation.eval_imgs().iter().flatten() {
        let wrong =
            |&(place, _): &(usize, _)| !cell.dt_matched[(0, place)] && !cell.dt_ignore[(0, place)];
        let detections = cell.dt_ids.iter().enumerate().filter(wrong);
        mistakes
            .false_positives
            .extend(detections.map(|(_, id)| place(*id)));
        let missed =
            |&(place, _): &(usize, _)| !cell.gt_matched[(0, place)] && cell.counts_as_miss(place);
        let objects = cell.gt_ids.iter().enumerate().filter(missed);
        mistakes.missed.extend(objects.map(|(_, id)| place(*id)));
    }
    // Stable, and from the order of the lists, so that equal ones keep it.
    mistakes.false_positives.sort_unstable();
    mistakes
        .false_positives
        .sort_by(|&a, &b| found[b].score.total_cmp(&found[a].score));
    let area = |object: usize| truth.annotations[object].area;
    mistakes.missed.sort_unstable();
    mistakes
        .missed
        .sort_by(|&a, &b| area(b).total_cmp(&area(a)));
    Ok(mistakes)
}

/// Ids of the matching count from 1.
fn place(id: u64) -> usize {
    id as usize - 1
}

impl Mistakes {
    /// The worst: at most so many of each category, and so many of each kind altogether.
    #[must_use]
    pub fn worst(
        &self,
        truth: &Dataset,
        found: &[Detection],
        per_category: usize,
        total: usize,
    ) -> Self {
        let few = |places: &[usize], category: &dyn Fn(usize) -> u64| {
            let mut taken: HashMap<u64, usize> = HashMap::new();
            let among_worst = |place: &usize| {
                let taken = taken.entry(category(*place)).or_default();
                *taken += 1;
                *taken <= per_category
            };
            let worst = places.iter().copied().filter(among_worst);
            worst.take(total).collect()
        };
        Self {
            false_positives: few(&self.false_positives, &|place| found[place].category),
            missed: few(&self.missed, &|place| truth.annotations[place].category),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_what_counts_as_wrong() {
        let (truth, _) = Dataset::parse(
            r#"{"images": [{"id": 1, "file_name": "a.jpg", "neg_category_ids": [2]}, {"id": 2, "file_name": "b.jpg"}],
                "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
                "annotations": [
                    {"id": 5, "image_id": 1, "category_id": 1, "bbox": [0, 0, 10, 10]},
                    {"id": 6, "image_id": 1, "category_id": 1, "bbox": [50, 0, 20, 20]},
                    {"id": 7, "image_id": 1, "category_id": 1, "bbox": [0, 50, 90, 90], "iscrowd": 1}]}"#,
        )
        .unwrap();
        let at = |image, category, x, y, score| {
            Detection::of_box(image, category, [x, y, 10.0, 10.0], score)
        };
        let found = [
            at(1, 1, 0.0, 1.0, 0.9),   // right
            at(1, 1, 30.0, 30.0, 0.3), // nothing there
            at(1, 2, 0.0, 0.0, 0.8),   // another category
            at(1, 1, 10.0, 60.0, 0.7), // within the crowd
            at(2, 2, 0.0, 0.0, 0.6),   // LVIS: nobody looked for it
        ];
        let coco = mistakes(&truth, &found, Protocol::Coco, Overlap::Boxes).unwrap();
        assert_eq!(
            (coco.false_positives.as_slice(), coco.missed.as_slice()),
            (&[2, 4, 1][..], &[1][..])
        );
        assert_eq!(coco.worst(&truth, &found, 1, 9).false_positives, [2, 1]);
        assert_eq!(coco.worst(&truth, &found, 9, 2).false_positives, [2, 4]);
        let lvis = mistakes(&truth, &found, Protocol::Lvis, Overlap::Boxes).unwrap();
        assert!(!lvis.false_positives.contains(&4));
        assert!(lvis.missed.contains(&2), "LVIS has no crowds");
    }
}
