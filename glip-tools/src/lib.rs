//! Measuring open-vocabulary detectors, and labelling images with them: the library behind the command
//! `glip`.
//!
//! [`coco`], [`yolo`] and [`grounding`] read and write data sets, [`Picture`] whatever pictures there are. What cannot
//! be used is a [`Problem`], which names it, and the rest is used.
//!
//! [`eval`] says how good a detector is; the chapter [`evaluation`] goes through it. [`label`] makes boxes for what
//! words name in any number of pictures, on [`many_machines`] if need be.
//!
//! The detector itself is the crate `glip-rs`, whose library is called `glip`.

mod atomic;
mod causes;
pub mod coco;
mod error;
pub mod eval;
#[cfg(any(doc, doctest))]
#[doc = include_str!("../docs/evaluation.md")]
pub mod evaluation {}
mod failure;
mod files;
pub mod grounding;
pub mod label;
#[cfg(any(doc, doctest))]
#[doc = include_str!("../docs/many-machines.md")]
pub mod many_machines {}
mod ordered;
mod pictures;
mod problem;
mod progress;
mod run_file;
mod segmentation;
mod stamp;
mod terminal;
mod text;
mod values;
mod walk;
pub mod yolo;

pub use atomic::write_file;
pub use causes::causes;
pub use error::{Error, Result};
pub use pictures::{
    FoundPictures, Picture, PictureFrames, PictureLimits, find_pictures, left_out, writable_format,
    write_picture,
};
pub use problem::{Problem, ProblemKind};
pub use progress::ProgressBar;
pub use terminal::{printable, say};
