//! Masks: which pixels of an image belong to something, and the forms that they are stored in.
//!
//! ```text
//! logits --> Mask <--> Rle (COCO)
//!              |
//!              +-----> Polygon
//! ```

mod bits;
mod json;
#[allow(clippy::module_inception, reason = "files are named after their type")]
mod mask;
mod polygons;
mod rle;

pub(crate) use self::mask::checked_size;
pub use self::{mask::Mask, polygons::Polygon, rle::Rle};
