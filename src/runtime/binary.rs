//! What a library file is made for, read from its headers before the system's loader maps it.

use std::{env, path::Path};

use object::{Architecture, BinaryFormat, FileKind, Object, ObjectSegment, ReadCache};

use crate::{error::Source, regular_file::open_regular};

/// Refuses what the loader would only call missing, or die of: a library for another system or
/// processor, and one that was cut off while it was copied.
///
/// A file that is no library at all is left to the loader, which says what it misses in it.
pub(super) fn check(path: &Path) -> Result<(), Source> {
    let file = open_regular(path)?;
    let length = file.metadata()?.len();
    let data = ReadCache::new(file);
    let Ok(kind) = FileKind::parse(&data) else {
        return Ok(());
    };
    // A file for several processors holds several libraries: the loader picks its own.
    if matches!(kind, FileKind::MachOFat32 | FileKind::MachOFat64) {
        return Ok(());
    }
    let library = object::File::parse(&data)
        .map_err(|error| format!("the file of {length} bytes is cut off or damaged ({error})"))?;
    let found = (library.format(), library.architecture());
    if !is_for_this_program(found) {
        let (format, architecture) = found;
        return Err(format!(
            "it is for another machine ({architecture:?}, {format:?}); this program runs on {} ({})",
            env::consts::ARCH,
            env::consts::OS,
        )
        .into());
    }
    // Reading a page that the file does not have ends the process.
    let end = library.segments().map(|segment| {
        let (offset, size) = segment.file_range();
        offset.saturating_add(size)
    });
    match end.max() {
        Some(needed) if needed > length => Err(format!(
            "the file is cut off: it has {length} bytes of at least {needed}; copy or install it again"
        )
        .into()),
        _ => Ok(()),
    }
}

fn is_for_this_program((format, architecture): (BinaryFormat, Architecture)) -> bool {
    let system = match env::consts::OS {
        "windows" => BinaryFormat::Pe,
        "macos" | "ios" => BinaryFormat::MachO,
        _ => BinaryFormat::Elf,
    };
    let processor = match env::consts::ARCH {
        "x86_64" => Architecture::X86_64,
        "x86" => Architecture::I386,
        "aarch64" => Architecture::Aarch64,
        "arm" => Architecture::Arm,
        "riscv64" => Architecture::Riscv64,
        // What is not known here is left to the loader.
        _ => architecture,
    };
    (format, architecture) == (system, processor)
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use super::*;

    /// The program that runs these tests: a file in the format of this machine.
    fn own() -> Vec<u8> {
        fs::read(env::current_exe().unwrap()).unwrap()
    }

    fn written(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("library");
        fs::write(&path, bytes).unwrap();
        (folder, path)
    }

    #[test]
    fn a_whole_file_for_this_machine_passes() {
        check(&env::current_exe().unwrap()).unwrap();
    }

    #[test]
    fn a_file_that_was_cut_off_is_named_wherever_it_ends() {
        let whole = own();
        for share in [1, 10, 50, 90] {
            let (_folder, path) = written(&whole[..whole.len() / 100 * share]);

            let error = check(&path).unwrap_err().to_string();

            assert!(error.contains("cut off"), "{share} %: {error}");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn another_processor_is_named_with_both() {
        let mut bytes = own();
        let other = if cfg!(target_arch = "aarch64") {
            62
        } else {
            183
        }; // x86-64, AArch64
        bytes[18..20].copy_from_slice(&u16::to_ne_bytes(other));
        let (_folder, path) = written(&bytes);

        let error = check(&path).unwrap_err().to_string();

        assert!(error.contains("another machine"), "{error}");
        assert!(error.contains(env::consts::ARCH), "{error}");
    }

    #[test]
    fn what_is_no_library_is_left_to_the_loader() {
        for bytes in [&b""[..], b"not a library", &[0; 1000]] {
            let (_folder, path) = written(bytes);
            check(&path).unwrap();
        }
    }
}
