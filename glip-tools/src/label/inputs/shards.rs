//! Images in tar shards, as webdataset lays them out.

use std::{
    collections::VecDeque,
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::{Map, Value};

use crate::{
    error::Result,
    failure::Failure,
    label::{
        inputs::{
            lines::{NOTHING_ASKED, header, object, record},
            paths::{name_below, open},
        },
        request::{ImageBytes, Request, read_section},
        subject::Subject,
    },
    pictures::PICTURE_ENDINGS,
    text::decode,
};

/// The header of `glip_torch`'s shards.
const HEADER: &str = "header.json";

/// The requests in a shard: members of one name, `7.jpg` with `7.json` or `7.txt`, belong together and
/// stand one after the other.
///
/// The list of members is read first, which skips their contents. Images are read when they are
/// decoded.
pub(super) struct Shard {
    path: PathBuf,
    /// What names begin with: the shard's own, without its ending.
    folder: String,
    members: VecDeque<Member>,
    subject: Option<Arc<Subject>>,
    header: Option<Arc<Subject>>,
    /// What ended the list early.
    damage: Option<io::Error>,
}

/// A file in a shard.
struct Member {
    name: String,
    offset: u64,
    bytes: u64,
}

impl Member {
    /// The name up to the first dot after the last slash, and the rest.
    fn key(&self) -> (&str, &str) {
        let file = self.name.rfind('/').map_or(0, |slash| slash + 1);
        match self.name[file..].find('.') {
            Some(dot) => (&self.name[..file + dot], &self.name[file + dot + 1..]),
            None => (&self.name, ""),
        }
    }

    fn is(&self, endings: &[&str]) -> bool {
        let ending = self.key().1.to_ascii_lowercase();
        endings.contains(&ending.as_str())
    }
}

impl Shard {
    /// Opens a shard and lists its members.
    pub(super) fn open(path: &Path, base: &Path, subject: Option<Arc<Subject>>) -> Result<Self> {
        let mut members = VecDeque::new();
        let damage = list(open(path)?, &mut members).err();
        let folder =
            name_below(base, &path.with_extension("")).unwrap_or_else(|failure| failure.image);
        let mut shard = Self {
            path: path.to_owned(),
            folder,
            members,
            subject,
            header: None,
            damage,
        };
        shard.read_header();
        Ok(shard)
    }

    /// A header that cannot be read says nothing about what to look for; images without words fail.
    fn read_header(&mut self) {
        let Some(index) = self.members.iter().position(|member| member.name == HEADER) else {
            return;
        };
        if let Some(member) = self.members.remove(index) {
            let content = self.object(&member);
            self.header = content.and_then(header).unwrap_or_default();
        }
    }

    fn request(&self, group: Vec<Member>) -> Option<Result<Request, Failure>> {
        let picture = group.iter().find(|member| member.is(&PICTURE_ENDINGS))?;
        let name = format!("{}/{}", self.folder, picture.name);
        let bytes = ImageBytes::Section {
            file: self.path.clone(),
            offset: picture.offset,
            bytes: picture.bytes,
        };
        let request = self.words(&group).map(|(subject, source)| Request {
            image: name.clone(),
            bytes,
            subject,
            source,
        });
        Some(request.map_err(|error| Failure { image: name, error }))
    }

    /// What to look for: what was given, or the members beside the picture, or the header.
    fn words(&self, group: &[Member]) -> Result<(Arc<Subject>, Option<String>), String> {
        let json = group.iter().find(|member| member.is(&["json"]));
        let text = group.iter().find(|member| member.is(&["txt"]));
        let (mut subject, mut source) = (None, None);
        if let Some(json) = json {
            let record = record(self.object(json)?)?;
            (subject, source) = (record.subject, record.source);
        } else if let Some(text) = text {
            subject = Some(Subject::caption(self.text(text)?.trim()));
        }
        let subject = self
            .subject
            .clone()
            .or(subject.map(Arc::new))
            .or(self.header.clone());
        Ok((subject.ok_or(NOTHING_ASKED)?, source))
    }

    fn object(&self, member: &Member) -> Result<Map<String, Value>, String> {
        object(&self.text(member)?)
            .map_err(|error| format!("{} is not a JSON object ({error})", member.name))
    }

    fn text(&self, member: &Member) -> Result<String, String> {
        /// Words are shorter.
        const LONGEST: u64 = 16 << 20;
        let bytes = read_section(&self.path, member.offset, member.bytes.min(LONGEST));
        let bytes = bytes.map_err(|error| format!("{}: {error}", member.name))?;
        decode(bytes, 1).map_err(|found| format!("{} is {found}: save it as UTF-8", member.name))
    }
}

impl Iterator for Shard {
    type Item = Result<Request, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        while let Some(first) = self.members.pop_front() {
            let mut group = vec![first];
            while self
                .members
                .front()
                .is_some_and(|next| next.key().0 == group[0].key().0)
            {
                group.extend(self.members.pop_front());
            }
            if let Some(request) = self.request(group) {
                return Some(request);
            }
        }
        self.damage.take().map(|error| {
            Err(Failure {
                image: self.path.display().to_string(),
                error: format!(
                    "the shard cannot be read on ({error}): copy it again, or make it anew"
                ),
            })
        })
    }
}

/// Adds the files of a shard to `members`, as far as it can be read.
fn list(file: File, members: &mut VecDeque<Member>) -> io::Result<()> {
    let mut archive = tar::Archive::new(file);
    for entry in archive.entries_with_seek()? {
        let entry = entry?;
        if entry.header().entry_type().is_file() {
            members.push_back(Member {
                name: String::from_utf8_lossy(&entry.path_bytes()).into_owned(),
                offset: entry.raw_file_position(),
                bytes: entry.size(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

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

    fn requests(path: &Path, subject: Option<Arc<Subject>>) -> Vec<Result<Request, Failure>> {
        Shard::open(path, path.parent().unwrap(), subject)
            .unwrap()
            .collect()
    }

    fn content(request: &Request) -> String {
        let ImageBytes::Section {
            file,
            offset,
            bytes,
        } = &request.bytes
        else {
            panic!("images of shards are sections")
        };
        String::from_utf8(read_section(file, *offset, *bytes).unwrap()).unwrap()
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
            (&long, "third"),
        ]);
        let found = requests(&path, None);
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
}
