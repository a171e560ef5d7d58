//! Noun phrases by a lexicon and rules.

use std::ops::Range;

use super::{
    extractor::PhraseExtractor,
    grammar::phrases,
    tagger::tag,
    treebank::{sentences, tokens},
};

/// Finds the noun phrases of an English caption with a small lexicon and rules.
///
/// The grammar is official's, `NP: {<DT>?<JJ.*>*<NN.*>+}`: perhaps a determiner, adjectives, and
/// nouns. Numbers, possessives (`her`, `'s`) and adverbs are not in it, so that "her two red cups"
/// gives "red cups". What official looks up in a trained tagger follows here from word lists,
/// endings and neighbours; a word that none of them tells apart is a noun. Participles before a noun
/// are taken as adjectives: "a parked car" is one phrase.
///
/// Phrases are positions in the caption. They are never searched for by their words, so that a
/// phrase that occurs twice, or inside another word, cannot be mistaken for another.
///
/// Text in other languages gives spans too, of whole sequences of words that are taken for nouns.
///
/// ```
/// use glip::{NounPhrases, Prompt, parts::PromptRule};
///
/// let prompt = Prompt::caption("A man in a red shirt watches a parked car.").extract(&NounPhrases);
/// let rendered = PromptRule::default().render(&prompt)?;
/// let labels: Vec<_> = rendered.phrases().iter().map(|phrase| &phrase.label).collect();
/// assert_eq!(labels, ["A man", "a red shirt", "a parked car"]);
/// # Ok::<(), glip::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NounPhrases;

impl PhraseExtractor for NounPhrases {
    fn extract(&self, caption: &str) -> Vec<Range<usize>> {
        // Captions are typed with either apostrophe; the Treebank's rules know the plain one.
        let plain = |character| if character == '’' { '\'' } else { character };
        let in_sentence = |sentence: Range<usize>| {
            let tokens = tokens(&caption[sentence.clone()], sentence.start, plain);
            let parts = tag(&tokens).into_iter();
            phrases(&tokens, parts)
        };
        sentences(caption)
            .into_iter()
            .flat_map(in_sentence)
            .collect()
    }
}
