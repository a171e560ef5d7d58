//! Bilinear resize of 8-bit RGB.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod passes;
mod portable;
mod rows;
mod window;

pub(super) use self::rows::{Resizer, Rows};
