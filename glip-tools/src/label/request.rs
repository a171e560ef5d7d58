//! What a labeller takes for each image.

use std::{
    borrow::Cow,
    fs,
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    sync::Arc,
};

use image::DynamicImage;

#[cfg(doc)]
use crate::error::Error;
use crate::{
    error::Result,
    files::unreadable,
    label::subject::Subject,
    pictures::{Picture, PictureLimits},
    stamp::Stamp,
};

/// An image to label, not decoded yet.
#[derive(Clone, Debug)]
pub struct Request {
    /// What the image is called in records and errors: its path below the folder that was given, with
    /// `/` between the parts.
    pub image: String,
    /// Where its bytes are.
    pub bytes: ImageBytes,
    /// What to look for.
    pub subject: Arc<Subject>,
    /// Where the image is from, if its record shall say so.
    pub source: Option<String>,
}

/// Where the bytes of an image are.
#[derive(Clone, Debug)]
pub enum ImageBytes {
    /// In a file, which is read when its turn comes.
    File(PathBuf),
    /// In a part of a file, for example of a tar shard, which is read when its turn comes.
    Section {
        /// The file.
        file: PathBuf,
        /// Where the image begins, in bytes.
        offset: u64,
        /// How many bytes it has.
        bytes: u64,
    },
    /// In memory.
    Memory(Vec<u8>),
}

impl ImageBytes {
    /// The bytes, and what tells them from others.
    pub(super) fn read(&self, limits: PictureLimits) -> Result<(Cow<'_, [u8]>, Stamp)> {
        match self {
            Self::Memory(bytes) => Ok((Cow::Borrowed(bytes), Stamp::of(bytes, None))),
            Self::File(path) => {
                let (bytes, stamp) = Stamp::read(path, limits.max_file())?;
                Ok((Cow::Owned(bytes), stamp))
            }
            Self::Section {
                file,
                offset,
                bytes,
            } => {
                let metadata = fs::metadata(file).map_err(unreadable(file))?;
                let bytes = (*bytes).min(limits.max_file());
                let bytes = read_section(file, *offset, bytes).map_err(unreadable(file))?;
                let stamp = Stamp::of(&bytes, Some(&metadata));
                Ok((Cow::Owned(bytes), stamp))
            }
        }
    }

    /// Whether these are still the bytes that were read; those that could not be read then had no stamp.
    pub(super) fn is_still(&self, before: Option<&Stamp>, limits: PictureLimits) -> bool {
        let file = match self {
            Self::File(file) | Self::Section { file, .. } => fs::metadata(file).ok(),
            Self::Memory(_) => None,
        };
        match (before, self) {
            (None, Self::Memory(_)) => true,
            (None, _) => !file.is_some_and(|file| file.is_file()),
            (Some(before), Self::File(path)) => before.is_of_file(path, limits.max_file()),
            (Some(before), _) => {
                file.is_some_and(|file| before.is_as_old_as(&file))
                    || self
                        .read(limits)
                        .is_ok_and(|(_, now)| now.has_content_of(before))
            }
        }
    }
}

impl Request {
    /// Reads and decodes the image, and turns it upright.
    ///
    /// # Errors
    /// - [`Error::Read`]: the file cannot be read.
    /// - As [`Picture::decode`].
    pub fn picture(&self, limits: PictureLimits) -> Result<DynamicImage> {
        let (bytes, _) = self.bytes.read(limits)?;
        Ok(Picture::decode(&bytes, &self.image, limits)?.upright())
    }
}

/// A part of a file.
pub(super) fn read_section(path: &Path, offset: u64, bytes: u64) -> io::Result<Vec<u8>> {
    let mut file = glip::open_regular(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut content = Vec::new();
    file.take(bytes).read_to_end(&mut content)?;
    if content.len() as u64 != bytes {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the file ends early",
        ));
    }
    Ok(content)
}
