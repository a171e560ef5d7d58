//! Which version this is.

use std::ffi::c_char;

/// The version of these declarations. It is the number in the library's name (`libglip.so.1`), and changes whenever
/// a program must be compiled again.
pub const GLIP_ABI_VERSION: u32 = 1;

/// The `GLIP_ABI_VERSION` of the library that is loaded: another than the header's if that is of another version.
#[unsafe(no_mangle)]
pub extern "C" fn glip_abi_version() -> u32 {
    GLIP_ABI_VERSION
}

/// The version of the library, such as "0.1.0".
#[unsafe(no_mangle)]
pub extern "C" fn glip_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}
