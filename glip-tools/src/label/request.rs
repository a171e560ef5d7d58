//! What a labeller takes for each image.

use std::{
    borrow::Cow,
    fs::{self, File},
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
    pictures::{Picture, PictureLimits, Place, SharedPixels},
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
    fn read(&self) -> Result<Cow<'_, [u8]>> {
        let (path, content) = match self {
            Self::Memory(bytes) => return Ok(Cow::Borrowed(bytes)),
            Self::File(path) => (path, fs::read(path)),
            Self::Section {
                file,
                offset,
                bytes,
            } => (file, read_section(file, *offset, *bytes)),
        };
        content.map(Cow::Owned).map_err(unreadable(path))
    }
}

impl Request {
    /// Reads and decodes the image, and turns it upright.
    ///
    /// # Errors
    /// - [`Error::Read`]: the file cannot be read.
    /// - As [`Picture::decode`].
    pub fn picture(&self, limits: PictureLimits) -> Result<DynamicImage> {
        Ok(Picture::decode(&self.bytes.read()?, &self.image, limits)?.upright())
    }

    /// As [`picture`](Self::picture), in memory that a run shares.
    pub(super) fn picture_in(&self, place: Place, limits: PictureLimits) -> Result<SharedPixels> {
        let bytes = self.bytes.read()?;
        let picture = Picture::decode_in(place, &bytes, self.image.as_ref(), limits)?;
        Ok(picture.shared_upright())
    }
}

/// A part of a file.
pub(super) fn read_section(path: &Path, offset: u64, bytes: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
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
