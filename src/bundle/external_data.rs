//! Which other files a graph keeps weights in.
//!
//! ONNX Runtime reads them by itself, from any path that the graph names and without looking at a hash. So
//! a graph's file is gone through before it is loaded: messages in messages, of which the fields are
//! visited that lead to tensors. Source of the numbers: `onnx.proto` of ONNX 1.20.

use std::io::{self, BufRead, BufReader, Cursor, Read, Seek};

use crate::files::ModelFile;

/// Where the tensors of a graph say that their numbers are, if not in the graph itself; each once.
pub(super) fn locations(file: &ModelFile<'_>) -> io::Result<Vec<String>> {
    let mut locations = match file {
        ModelFile::Bytes(bytes) => locations_in(Cursor::new(bytes))?,
        ModelFile::Path(_) => locations_in(BufReader::new(file.open()?))?,
    };
    locations.sort_unstable();
    locations.dedup();
    Ok(locations)
}

fn locations_in(reader: impl BufRead + Seek) -> io::Result<Vec<String>> {
    let mut walk = Walk {
        reader,
        at: 0,
        locations: Vec::new(),
    };
    let end = walk.reader.seek(io::SeekFrom::End(0))?;
    walk.reader.rewind()?;
    walk.message(Message::Model, end, 0)?;
    Ok(walk.locations)
}

/// The messages that lead to tensors.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Message {
    Model,
    Graph,
    Function,
    Node,
    Attribute,
    SparseTensor,
    Tensor,
    ExternalData,
}

impl Message {
    /// The message in a field, if it is one of them.
    fn field(self, number: u64) -> Option<Self> {
        match (self, number) {
            (Self::Model, 7) | (Self::Attribute, 6 | 11) => Some(Self::Graph),
            (Self::Model, 25) => Some(Self::Function),
            (Self::Graph, 1) | (Self::Function, 7) => Some(Self::Node),
            (Self::Node, 5) | (Self::Function, 11) => Some(Self::Attribute),
            (Self::Graph, 5) | (Self::Attribute, 5 | 10) | (Self::SparseTensor, 1 | 2) => {
                Some(Self::Tensor)
            }
            (Self::Graph, 15) | (Self::Attribute, 22 | 23) => Some(Self::SparseTensor),
            (Self::Tensor, 13) => Some(Self::ExternalData),
            _ => None,
        }
    }
}

struct Walk<R> {
    reader: R,
    at: u64,
    locations: Vec<String>,
}

impl<R: BufRead + Seek> Walk<R> {
    /// Visits the fields of a message that ends at `end`.
    fn message(&mut self, message: Message, end: u64, depth: usize) -> io::Result<()> {
        /// Deeper than graphs in branches of graphs ever are.
        const DEEPEST: usize = 100;
        if depth > DEEPEST {
            return Err(damaged("its graphs are in one another too deep"));
        }
        let mut entry = (String::new(), String::new());
        while self.at < end {
            let tag = self.varint()?;
            let (number, kind) = (tag >> 3, tag & 7);
            let length = match kind {
                0 => {
                    self.varint()?;
                    continue;
                }
                1 => 8,
                2 => self.varint()?,
                5 => 4,
                _ => return Err(damaged("it has a field of no known kind")),
            };
            let ends = self.at.checked_add(length).filter(|ends| *ends <= end);
            let ends = ends.ok_or_else(|| damaged("a field ends after what it is in"))?;
            match (message, number, message.field(number)) {
                (_, _, Some(inner)) if kind == 2 => self.message(inner, ends, depth + 1)?,
                (Message::ExternalData, 1, _) => entry.0 = self.text(length)?,
                (Message::ExternalData, 2, _) => entry.1 = self.text(length)?,
                _ => self.skip(length)?,
            }
        }
        if entry.0 == "location" {
            self.locations.push(entry.1);
        }
        match self.at == end {
            true => Ok(()),
            false => Err(damaged("a field ends after what it is in")),
        }
    }

