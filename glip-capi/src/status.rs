//! What went wrong, for programs.

use glip::ErrorKind;

/// What became of a call. Numbers stay what they are.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum glip_status {
    /// It went well.
    Ok = 0,
    /// ONNX Runtime is missing, too old, or does not start.
    Runtime = 1,
    /// The device that was asked for cannot be used.
    Device = 2,
    /// The model folder is incomplete, damaged or of another version, or its graphs do not fit.
    Model = 3,
    /// A graph failed while it ran, for example for lack of memory.
    Run = 4,
    /// The image cannot be looked at: its size, stride, format or number of bytes do not fit.
    Image = 5,
    /// The prompt cannot be looked for: it is empty, too long, or the model has no such words.
    Prompt = 6,
    /// A value makes no sense where it was given, such as a prompt that another model encoded.
    Value = 7,
    /// An option is outside its range.
    Option = 8,
    /// The call was told to stop.
    Stopped = 9,
    /// The call did not end in time.
    Deadline = 10,
    /// A pointer is NULL that must not be, a string is not UTF-8, or a struct has no `struct_size`.
    Argument = 11,
    /// The library has a fault: please report it, with the message.
    Internal = 12,
}

impl From<ErrorKind> for glip_status {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Runtime => Self::Runtime,
            ErrorKind::Device => Self::Device,
            ErrorKind::Model => Self::Model,
            ErrorKind::Run => Self::Run,
            ErrorKind::Image => Self::Image,
            ErrorKind::Prompt => Self::Prompt,
            ErrorKind::Value => Self::Value,
            ErrorKind::Option => Self::Option,
            ErrorKind::Stopped => Self::Stopped,
            ErrorKind::Deadline => Self::Deadline,
            _ => Self::Internal,
        }
    }
}
