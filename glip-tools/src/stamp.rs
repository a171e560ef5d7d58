//! What tells a file from another that has taken its place.

use std::{
    fs::{self, Metadata},
    path::Path,
    time::UNIX_EPOCH,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    error::Result,
    files::{read, unreadable},
};

/// What tells a file from another that has taken its place: its size and its time, and as a copy has another time,
/// a hash of its content.
///
/// As JSON: `{"bytes": 1234, "modified": 1764230000000000000, "sha256": "0123456789abcdef"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(expecting = "an object with bytes, modified and sha256")]
pub(crate) struct Stamp {
    bytes: u64,
    /// When it was written, in nanoseconds since 1970; 0 if that is not known, or there is no such file.
    modified: u64,
    /// The first 16 hexadecimal digits.
    sha256: String,
}

impl Stamp {
    /// Reads a file of at most so many bytes, and what tells it from others.
    pub(crate) fn read(path: &Path, most: u64) -> Result<(Vec<u8>, Self)> {
        // Before the content: if the file is replaced in between, the hash decides the next time.
        let metadata = fs::metadata(path).map_err(unreadable(path))?;
        let content = read(path, most)?;
        let stamp = Self::of(&content, Some(&metadata));
        Ok((content, stamp))
    }

    /// Of some content, and the file that it is in, if it is in one.
    pub(crate) fn of(content: &[u8], file: Option<&Metadata>) -> Self {
        let digest = Sha256::digest(content);
        Self {
            bytes: content.len() as u64,
            modified: file.map_or(0, modified),
            sha256: digest[..8]
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect(),
        }
    }

    /// Whether a file has not been written since, as far as its time tells.
    pub(crate) fn is_as_old_as(&self, file: &Metadata) -> bool {
        self.modified != 0 && self.modified == modified(file)
    }

    /// Whether this is of the same content.
    pub(crate) fn has_content_of(&self, other: &Self) -> bool {
        (self.bytes, &self.sha256) == (other.bytes, &other.sha256)
    }

    /// Whether the file there is still the one that this was made of.
    pub(crate) fn is_of_file(&self, path: &Path, most: u64) -> bool {
        let Ok(metadata) = fs::metadata(path) else {
            return false;
        };
        if metadata.len() != self.bytes {
            return false;
        }
        let is_same = |(_, now)| self.has_content_of(&now);
        self.is_as_old_as(&metadata) || Self::read(path, most).is_ok_and(is_same)
    }
}

fn modified(file: &Metadata) -> u64 {
    let time = file.modified().ok();
    let time = time.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    time.and_then(|time| u64::try_from(time.as_nanos()).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::{fs::File, time::Duration};

    use super::*;

    #[test]
    fn a_file_is_the_same_if_its_content_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "one").unwrap();
        let (content, stamp) = Stamp::read(&path, 3).unwrap();
        assert_eq!(content, b"one");
        assert!(stamp.is_of_file(&path, 3));
        let later = |seconds| {
            let time = UNIX_EPOCH + Duration::from_secs(seconds);
            let file = File::options().append(true).open(&path).unwrap();
            file.set_modified(time).unwrap();
        };
        later(1000);
        assert!(stamp.is_of_file(&path, 3));
        // Of the same size, and of another.
        for other in ["two", "three"] {
            fs::write(&path, other).unwrap();
            later(2000);
            assert!(!stamp.is_of_file(&path, 5), "{other}");
        }
        fs::remove_file(&path).unwrap();
        assert!(!stamp.is_of_file(&path, 3));
    }
}
