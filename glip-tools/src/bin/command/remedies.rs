//! What to do about an error, where a terminal has other means than a program.

use glip_tools::Error;

/// The message of an error whose own names functions, in the words of the command line.
pub(crate) fn in_options(error: &Error) -> Option<String> {
    use glip::Error as Model;

    let Error::Model(error) = error else {
        return None;
    };
    Some(match error {
        Model::DuplicateLabel { label, .. } => {
            format!("{label:?} is asked for twice: give it once")
        }
        Model::EmptyPrompt => {
            "there is nothing to look for: give words, for example \"red car . bicycle\"; of a \
             caption without nouns, name the parts with --phrase"
                .to_owned()
        }
        Model::PhraseNotInCaption {
            phrase,
            occurrences,
            ..
        } => format!(
            "--phrase {phrase:?} stands {occurrences} times as whole words in the caption, once more \
             is asked for: copy its words from there"
        ),
        Model::PromptTooLong { tokens, limit } => format!(
            "the prompt has {tokens} tokens, the model takes {limit}: \
             give each name with --category, of which there may be any number, or shorten the caption"
        ),
        Model::PromptTooLarge { bytes, limit, .. } => format!(
            "the prompt has {bytes} bytes, at most {limit} are read for this model: \
             give each name with --category, of which there may be any number, or shorten the caption"
        ),
        Model::NoModel => "no model was given: name its folder with --model".to_owned(),
        Model::NoTextEncoder => {
            "this model was exported without its text encoder and takes no words: \
             export it again, without --without-text-encoder"
                .to_owned()
        }
        Model::DeviceUnavailable {
            device,
            graph,
            reason,
            ..
        } => format!(
            "{device} was asked for and cannot run graph {graph}: {reason}; choose another --device"
        ),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of what a terminal can bring about, nothing is answered with the name of a function or a type.
    #[test]
    fn no_remedy_is_a_program() {
        let errors = [
            glip::Error::DuplicateLabel {
                label: "cat".to_owned(),
                first: 0,
                second: 1,
            },
            glip::Error::EmptyPrompt,
            glip::Error::PhraseNotInCaption {
                phrase: "cat".to_owned(),
                caption: "a dog".to_owned(),
                occurrences: 0,
            },
            glip::Error::PromptTooLong {
                tokens: 300,
                limit: 256,
            },
            glip::Error::PromptTooLarge {
                bytes: 30_000,
                tokens: 256,
                limit: 25_600,
            },
            glip::Error::NoModel,
            glip::Error::NoTextEncoder,
            glip::Error::DeviceUnavailable {
                device: "cuda:0".to_owned(),
                graph: "head".to_owned(),
                reason: "there is none".to_owned(),
                source: None,
            },
            glip::Error::UnknownPhrase {
                phrase: "\u{1f534}".to_owned(),
            },
            glip::Error::EmptyPhrase { index: 1 },
        ];
        for error in errors.map(Error::from) {
            let message = in_options(&error).unwrap_or_else(|| error.to_string());
            for word in ["::", "Vocabulary", "Prompt", "Builder", "Detector"] {
                assert!(!message.contains(word), "{message}");
            }
        }
    }
}
