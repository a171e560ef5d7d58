//! The exported graphs, one file each.

mod grounding_head;

pub use grounding_head::{GridSize, HeadOutput};
