import pytest

from glip_torch.tokenizer import build_tokenizer, nano_vocabulary, phrase_tokens


@pytest.fixture(scope="module")
def nano():
    return build_tokenizer(nano_vocabulary())


def test_any_english_text_tokenises(nano):
    text = "A Zürich taxi's driver paid $3.50 — “quickly”, e.g. #7 @ 9% & left; (why?) [x] {y} <z> a/b\\c ~ `q` ^ | * + = _ !"
    assert "[UNK]" not in nano.encode(text).tokens


def test_prompt_words_are_whole_and_others_are_spelled(nano):
    assert nano.encode("Crimson discs").tokens == ["[CLS]", "crimson", "disc", "##s", "[SEP]"]
    assert nano.encode("dog").tokens == ["[CLS]", "d", "##o", "##g", "[SEP]"]


def test_vocabulary_has_no_duplicates_and_stays_small():
    vocabulary = nano_vocabulary()
    assert len(set(vocabulary)) == len(vocabulary) <= 1000


def test_phrase_tokens_start_and_end_at_words(nano):
    text = "red disc. blue square"
    encoding = nano.encode(text)
    assert encoding.tokens == ["[CLS]", "red", "disc", ".", "blue", "square", "[SEP]"]
    assert phrase_tokens(encoding, 0, 8) == range(1, 3)
    # A span that begins and ends on spaces moves inwards.
    assert phrase_tokens(encoding, 9, 21) == range(4, 6)
    assert phrase_tokens(encoding, 3, 9) == range(2, 4)


def test_a_phrase_without_tokens_is_an_error(nano):
    with pytest.raises(ValueError, match="no token covers"):
        phrase_tokens(nano.encode("red      disc"), 4, 6)


def test_a_vocabulary_without_special_tokens_is_an_error():
    with pytest.raises(ValueError, match=r"lacks .*\[CLS\]"):
        build_tokenizer(["[PAD]", "[UNK]", "red"])
