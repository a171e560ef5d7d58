//! Images in tar shards, as webdataset lays them out.

use std::{
    fs::File,
    io::{self, Read},
    iter::{self, Peekable},
    path::{Path, PathBuf},
    sync::{Arc, mpsc::sync_channel},
    thread,
};

use flate2::read::MultiGzDecoder;
use serde_json::{Map, Value};

use crate::{
    error::Result,
    failure::Failure,
    files::open,
    label::{
        inputs::{
            lines::{NOTHING_ASKED, header, object, record},
            places::{NOT_UNICODE, name_below},
        },
        request::{ImageBytes, Request, read_section},
        subject::Subject,
    },
    pictures::{BEGINNING, begins_picture, is_called_picture, left_out},
    text::decode,
    walk::is_hidden,
};

/// The header of `glip_torch`'s shards.
const HEADER: &str = "header.json";

/// The most bytes that a member of a packed shard may have, which is in memory as a whole.
const LARGEST_MEMBER: u64 = 1 << 30;

/// How many members of a packed shard are unpacked ahead.
const UNPACKED_AHEAD: usize = 4;

/// The requests in a shard: members of one name, `7.jpg` with `7.json` or `7.txt`, belong together and
/// stand one after the other. Hidden members are passed over.
///
/// The list of members is read first, which skips their contents, and images are read when they are decoded. Of a packed
/// shard, nothing can be skipped: its members are unpacked as they are asked for.
pub(super) struct Shard {
    path: PathBuf,
    /// What names begin with: the shard's own, without its ending.
    folder: String,
    members: Peekable<Members>,
    subject: Option<Arc<Subject>>,
    header: Option<Arc<Subject>>,
    /// Groups without a picture that can be read.
    left_out: Vec<PathBuf>,
}

/// The members of a shard, as far as it can be read.
type Members = Box<dyn Iterator<Item = io::Result<Member>> + Send>;

/// A file in a shard.
struct Member {
    name: String,
    is_unicode: bool,
    /// What those that belong together have in common: the name up to the first dot after the last slash.
    key: Vec<u8>,
    /// The rest of the name.
    ending: String,
    content: ImageBytes,
}

impl Member {
    fn new(name: &[u8], content: ImageBytes) -> Self {
        let text = String::from_utf8_lossy(name);
        let file = name.iter().rposition(|byte| *byte == b'/');
        let file = file.map_or(0, |slash| slash + 1);
        let dot = name[file..].iter().position(|byte| *byte == b'.');
        let dot = dot.map_or(name.len(), |dot| file + dot);
        let ending = name.get(dot + 1..).unwrap_or_default();
        Self {
            is_unicode: text.as_bytes() == name,
            name: text.into_owned(),
            key: name[..dot].to_vec(),
            ending: String::from_utf8_lossy(ending).into_owned(),
            content,
        }
    }

    fn is(&self, ending: &str) -> bool {
        self.ending.eq_ignore_ascii_case(ending)
    }

    /// Whether it is called a picture, of which a name has nothing but the key and an ending.
    fn is_called_picture(&self) -> bool {
        !self.ending.contains('.') && is_called_picture(Path::new(&self.name))
    }

    /// Whether it is one, whatever its ending.
    fn is_picture(&self) -> bool {
        let begins = || {
            self.read(BEGINNING)
                .is_ok_and(|content| begins_picture(&content))
        };
        !self.ending.contains('.') && begins()
    }

    /// Its first bytes.
    fn read(&self, most: u64) -> io::Result<Vec<u8>> {
        match &self.content {
            ImageBytes::Section {
                file,
                offset,
                bytes,
            } => read_section(file, *offset, most.min(*bytes)),
            ImageBytes::Memory(content) => {
                let most = usize::try_from(most).unwrap_or(usize::MAX);
                Ok(content[..content.len().min(most)].to_vec())
            }
            ImageBytes::File(path) => glip::read_regular(path, most),
        }
    }

    fn object(&self) -> Result<Map<String, Value>, String> {
        object(&self.text()?)
            .map_err(|error| format!("{} is not a JSON object ({error})", self.name))
    }

    fn text(&self) -> Result<String, String> {
        /// Words are shorter.
        const LONGEST: u64 = 16 << 20;
        let bytes = self.read(LONGEST);
        let bytes = bytes.map_err(|error| format!("{}: {error}", self.name))?;
        decode(bytes, 1).map_err(|found| format!("{} is {found}: save it as UTF-8", self.name))
    }
}

