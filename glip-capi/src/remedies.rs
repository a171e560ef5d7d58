//! What to do about an error, in the words of C.

use std::error::Error as _;

use glip::Error;

/// The message of an error with its causes. Where the message names what a Rust program would call, it names what a C
/// program has in its place.
pub(crate) fn in_c(error: &Error) -> String {
    let mut message = own_words(error).unwrap_or_else(|| error.to_string());
    let mut cause = error.source();
    while let Some(error) = cause {
        message += &format!("\n  because: {error}");
        cause = error.source();
    }
    message
}

const RUNTIME: &str = "install ONNX Runtime 1.25 or later with `pip install onnxruntime`, or download a release of it, and \
    name its library file in the environment variable ORT_DYLIB_PATH or as onnxruntime of glip_detector_options";

fn own_words(error: &Error) -> Option<String> {
    Some(match error {
        Error::RuntimeNotFound { searched } => format!(
            "ONNX Runtime was not found: {RUNTIME}; looked at\n- {}",
            searched.join("\n- ")
        ),
        Error::RuntimeUnusable { path, .. } => {
            format!("cannot load {} as ONNX Runtime: {RUNTIME}", path.display())
        }
        Error::RuntimeTooOld {
            path,
            found,
            needed,
        } => format!(
            "ONNX Runtime {found} at {} is too old, {needed} or later is needed: {RUNTIME}",
            path.display()
        ),
        Error::RuntimeStart { .. } => "cannot start ONNX Runtime".to_owned(),
        Error::RuntimeAlreadyLoaded { loaded, requested } => format!(
            "ONNX Runtime is already loaded from {}, and a process can hold only one: \
             have every detector load that one, or {} first",
            loaded.display(),
            requested.display()
        ),
        Error::DeviceUnavailable {
            device,
            graph,
            reason,
            ..
        } => format!(
            "{device} was asked for and cannot run graph {graph}: {reason}; choose another device, or allow the CPU \
             with allow_cpu_fallback of glip_detector_options"
        ),
        Error::DuplicateLabel { label, .. } => {
            format!("{label:?} is asked for twice: give it once")
        }
        Error::PromptTooLong { tokens, limit } => format!(
            "the prompt has {tokens} tokens, the model takes {limit}: \
             give names to glip_prompt_from_names, which takes any number, or shorten the prompt"
        ),
        Error::PromptTooLarge { bytes, limit, .. } => format!(
            "the prompt has {bytes} bytes, at most {limit} are read for this model: \
             give names to glip_prompt_from_names, which takes any number, or shorten the prompt"
        ),
        Error::NoTextEncoder => {
            "this model was exported without its text encoder and takes no words: \
             export it again, without --without-text-encoder"
                .to_owned()
        }
        Error::InvalidOption { option, .. } => {
            // Options of a processor or a GPU have a group in Rust, and a prefix in C.
            let field = option.strip_prefix("cpu.").unwrap_or(option);
            error
                .to_string()
                .replacen(option, &field.replace('.', "_"), 1)
        }
        Error::SameStamp { stamp } => format!(
            "the frame is of {stamp:?}, as the one before: tell each frame's time (stamp_ns of glip_live_push), \
             which says how far things may have moved"
        ),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nothing that a C program can bring about is answered with the name of a Rust function.
    #[test]
    fn no_remedy_is_in_rust() {
        let errors = [
            Error::RuntimeNotFound {
                searched: vec!["here".to_owned()],
            },
            Error::RuntimeUnusable {
                path: "a.so".into(),
                source: "no memory".into(),
            },
            Error::RuntimeTooOld {
                path: "a.so".into(),
                found: "1.20".to_owned(),
                needed: "1.25".to_owned(),
            },
            Error::RuntimeStart {
                source: "no memory".into(),
            },
            Error::RuntimeAlreadyLoaded {
                loaded: "a.so".into(),
                requested: "b.so".into(),
            },
            Error::DeviceUnavailable {
                device: "cuda:0".to_owned(),
                graph: "head".to_owned(),
                reason: "there is none".to_owned(),
                source: None,
            },
            Error::DuplicateLabel {
                label: "cat".to_owned(),
                first: 0,
                second: 1,
            },
            Error::EmptyPrompt,
            Error::PromptTooLong {
                tokens: 300,
                limit: 256,
            },
            Error::PromptTooLarge {
                bytes: 30_000,
                tokens: 256,
                limit: 20_000,
            },
            Error::NoTextEncoder,
            Error::SameStamp {
                stamp: std::time::Duration::ZERO,
            },
        ];
        for error in errors {
            let message = in_c(&error);
            let is_of_rust = message.contains("::") || message.contains("feature");
            assert!(!is_of_rust, "{message}");
        }
    }
}
