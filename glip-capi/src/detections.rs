//! What was found, where C can read it.

use std::{
    collections::HashMap,
    ffi::{CString, c_char},
    ptr,
};

use glip::{Detections, tracks::Track};

use crate::{
    arguments::take_back,
    fault::{c_string, guard},
};

/// A phrase that was found in an image.
#[repr(C)]
#[derive(Debug)]
pub struct glip_detection {
    /// The left edge of the box, in pixels of the image. Edges are continuous: a box over the first ten columns has
    /// `x1` 0 and `x2` 10.
    pub x1: f32,
    /// The top edge.
    pub y1: f32,
    /// The right edge.
    pub x2: f32,
    /// The bottom edge.
    pub y2: f32,
    /// How sure the model is, from 0 to 1.
    pub score: f32,
    /// How well the phrase fits, whatever the box, from 0 to 1.
    pub phrase_score: f32,
    /// The place of the phrase among those that were asked for, from 0.
    pub phrase_index: usize,
    /// The phrase, as it was given. It lives as long as the detections.
    pub phrase: *const c_char,
    /// From frame to frame the same for the same thing, from 1; 0 without tracks (`glip_live_options`), and for what may not
    /// begin one.
    pub track_id: u64,
    /// How its centre moves to the right, in pixels a second; 0 without a track.
    pub velocity_x: f32,
    /// How its centre moves down.
    pub velocity_y: f32,
}

/// What was found in one image, best first; possibly nothing. It never changes, so any number of threads may read it at
/// the same time. It lives until it is freed, longer than its detector if need be.
pub struct glip_detections {
    found: Vec<glip_detection>,
    /// What the detections point to.
    _phrases: HashMap<String, CString>,
}

impl glip_detections {
    pub(crate) fn new(detections: &Detections, tracks: &[Track]) -> Self {
        let mut phrases = HashMap::new();
        let mut found: Vec<_> = detections
            .iter()
            .map(|detection| {
                // A string's bytes stay where they are when it is moved.
                let phrase = phrases
                    .entry(detection.phrase.clone())
                    .or_insert_with(|| c_string(&detection.phrase));
                glip_detection {
                    x1: detection.bbox.x1(),
                    y1: detection.bbox.y1(),
                    x2: detection.bbox.x2(),
                    y2: detection.bbox.y2(),
                    score: detection.score,
                    phrase_score: detection.phrase_score,
                    phrase_index: detection.phrase_index,
                    phrase: phrase.as_ptr(),
                    track_id: 0,
                    velocity_x: 0.0,
                    velocity_y: 0.0,
                }
            })
            .collect();
        for track in tracks {
            if let Some(detection) = found.get_mut(track.index) {
                detection.track_id = track.id;
                [detection.velocity_x, detection.velocity_y] = track.velocity;
            }
        }
        Self {
            found,
            _phrases: phrases,
        }
    }
}

/// How many detections there are; 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glip_detections_count(detections: *const glip_detections) -> usize {
    // SAFETY: it is NULL or lives, as the header asks of the caller.
    unsafe { detections.as_ref() }.map_or(0, |detections| detections.found.len())
}

/// The detection of this index, from 0; NULL beyond the last. It lives as long as the detections.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glip_detections_get(
    detections: *const glip_detections,
    index: usize,
) -> *const glip_detection {
    // SAFETY: it is NULL or lives, as the header asks of the caller.
    let detections = unsafe { detections.as_ref() };
    let found = detections.and_then(|detections| detections.found.get(index));
    found.map_or(ptr::null(), ptr::from_ref)
}

/// Gives detections back.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn glip_detections_free(detections: *mut glip_detections) {
    guard(|| {
        // SAFETY: it is NULL, or was not given back yet, as the header asks of the caller.
        unsafe { take_back(detections) };
        Ok(())
    });
}