impl Shard {
    /// Opens a shard and lists its members.
    pub(super) fn open(path: &Path, base: &Path, subject: Option<Arc<Subject>>) -> Result<Self> {
        let file = open(path)?;
        let (bare, is_packed) = without_ending(path);
        let members: Members = match is_packed {
            true => Box::new(unpacked(file)),
            false => Box::new(listed(file, path).into_iter()),
        };
        let folder = name_below(base, &bare).unwrap_or_else(|failure| failure.image);
        Ok(Self {
            path: path.to_owned(),
            folder,
            members: members.peekable(),
            subject,
            header: None,
            left_out: Vec::new(),
        })
    }

    /// The members of the next name; none at the end. A header of the shard is read on the way: one that cannot be says
    /// nothing about what to look for, and images without words fail.
    fn group(&mut self) -> io::Result<Vec<Member>> {
        let mut group: Vec<Member> = Vec::new();
        loop {
            let belongs = |next: &io::Result<Member>| match (group.first(), next) {
                (None, _) => true,
                (Some(first), Ok(next)) => first.key == next.key,
                (Some(_), Err(_)) => false,
            };
            let Some(member) = self.members.next_if(belongs).transpose()? else {
                return Ok(group);
            };
            match member.name == HEADER {
                true => self.header = member.object().and_then(header).unwrap_or_default(),
                false => group.push(member),
            }
        }
    }

    fn request(&mut self, group: &[Member]) -> Option<Result<Request, Failure>> {
        let mut members = group.iter();
        let Some(picture) = members
            .find(|member| member.is_called_picture())
            .or_else(|| group.iter().find(|member| member.is_picture()))
        else {
            let others = group.iter();
            let others = others.filter(|member| !member.is("json") && !member.is("txt"));
            self.left_out
                .extend(others.map(|member| member.name.clone().into()));
            return None;
        };
        let name = format!("{}/{}", self.folder, picture.name);
        if !picture.is_unicode {
            return Some(Err(Failure {
                image: name,
                error: NOT_UNICODE.to_owned(),
            }));
        }
        let request = self.words(group).map(|(subject, source)| Request {
            image: name.clone(),
            bytes: picture.content.clone(),
            subject,
            source,
        });
        Some(request.map_err(|error| Failure { image: name, error }))
    }

    /// What to look for: what was given, or the members beside the picture, or the header.
    fn words(&self, group: &[Member]) -> Result<(Arc<Subject>, Option<String>), String> {
        let json = group.iter().find(|member| member.is("json"));
        let text = group.iter().find(|member| member.is("txt"));
        let (mut subject, mut source) = (None, None);
        if let Some(json) = json {
            let record = record(json.object()?)?;
            (subject, source) = (record.subject, record.source);
        } else if let Some(text) = text {
            subject = Some(Subject::caption(text.text()?.trim()));
        }
        let subject = self
            .subject
            .clone()
            .or(subject.map(Arc::new))
            .or(self.header.clone());
        Ok((subject.ok_or(NOTHING_ASKED)?, source))
    }

    fn failure(&self, error: String) -> Failure {
        Failure {
            image: self.path.display().to_string(),
            error,
        }
    }
}

impl Iterator for Shard {
    type Item = Result<Request, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.group() {
                Err(error) => {
                    self.members = (Box::new(iter::empty()) as Members).peekable();
                    return Some(Err(self.failure(format!(
                        "the shard cannot be read on ({error}): copy it again, or make it anew"
                    ))));
                }
                Ok(group) if group.is_empty() => {
                    let left_out = left_out(&std::mem::take(&mut self.left_out))?;
                    return Some(Err(self.failure(left_out)));
                }
                Ok(group) => {
                    if let Some(request) = self.request(&group) {
                        return Some(request);
                    }
                }
            }
        }
    }
}

/// A shard's path without its ending, and whether it is packed.
fn without_ending(path: &Path) -> (PathBuf, bool) {
    let is_packed = path.extension().is_some_and(|ending| {
        ending.eq_ignore_ascii_case("gz") || ending.eq_ignore_ascii_case("tgz")
    });
    let bare = path.with_extension("");
    match bare.extension() {
        Some(ending) if is_packed && ending.eq_ignore_ascii_case("tar") => {
            (bare.with_extension(""), true)
        }
        _ => (bare, is_packed),
    }
}

/// The files of a shard, as far as it can be read, and what ended that early. The shard's header comes first.
fn listed(file: File, path: &Path) -> Vec<io::Result<Member>> {
    let mut members = Vec::new();
    let list = || {
        let mut archive = tar::Archive::new(file);
        for entry in archive.entries_with_seek()? {
            let entry = entry?;
            if is_wanted(&entry) {
                let content = ImageBytes::Section {
                    file: path.to_owned(),
                    offset: entry.raw_file_position(),
                    bytes: entry.size(),
                };
                members.push(Ok(Member::new(&entry.path_bytes(), content)));
            }
        }
        io::Result::Ok(())
    };
    let damage = list().err();
    let is_header =
        |member: &io::Result<Member>| member.as_ref().is_ok_and(|member| member.name == HEADER);
    if let Some(place) = members.iter().position(is_header) {
        members[..=place].rotate_right(1);
    }
    members.extend(damage.map(Err));
    members
}

