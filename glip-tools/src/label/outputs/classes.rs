//! The classes of boxes, with the numbers that formats give them.

use std::{collections::HashMap, sync::Arc};

use crate::{
    error::Result,
    label::{
        journal::Journal,
        outputs::records::records,
        record::{Asked, LabelRecord},
    },
};

/// The names of all classes: the categories that were looked for, in their order, whether found or not,
/// and the phrases of captions that were found.
pub(super) struct Classes {
    names: Vec<String>,
    numbers: HashMap<String, usize>,
}

impl Classes {
    pub(super) fn of(journal: &Journal) -> Result<Self> {
        let mut classes = Self {
            names: Vec::new(),
            numbers: HashMap::new(),
        };
        for name in journal.header().categories.iter().flatten() {
            classes.add(name);
        }
        let mut last: Option<Arc<[String]>> = None;
        for record in records(journal)? {
            let record = record?;
            match &record.asked {
                // Mostly the same as in the record before.
                Asked::Categories(names)
                    if last.as_ref().is_some_and(|last| Arc::ptr_eq(last, names)) => {}
                Asked::Categories(names) => {
                    names.iter().for_each(|name| classes.add(name));
                    last = Some(Arc::clone(names));
                }
                Asked::Caption(..) => classes.add_found(&record),
            }
        }
        Ok(classes)
    }

    fn add_found(&mut self, record: &LabelRecord) {
        for found in &record.boxes {
            self.add(record.name(found));
        }
    }

    fn add(&mut self, name: &str) {
        if !self.numbers.contains_key(name) {
            self.numbers.insert(name.to_owned(), self.names.len());
            self.names.push(name.to_owned());
        }
    }

    /// The names, by their numbers from 0.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// The number of a class, from 0.
    pub(super) fn number(&self, name: &str) -> usize {
        self.numbers.get(name).copied().unwrap_or_default()
    }
}
