//! What a file is that is no picture which is read here.

/// What files begin with, and what they are called.
const BEGINNINGS: [(&[u8], &str); 21] = [
    (b"\xff\x0a", "a JPEG XL picture"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL picture"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 picture"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 picture"),
    (b"\x76\x2f\x31\x01", "an OpenEXR picture"),
    (b"#?RADIANCE", "a Radiance HDR picture"),
    (b"#?RGBE", "a Radiance HDR picture"),
    (b"8BPS", "a Photoshop document"),
    (b"%PDF", "a PDF document"),
    (b"qoif", "a QOI picture"),
    (b"DDS ", "a DDS texture"),
    (b"\0\0\x01\0", "an icon"),
    (b"farbfeld", "a farbfeld picture"),
    (b"BPG\xfb", "a BPG picture"),
    (b"\x1aE\xdf\xa3", "a video"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x7fELF", "a program"),
    (
        b"version https://git-lfs",
        "a pointer of git LFS in a picture's place",
    ),
    (b"<svg", "an SVG drawing"),
    (b"<?xml", "an XML document, perhaps an SVG drawing"),
];

/// What a file is called that is not read, if its beginning tells.
pub(super) fn name(bytes: &[u8]) -> Option<&'static str> {
    if bytes.is_empty() {
        return Some("an empty file");
    }
    if bytes.get(4..8) == Some(b"ftyp") {
        return Some(of_brand(bytes));
    }
    if bytes.get(128..132) == Some(b"DICM") {
        return Some("a DICOM picture");
    }
    if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"AVI ") {
        return Some("a video");
    }
    let text = bytes.trim_ascii_start();
    if [&b"<!doctype html"[..], b"<html"].iter().any(|start| {
        text.get(..start.len())
            .is_some_and(|text| text.eq_ignore_ascii_case(start))
    }) {
        return Some("a web page in a picture's place");
    }
    // Portable maps have a digit and a space after their letter.
    if matches!(bytes, [b'P', b'1'..=b'7', space, ..] if space.is_ascii_whitespace()) {
        return Some("a portable bitmap");
    }
    let mut known = BEGINNINGS.iter();
    let found = known.find(|(start, _)| bytes.starts_with(start));
    found.map(|(_, name)| *name)
}

/// A file in the base format of MPEG-4, by the brand in its first box.
fn of_brand(bytes: &[u8]) -> &'static str {
    match bytes.get(8..12).unwrap_or_default() {
        b"avif" | b"avis" => "an AVIF picture",
        b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"hevx" | b"mif1" | b"msf1" => {
            let boxed = bytes.get(16..64.min(bytes.len())).unwrap_or_default();
            match boxed.windows(4).any(|brand| brand == b"avif") {
                true => "an AVIF picture",
                false => "a HEIC picture",
            }
        }
        b"crx " => "a raw picture of a camera (CR3)",
        b"jp2 " | b"jpx " => "a JPEG 2000 picture",
        _ => "a video",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_called_what_they_are() {
        let cases: [(&[u8], &str); 12] = [
            (b"", "empty"),
            (b"\0\0\0\x1cftypavif\0\0\0\0", "AVIF"),
            (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf", "AVIF"),
            (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
            (b"\0\0\0\x18ftypisom\0\0\0\0", "video"),
            (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
            (b"\xff\x0a\x00", "JPEG XL"),
            (b"\n<!DOCTYPE HTML><title>404", "web page"),
            (b"P6 2 2 255", "portable"),
            (b"8BPS\0\x01", "Photoshop"),
            (b"version https://git-lfs.github.com/spec/v1", "LFS"),
            (b"RIFF\0\0\0\0AVI LIST", "video"),
        ];
        for (bytes, expected) in cases {
            assert!(name(bytes).unwrap().contains(expected), "{expected}");
        }
        for unknown in [&b"Picture"[..], b"Px", b"RIFF\0\0\0\0WEBP", b"\xff\xd8\xff"] {
            assert_eq!(name(unknown), None);
        }
    }
}