/// The files of a packed shard, unpacked on a thread of its own once the first is asked for.
fn unpacked(file: File) -> impl Iterator<Item = io::Result<Member>> + Send {
    iter::once(file).flat_map(|file| {
        let (sender, members) = sync_channel(UNPACKED_AHEAD);
        thread::spawn(move || {
            let unpack = || {
                let mut archive = tar::Archive::new(MultiGzDecoder::new(io::BufReader::new(file)));
                for entry in archive.entries()? {
                    let mut entry = entry?;
                    if !is_wanted(&entry) {
                        continue;
                    }
                    let content = unpacked_content(&mut entry)?;
                    let member = Member::new(&entry.path_bytes(), ImageBytes::Memory(content));
                    if sender.send(Ok(member)).is_err() {
                        break; // nobody wants the rest
                    }
                }
                io::Result::Ok(())
            };
            if let Err(error) = unpack() {
                let _ = sender.send(Err(error));
            }
        });
        members
    })
}

fn unpacked_content(entry: &mut tar::Entry<'_, impl Read>) -> io::Result<Vec<u8>> {
    if entry.size() > LARGEST_MEMBER {
        let reason = format!("a member of {} bytes", entry.size());
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
    }
    let mut content = Vec::new();
    entry.read_to_end(&mut content)?;
    match content.len() as u64 == entry.size() {
        true => Ok(content),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Whether it is a file that somebody put there.
fn is_wanted(entry: &tar::Entry<'_, impl Read>) -> bool {
    let name = entry.path_bytes();
    let mut parts = name.split(|byte| *byte == b'/');
    let is_hidden = |part: &[u8]| {
        let part = String::from_utf8_lossy(part);
        part != "." && part != ".." && is_hidden(part.as_ref().as_ref())
    };
    entry.header().entry_type().is_file() && !parts.any(is_hidden)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::pictures::PictureLimits;

    fn shard(members: &[(&str, &str)]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shard 0.tar");
        let mut builder = tar::Builder::new(File::create(&path).unwrap());
        for (name, content) in members {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            builder
                .append_data(&mut header, name, content.as_bytes())
                .unwrap();
        }
        builder.finish().unwrap();
        (folder, path)
    }

    /// The same shard, packed.
    fn packed(path: &Path, ending: &str) -> PathBuf {
        let packed = path.with_extension(ending);
        let file = File::create(&packed).unwrap();
        let mut encoder = flate2::write::GzEncoder::new(file, flate2::Compression::default());
        io::copy(&mut File::open(path).unwrap(), &mut encoder).unwrap();
        encoder.finish().unwrap();
        packed
    }

    fn requests(path: &Path, subject: Option<Arc<Subject>>) -> Vec<Result<Request, Failure>> {
        Shard::open(path, path.parent().unwrap(), subject)
            .unwrap()
            .collect()
    }

    fn content(request: &Request) -> String {
        let (bytes, _) = request.bytes.read(PictureLimits::default()).unwrap();
        String::from_utf8(bytes.into_owned()).unwrap()
    }

    #[test]
    fn members_of_one_name_belong_together() {
        let long = format!("{}/3.jpg", "deep/".repeat(40));
        let (_folder, path) = shard(&[
            (
                "header.json",
                r#"{"format": "glip-grounding", "categories": ["bird"]}"#,
            ),
            (
                "a/1.json",
                r#"{"image": "1.jpg", "categories": ["dog"], "source": "web"}"#,
            ),
            ("a/1.jpg", "first"),
            ("a/1.seg.png", "not the picture"),
            ("a/ü 2.txt", "a cat on the mat\n"),
            ("a/ü 2.PNG", "second"),
            ("lonely.txt", "no picture"),
            ("a/._4.jpg", "an attribute"),
            ("__MACOSX/4.jpg", "another"),
            ("./.hidden/4.jpg", "x"),
            (&long, "third"),
        ]);
        for path in [path.clone(), packed(&path, "tar.gz"), packed(&path, "TGZ")] {
            groups_are_found(&path, &long);
        }
    }

    fn groups_are_found(path: &Path, long: &str) {
        let found = requests(path, None);
        let found: Vec<&Request> = found
            .iter()
            .map(|request| request.as_ref().unwrap())
            .collect();
        let names: Vec<&str> = found.iter().map(|request| request.image.as_str()).collect();
        assert_eq!(
            names,
            [
                "shard 0/a/1.jpg",
                "shard 0/a/ü 2.PNG",
                &format!("shard 0/{long}")
            ]
        );
        let phrases: Vec<_> = found
            .iter()
            .map(|request| request.subject.phrases().unwrap())
            .collect();
        assert_eq!(
            phrases,
            [vec!["dog"], vec!["a cat", "the mat"], vec!["bird"]]
        );
        assert_eq!(
            found
                .iter()
                .map(|request| content(request))
                .collect::<Vec<_>>(),
            ["first", "second", "third"]
        );
        assert_eq!(found[0].source.as_deref(), Some("web"));
    }

    #[test]
    fn a_picture_is_one_whatever_its_ending_and_the_rest_is_named_once() {
        let (_folder, path) = shard(&[
            ("1.jfif", "\u{ff}"),
            ("2.avif", "x"),
            ("2.json", "{}"),
            ("3.heic", "x"),
            ("4.dat", "RIFF....WEBPVP8 "),
            ("4.txt", "a cat"),
        ]);
        let subject = Some(Arc::new(Subject::categories(["a"])));
        for path in [path.clone(), packed(&path, "tar.gz")] {
            let found = requests(&path, subject.clone());
            assert_eq!(found.len(), 2);
            assert_eq!(found[0].as_ref().unwrap().image, "shard 0/4.dat");
            let error = &found[1].as_ref().unwrap_err().error;
            assert!(
                error.starts_with("3 files left out: 1.jfif, 2.avif, 3.heic ("),
                "{error}"
            );
        }
    }

    #[cfg(unix)]
    #[test]
    fn names_that_are_not_unicode_are_named() {
        use std::os::unix::ffi::OsStrExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0.tar");
        let mut builder = tar::Builder::new(File::create(&path).unwrap());
        for name in [&b"caf\xe8.jpg"[..], b"caf\xe9.jpg", b"d.jpg"] {
            let mut header = tar::Header::new_gnu();
            header.set_size(1);
            let name = std::ffi::OsStr::from_bytes(name);
            builder.append_data(&mut header, name, &b"x"[..]).unwrap();
        }
        builder.finish().unwrap();
        let found = requests(&path, Some(Arc::new(Subject::categories(["a"]))));
        let failed = found.iter().filter_map(|request| request.as_ref().err());
        assert!(
            failed
                .clone()
                .all(|failure| failure.error.contains("not Unicode"))
        );
        assert_eq!((found.len(), failed.count()), (3, 2));
    }

    #[test]
    fn broken_words_are_failures_of_their_image() {
        let (_folder, path) = shard(&[
            ("1.jpg", "x"),
            ("1.json", "{"),
            ("2.jpg", "x"),
            ("3.jpg", "x"),
            ("3.txt", "a cat"),
        ]);
        let found = requests(&path, None);
        let failed: Vec<_> = found
            .iter()
            .map(|request| request.as_ref().err().map(|f| f.image.as_str()))
            .collect();
        assert_eq!(failed, [Some("shard 0/1.jpg"), Some("shard 0/2.jpg"), None]);
    }

    #[test]
    fn a_damaged_shard_gives_what_can_be_read_and_a_failure() {
        let (_folder, path) = shard(&[("1.jpg", "first"), ("2.jpg", "second"), ("3.jpg", "third")]);
        let whole = fs::read(&path).unwrap();
        let subject = Some(Arc::new(Subject::categories(["a"])));
        let mut torn = whole.clone();
        torn[1024..1536].fill(b'x'); // the second header
        fs::write(&path, torn).unwrap();
        let found = requests(&path, subject.clone());
        assert_eq!(found.len(), 2);
        assert!(found[0].is_ok());
        assert!(
            found[1]
                .as_ref()
                .unwrap_err()
                .error
                .contains("cannot be read on")
        );
        fs::write(&path, &whole[..2 * 1024 + 515]).unwrap(); // in the third content
        let found = requests(&path, subject);
        let Ok(Request {
            bytes:
                ImageBytes::Section {
                    file,
                    offset,
                    bytes,
                },
            ..
        }) = &found[2]
        else {
            panic!("{:?}", found[2])
        };
        assert!(read_section(file, *offset, *bytes).is_err());
    }

    #[test]
    fn a_damaged_packed_shard_gives_what_can_be_read_and_a_failure() {
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            char::from(b'a' + (state >> 24) as u8 % 26)
        };
        let random: String = (0..40_000).map(|_| next()).collect();
        let (_folder, path) = shard(&[("1.jpg", &random), ("2.jpg", &random), ("3.jpg", &random)]);
        let path = packed(&path, "tgz");
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        let found = requests(&path, Some(Arc::new(Subject::categories(["a"]))));
        assert!(found.len() >= 2 && found[0].is_ok());
        let failure = found.last().unwrap().as_ref().unwrap_err();
        assert!(
            failure.error.contains("cannot be read on"),
            "{}",
            failure.error
        );
    }
}
