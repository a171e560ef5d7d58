//! Reading files that others made: a pipe in a file's place would be waited for forever, and a device has no
//! end.

use std::{
    fs::{self, File, FileType, OpenOptions},
    io::{self, Read},
    path::Path,
};

/// Opens a file to read it, if it is a regular one or a link to one. Nothing else is waited for.
///
/// # Errors
/// As [`File::open`], and that it is something else.
pub fn open_regular(path: impl AsRef<Path>) -> io::Result<File> {
    let path = path.as_ref();
    // Looked at before, as opening a device can do something to it, and after, as it may have been replaced.
    regular(fs::metadata(path)?.file_type())?;
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        // A pipe opens without a writer then; to regular files it is nothing.
        options.custom_flags(libc::O_NONBLOCK);
    }
    let file = options.open(path)?;
    regular(file.metadata()?.file_type())?;
    Ok(file)
}

/// Reads a regular file of at most so many bytes, and never more bytes than it says it has.
///
/// # Errors
/// As [`open_regular`], and that it has more bytes.
pub fn read_regular(path: impl AsRef<Path>, most: u64) -> io::Result<Vec<u8>> {
    let file = open_regular(path)?;
    let bytes = file.metadata()?.len();
    if bytes > most {
        let reason = format!("it has {bytes} bytes, more than the {most} that it may have");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
    }
    let mut content = Vec::new();
    content.try_reserve_exact(usize::try_from(bytes).unwrap_or(usize::MAX))?;
    file.take(bytes).read_to_end(&mut content)?;
    Ok(content)
}

/// As [`read_regular`], a text in UTF-8, without the byte order mark that Windows' programs put before it.
///
/// # Errors
/// As [`read_regular`], and that it is not UTF-8.
pub fn read_text(path: impl AsRef<Path>, most: u64) -> io::Result<String> {
    let text = String::from_utf8(read_regular(path, most)?);
    let mut text = text.map_err(|error| {
        let reason = format!("it is not text in UTF-8 ({})", error.utf8_error());
        io::Error::new(io::ErrorKind::InvalidData, reason)
    })?;
    if text.starts_with('\u{feff}') {
        text.drain(..'\u{feff}'.len_utf8());
    }
    Ok(text)
}

fn regular(kind: FileType) -> io::Result<()> {
    if kind.is_file() {
        return Ok(());
    }
    let kind = match kind.is_dir() {
        true => "a folder",
        false => "a pipe or a device",
    };
    let reason = format!("it is {kind}, not a regular file");
    Err(io::Error::new(io::ErrorKind::InvalidInput, reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_as_far_as_they_may() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        fs::write(&path, "\u{feff}süß").unwrap();
        assert_eq!(read_regular(&path, 8).unwrap(), "\u{feff}süß".as_bytes());
        assert_eq!(read_text(&path, 8).unwrap(), "süß");
        let error = read_regular(&path, 7).unwrap_err().to_string();
        assert!(error.contains("8 bytes, more than the 7"), "{error}");
        fs::write(&path, b"s\xfc\xdf").unwrap();
        let error = read_text(&path, 8).unwrap_err().to_string();
        assert!(error.contains("UTF-8"), "{error}");
        let error = read_regular(folder.path(), 8).unwrap_err().to_string();
        assert!(error.contains("a folder, not a regular file"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn pipes_and_devices_are_neither_waited_for_nor_read() {
        let folder = tempfile::tempdir().unwrap();
        let [pipe, zero, file] = ["pipe", "zero", "file"].map(|name| folder.path().join(name));
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        std::os::unix::fs::symlink("/dev/zero", &zero).unwrap();
        for path in [&pipe, &zero] {
            let error = read_regular(path, u64::MAX).unwrap_err().to_string();
            assert!(error.contains("a pipe or a device"), "{error}");
        }
        fs::write(&file, "1").unwrap();
        std::os::unix::fs::symlink(&file, folder.path().join("link")).unwrap();
        assert_eq!(read_text(folder.path().join("link"), 1).unwrap(), "1");
    }
}
