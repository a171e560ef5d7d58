//! [glip-rs](https://github.com/glip-rs/glip-rs) for C and C++: what words describe, found in images and in a
//! camera's frames.
//!
//! These are the functions and structs of `include/glip/glip.h`, which is made of this source and has the
//! conventions; `include/glip/glip.hpp` wraps them for C++17. Rust programs take the crate `glip-rs` itself.
//!
//! # Safety
//!
//! Of every function: a pointer is NULL, which is an error where it must not be, or points to what its type and the
//! header say, for as long as they say; a handle is one that was not freed.

#![allow(
    unsafe_code,
    reason = "what C hands over cannot be checked by the compiler"
)]
#![allow(
    clippy::missing_safety_doc,
    reason = "it is the same for all, above and in the header"
)]
#![allow(non_camel_case_types, reason = "types have their names in C")]

mod arguments;
mod extensible;
mod lent;
mod live_stats;
mod remedies;
mod status;
#[cfg(test)]
mod tests;

// One by one, in the order in which their functions are to stand in the header.

mod version;

mod fault;

mod logging;

mod detector;

mod prompt;

mod image;

mod ground;

mod detections;

mod live;

pub use crate::{
    detections::{
        glip_detection, glip_detections, glip_detections_count, glip_detections_free,
        glip_detections_get,
    },
    detector::{
        glip_arena, glip_convolution_search, glip_detector, glip_detector_free, glip_detector_new,
        glip_detector_options,
    },
    fault::glip_last_error,
    ground::{glip_ground, glip_ground_options},
    image::{
        glip_image, glip_pixel_format, glip_pixel_format_parse, glip_plane, glip_yuv_encoding,
    },
    lent::glip_release_callback,
    live::{
        glip_frame_result, glip_frame_result_free, glip_live, glip_live_finish, glip_live_free,
        glip_live_latest, glip_live_new, glip_live_options, glip_live_push, glip_live_push_lent,
        glip_live_set_prompt, glip_live_stats_get, glip_live_warm_up, glip_outcome,
        glip_result_callback,
    },
    live_stats::{glip_latency, glip_live_stats},
    logging::{glip_log_callback, glip_log_level, glip_set_log_callback},
    prompt::{glip_prompt, glip_prompt_free, glip_prompt_from_names, glip_prompt_new},
    status::glip_status,
    version::{GLIP_ABI_VERSION, glip_abi_version, glip_version},
};
