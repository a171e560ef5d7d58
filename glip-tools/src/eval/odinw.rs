//! ODinW (Object Detection in the Wild): many small COCO data sets, and the mean of their AP.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::{error::Result, eval::average_precision::DetectionScores, walk::Walk};

/// A data set of ODinW, measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NamedScores {
    /// The data set's name.
    pub name: String,
    /// How good the detections in it are.
    pub scores: DetectionScores,
}

/// The summary that papers give: the mean AP over the sets, each of the same weight. Sets without any
/// object are left out; `None` if all are.
pub fn odinw_summary(sets: &[NamedScores]) -> Option<f64> {
    let precisions: Vec<f64> = sets
        .iter()
        .filter_map(|set| set.scores.averages.ap)
        .collect();
    let count = precisions.len() as f64;
    (!precisions.is_empty()).then(|| precisions.iter().sum::<f64>() / count)
}

/// A data set of ODinW on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OdinwSet {
    /// Its path below the folder of all sets, with `/` between the parts.
    pub name: String,
    /// Its annotations, in COCO's format.
    pub annotations: PathBuf,
    /// The folder of its images.
    pub images: PathBuf,
}

/// The sets in a folder, at any depth, by name: folders with the annotations of a split as ODinW or Roboflow have them.
/// Every folder is visited once, and what is hidden is passed over.
///
/// # Errors
/// - [`Error::Read`](crate::Error::Read): a folder cannot be read.
pub fn find_odinw_sets(root: impl AsRef<Path>, split: &str) -> Result<Vec<OdinwSet>> {
    let root = root.as_ref();
    let files = [
        format!("{split}_annotations_without_background.json"),
        format!("{split}/annotations_without_background.json"),
        format!("{split}/_annotations.coco.json"),
    ];
    let annotations = |folder: &Path| {
        let mut files = files.iter().map(|file| folder.join(file));
        files.find(|file| file.exists())
    };
    // A set's own folders are not entered.
    let walk = Walk {
        without: &[],
        enters: &|folder| folder.parent().is_none_or(|set| annotations(set).is_none()),
    };
    let mut sets: Vec<OdinwSet> = walk
        .folders(root)?
        .iter()
        .filter_map(|folder| {
            let annotations = annotations(folder)?;
            Some(OdinwSet {
                name: set_name(root, folder),
                images: annotations.parent().unwrap_or(folder).to_owned(),
                annotations,
            })
        })
        .collect();
    sets.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(sets)
}

/// The set's path below the root, without the folder `export` that some of ODinW's have.
fn set_name(root: &Path, folder: &Path) -> String {
    let below = folder.strip_prefix(root).unwrap_or(folder);
    let below = match below.file_name() {
        Some(last) if last == "export" => below.parent().unwrap_or(below),
        _ => below,
    };
    match below.to_string_lossy() {
        name if name.is_empty() => "set".to_owned(),
        name => name.replace(std::path::MAIN_SEPARATOR, "/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::{Averages, Overlap, Protocol};

    #[test]
    fn the_mean_is_over_sets_with_objects() {
        let set = |ap| NamedScores {
            name: "set".into(),
            scores: DetectionScores {
                protocol: Protocol::Coco,
                overlap: Overlap::Boxes,
                averages: Averages {
                    ap,
                    ..Default::default()
                },
                classes: Vec::new(),
            },
        };
        assert_eq!(
            odinw_summary(&[set(Some(0.5)), set(None), set(Some(0.25))]),
            Some(0.375)
        );
        assert_eq!(odinw_summary(&[set(None)]), None);
    }
}
