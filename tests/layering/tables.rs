//! Which module of each crate may use which, from what everyone may use to what uses everything.

use crate::layers::Allowed;

/// glip-rs.
pub(crate) const LIBRARY: &Allowed = &[
    ("error", ""),
    ("affinity", ""),
    ("instructions", ""),
    ("regular_file", ""),
    ("geometry", "error"),
    ("head_output", "error geometry"),
    ("detection", "geometry"),
    ("mask", "detection error geometry"),
    ("tracks", "detection error geometry"),
    ("control", "error"),
    ("files", "error regular_file"),
    ("runtime", "affinity error regular_file"),
    ("prompt", "error regular_file"),
    ("preprocess", "affinity error geometry instructions"),
    (
        "postprocess",
        "detection error geometry head_output mask prompt",
    ),
    ("draw", "detection error geometry mask"),
    ("spare", ""),
    ("kernels", "instructions spare"),
    (
        "session",
        "control error files instructions kernels runtime spare",
    ),
    ("family", "session"),
    (
        "bundle",
        "error family files postprocess preprocess prompt session",
    ),
    (
        "graph",
        "bundle control error files geometry head_output preprocess prompt runtime session spare",
    ),
    (
        "detector",
        "bundle control detection error geometry graph head_output postprocess preprocess prompt runtime spare",
    ),
    (
        "segmenter",
        "bundle control error family geometry mask postprocess preprocess runtime session",
    ),
    (
        "live",
        "affinity control detection detector error geometry postprocess preprocess tracks",
    ),
];

/// glip-tools, the library.
pub(crate) const TOOLS: &Allowed = &[
    ("causes", ""),
    ("ordered", ""),
    ("problem", ""),
    ("terminal", ""),
    ("progress", "terminal"),
    ("failure", "causes"),
    ("error", "failure problem"),
    ("files", "error"),
    ("atomic", "error files"),
    ("stamp", "error files"),
    ("text", "error files"),
    ("values", "text"),
    ("walk", "error files"),
    ("pictures", "atomic error files walk"),
    ("run_file", "atomic error files"),
    ("segmentation", "values"),
    ("coco", "error pictures problem segmentation text values"),
    ("yolo", "causes coco error files pictures problem text walk"),
    ("grounding", "error files segmentation text values"),
    (
        "eval",
        "atomic causes coco error files ordered pictures problem run_file segmentation stamp text values walk",
    ),
    (
        "label",
        "atomic error failure files grounding ordered pictures run_file segmentation stamp text values walk yolo",
    ),
];

/// glip-tools, the command.
pub(crate) const COMMAND: &Allowed = &[
    ("model", ""),
    ("output", ""),
    ("pictures", ""),
    ("remedies", ""),
    ("signals", ""),
    ("ground", "model output pictures"),
    ("label", "model output pictures signals"),
    ("evaluate", "model output pictures signals"),
];

/// glip-capi.
pub(crate) const CAPI: &Allowed = &[
    ("lent", ""),
    ("remedies", ""),
    ("status", ""),
    ("version", ""),
    ("fault", "remedies status"),
    ("arguments", "fault"),
    ("extensible", "arguments fault"),
    ("image", "arguments extensible fault status"),
    ("logging", "fault status"),
    ("live_stats", "extensible"),
    ("detections", "arguments fault"),
    ("detector", "arguments extensible fault status"),
    ("prompt", "arguments detector fault status"),
    (
        "ground",
        "arguments detections detector extensible fault image prompt status",
    ),
    (
        "live",
        "arguments detections detector extensible fault image lent live_stats prompt status",
    ),
];

/// glip-ros2.
pub(crate) const ROS2: &Allowed = &[
    ("error", ""),
    ("faults", ""),
    ("messages", ""),
    ("loader", "error"),
    ("threads", "error"),
    ("picture", "error messages"),
    ("ros", "error threads"),
    ("diagnostics", "faults messages"),
    ("looker", "error loader messages picture"),
    ("outputs", "error faults looker messages ros threads"),
    ("service", "error messages outputs picture threads"),
    ("parameters", "error looker"),
    ("arguments", "loader"),
    (
        "node",
        "arguments diagnostics error faults looker messages outputs parameters picture ros service threads",
    ),
];
