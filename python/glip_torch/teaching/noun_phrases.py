"""Noun phrases of a caption, by official's grammar: perhaps a determiner, adjectives, and at least one noun."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence

from ..data.grounding import Span
from . import TeachingError

#: The words of a caption with their Penn Treebank tags and where they stand.
Tagged = Sequence[tuple[str, Span]]
#: `NP: {<DT>?<JJ.*>*<NN.*>+}`, over tags with a space behind each.
_NOUN_PHRASE = re.compile(r"(?<!\S)(?:DT )?(?:JJ\S* )*(?:NN\S* )+")
_SENTENCE = re.compile(r"\S.*?(?:[.!?]+(?=\s|$)|$)", re.DOTALL)


def noun_phrases(tagged: Tagged) -> list[Span]:
    """Where the noun phrases stand, in rising order; none overlap."""
    tags = "".join(f"{tag} " for tag, _ in tagged)
    spans = []
    for match in _NOUN_PHRASE.finditer(tags):
        first, end = tags.count(" ", 0, match.start()), tags.count(" ", 0, match.end())
        spans.append((tagged[first][1][0], tagged[end - 1][1][1]))
    return spans


class NltkTagger:
    """NLTK's words and tags of a caption, in lower case as official asks for them."""

    def __init__(self):
        try:
            from nltk import pos_tag
            from nltk.tokenize import NLTKWordTokenizer
        except ModuleNotFoundError:
            raise TeachingError(
                "finding noun phrases needs the package nltk: pip install 'glip-torch[captions]', or give the phrases' spans "
                "in the records"
            ) from None
        self._words, self._tag = NLTKWordTokenizer().span_tokenize, pos_tag
        try:
            self("a red circle")
        except LookupError:
            raise TeachingError(
                "NLTK's tagger is not installed: python -m nltk.downloader averaged_perceptron_tagger_eng"
            ) from None

    def __call__(self, caption: str) -> Tagged:
        # Character by character, as a letter in lower case may be two, and spans are those of the caption.
        lower = "".join(c.lower() if len(c.lower()) == 1 else c for c in caption)
        # Sentence by sentence, as the tokenizer takes a full stop for one at the end only.
        sentences = ((match.start(), match.group()) for match in _SENTENCE.finditer(lower))
        spans = [(start + b, start + e) for start, sentence in sentences for b, e in self._words(sentence)]
        tags = self._tag([lower[begin:end] for begin, end in spans])
        return [(tag, span) for (_, tag), span in zip(tags, spans)]


@functools.cache
def _tagger() -> NltkTagger:
    return NltkTagger()


def find_noun_phrases(caption: str) -> list[Span]:
    """The noun phrases of a caption, with NLTK's tags."""
    return noun_phrases(_tagger()(caption))
