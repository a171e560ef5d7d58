//! The records of a journal, as formats go through them.

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash, Hasher},
};

use crate::{
    error::Result,
    failure::Failure,
    label::{journal::Journal, options::Verdict, record::LabelRecord},
};

/// The records of a journal.
pub(super) fn records(journal: &Journal) -> Result<impl Iterator<Item = Result<LabelRecord>>> {
    let outcomes = journal.outcomes()?;
    Ok(outcomes.filter_map(|outcome| outcome.map(Result::ok).transpose()))
}

/// The records of a journal with a number for each, from 1; of several with one image, the first.
pub(super) fn images(
    journal: &Journal,
) -> Result<impl Iterator<Item = Result<(u64, LabelRecord)>>> {
    let mut names = Names::default();
    let mut number = 0;
    Ok(records(journal)?.filter_map(move |record| match record {
        Ok(record) if names.is_new(&record.image) => {
            number += 1;
            Some(Ok((number, record)))
        }
        Ok(_) => None,
        Err(error) => Some(Err(error)),
    }))
}

/// As [`images`], those that a person shall look at: with boxes in review, if the run has any.
pub(super) fn images_to_review(
    journal: &Journal,
) -> Result<impl Iterator<Item = Result<(u64, LabelRecord)>>> {
    let has_review = journal.header().has_review;
    let is_wanted = move |record: &LabelRecord| {
        !has_review
            || record
                .boxes
                .iter()
                .any(|found| found.verdict == Verdict::Review)
    };
    Ok(images(journal)?
        .filter(move |image| image.as_ref().map_or(true, |(_, record)| is_wanted(record))))
}

pub(super) fn repeated_images(journal: &Journal) -> Result<Vec<Failure>> {
    let mut names = Names::default();
    let mut repeated = Vec::new();
    for record in records(journal)? {
        let image = record?.image;
        if !names.is_new(&image) {
            repeated.push(Failure {
                image,
                error: "the image occurs more than once, and only its first record is in formats \
                        that know an image by its name; labels.jsonl has all"
                    .to_owned(),
            });
        }
    }
    Ok(repeated)
}

/// Names that have occurred, as 8 bytes each.
#[derive(Default)]
struct Names(HashSet<u64>);

impl Names {
    fn is_new(&mut self, name: &str) -> bool {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        self.0.insert(hasher.finish())
    }
}
