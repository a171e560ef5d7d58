//! Bilinear resize of 8-bit RGB.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod column_pass;
#[cfg(target_arch = "x86_64")]
mod groups;
mod portable;
mod row_pass;
mod rows;
mod window;

pub(super) use self::rows::{Resizer, Rows};