    fn varint(&mut self) -> io::Result<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let mut byte = [0];
            self.reader.read_exact(&mut byte)?;
            self.at += 1;
            value |= u64::from(byte[0] & 0x7f) << shift;
            if byte[0] < 0x80 {
                return Ok(value);
            }
        }
        Err(damaged("it has a number of more than 64 bits"))
    }

    fn text(&mut self, length: u64) -> io::Result<String> {
        /// Longer than paths are.
        const LONGEST: u64 = 1 << 16;
        if length > LONGEST {
            return Err(damaged("it names a file in more than 65,536 letters"));
        }
        let mut text = Vec::new();
        self.reader.by_ref().take(length).read_to_end(&mut text)?;
        self.at += length;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    fn skip(&mut self, length: u64) -> io::Result<()> {
        let by = i64::try_from(length).map_err(|_| damaged("a field is too long"))?;
        self.reader.seek_relative(by)?;
        self.at += length;
        Ok(())
    }
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("it is no ONNX: {what}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A field that holds bytes.
    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let length = u8::try_from(bytes.len()).unwrap();
        assert!(length < 128);
        [&[number << 3 | 2, length], bytes].concat()
    }

    /// A tensor whose numbers are in `w.bin`.
    fn tensor() -> Vec<u8> {
        let entry = |key: &str, value: &str| {
            let entry = [field(1, key.as_bytes()), field(2, value.as_bytes())].concat();
            field(13, &entry)
        };
        let location = [entry("offset", "0"), entry("location", "w.bin")].concat();
        [vec![2 << 3, 1], field(8, b"weight"), location].concat()
    }

    fn found(model: &[u8]) -> io::Result<Vec<String>> {
        locations(&ModelFile::Bytes(model))
    }

    #[test]
    fn tensors_in_every_place_are_found() {
        let tensor = tensor();
        let sparse = field(1, &tensor);
        let in_attribute = |number, tensor: &[u8]| field(1, &field(5, &field(number, tensor)));
        let graphs = [
            field(5, &tensor),
            [0x7a, sparse.len() as u8]
                .into_iter()
                .chain(sparse.clone())
                .collect(), // field 15
            in_attribute(5, &tensor),
            in_attribute(10, &tensor),
            in_attribute(6, &field(5, &tensor)),
            in_attribute(11, &field(5, &tensor)),
        ];
        for graph in graphs {
            let model = [vec![1 << 3, 10], field(7, &graph)].concat();
            assert_eq!(found(&model).unwrap(), ["w.bin"], "{model:?}");
        }
        let graph = field(7, &field(5, &field(8, b"weight")));
        assert!(found(&graph).unwrap().is_empty());
    }

    #[test]
    fn graphs_as_they_are_exported_have_none() {
        for graph in ["image_encoder", "text_encoder", "fusion", "head"] {
            let path = format!("tests/fixtures/colour/{graph}.onnx");
            let file = ModelFile::Path(path.into());
            assert!(locations(&file).unwrap().is_empty());
        }
    }

    #[test]
    fn what_is_no_onnx_is_an_error() {
        let deep = (0..40).fold(Vec::new(), |graph, _| match graph.len() {
            0..100 => field(1, &field(5, &field(6, &graph))),
            _ => graph,
        });
        assert!(found(&field(7, &deep)).is_ok());
        for bytes in [
            &b"no graph"[..],
            &[0x3a, 200],
            &[0x80; 12],
            &[0x3b],
            &[0x3a, 3, 0x2a, 9, 0],
        ] {
            assert!(found(bytes).is_err(), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_gone_through(bytes: Vec<u8>, at in 0usize..60, byte: u8) {
            drop(found(&bytes));
            let mut model = field(7, &field(5, &tensor()));
            if let Some(old) = model.get_mut(at) {
                *old = byte;
            }
            drop(found(&model));
        }
    }
}
