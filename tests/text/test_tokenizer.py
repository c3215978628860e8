"""Text <-> ids. Goldens in tests/golden/text/encode.json are upstream's, made by make_text.py."""

from __future__ import annotations

import builtins
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from funasr.errors import MissingDependencyError, ModelFilesError
from funasr.result import Token
from funasr.text.tokenizer import (
    CharTokenizer,
    SentencepieceTokenizer,
    open_tokenizer,
    read_seg_dict,
    read_token_list,
)

GOLDEN = json.loads(
    (Path(__file__).parents[1] / "golden" / "text" / "encode.json").read_text(encoding="utf-8")
)
SPECIAL = ["<blank>", "<s>", "</s>"]


@pytest.fixture
def official() -> CharTokenizer:
    seg_dict = {word: tuple(pieces.split()) for word, pieces in GOLDEN["seg_dict"].items()}
    return CharTokenizer(GOLDEN["tokens"], seg_dict=seg_dict)


def test_training_text_encodes_as_upstream(official: CharTokenizer) -> None:
    for text, ids in GOLDEN["texts"]:
        assert official.encode(text) == ids, text


def test_hotwords_encode_as_upstream_where_it_knows_all_parts(official: CharTokenizer) -> None:
    known = [(phrase, ids) for phrase, ids in GOLDEN["phrases"] if official.unk_id not in ids]
    assert len(known) == 5
    for phrase, ids in known:
        assert official.encode_phrase(phrase) == tuple(ids), phrase


def test_mixed_hotwords_are_spelt_part_by_part(official: CharTokenizer) -> None:
    a, gpu, stock = 3, (5, 6, 7), 14
    assert official.encode_phrase("A股") == (a, stock)
    assert official.encode_phrase("GPU") == gpu
    assert official.encode_phrase("hello今7") == (8, 9, 13, 15)


@pytest.mark.parametrize("phrase", ["今天", "gpu", "hello!", "odd", "GPX", "", "  "])
def test_a_hotword_with_an_unknown_part_is_not_encoded(official: CharTokenizer, phrase: str) -> None:
    assert official.encode_phrase(phrase) is None


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=30))
def test_any_text_encodes_to_ids_of_the_vocabulary(text: str) -> None:
    tokenizer = CharTokenizer(GOLDEN["tokens"])

    assert all(0 <= id_ < tokenizer.vocab_size for id_ in tokenizer.encode(text))
    phrase = tokenizer.encode_phrase(text)
    assert phrase is None or tokenizer.unk_id not in phrase


def test_blanks_between_words_count_for_nothing(official: CharTokenizer) -> None:
    assert official.encode("  a   b ") == [3, 4]
    assert official.encode("") == []


def test_without_a_seg_dict_words_of_the_vocabulary_stay_whole_and_others_are_spelt() -> None:
    tokenizer = CharTokenizer([*SPECIAL, "seven", "two", "a", "今", "hel@@", "lo", "<unk>"])

    assert tokenizer.encode("seven two a今z") == [3, 4, 5, 6, 9]
    assert tokenizer.encode("hel@@ lo") == [7, 8]
    assert tokenizer.encode_phrase("seven two") == (3, 4)
    assert tokenizer.encode_phrase("今") == (6,)


def test_characters_only_when_words_are_not_split_at_blanks() -> None:
    tokenizer = CharTokenizer([*SPECIAL, "ab", "a", "b", "<unk>"], split_with_space=False)

    assert tokenizer.encode("ab") == [4, 5]


def test_ids_become_their_vocabulary_strings(official: CharTokenizer) -> None:
    assert official.tokens([8, 9, 13]) == ["hel@@", "lo", "今"]
    assert (official.vocab_size, official.unk_id) == (17, 16)


def test_the_vocabulary_says_how_its_pieces_join() -> None:
    pieces = [Token(text="▁he"), Token(text="y")]
    marked = CharTokenizer([*SPECIAL, "▁he", "y", "<unk>"])
    plain = CharTokenizer([*SPECIAL, "he@@", "y", "<unk>"])

    assert [word.text for word in marked.words(pieces)] == ["hey"]
    assert [word.text for word in plain.words([Token(text="he@@"), Token(text="y")])] == ["hey"]


def test_a_token_list_with_a_double_entry_or_no_unknown_word_is_refused() -> None:
    with pytest.raises(ModelFilesError, match="'a' more than once"):
        CharTokenizer(["a", "b", "a", "<unk>"])
    with pytest.raises(ModelFilesError, match="no '<unk>'"):
        CharTokenizer(["a", "b"])


def test_token_lists_are_json_or_one_a_line(tmp_path: Path) -> None:
    as_json, as_text = tmp_path / "tokens.json", tmp_path / "tokens.txt"
    as_json.write_text('["<blank>", "一", "a\\u2028"]', encoding="utf-8")
    as_text.write_text("<blank>\n一\nb\u2028c\n", encoding="utf-8")

    assert read_token_list(as_json) == ["<blank>", "一", "a\u2028"]
    assert read_token_list(as_text) == ["<blank>", "一", "b\u2028c"]


@pytest.mark.parametrize("content", [b"{", b'{"a": 1}', b"[1, 2]", b"\xff\xfe\x00"])
def test_a_garbled_token_list_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "tokens.json"
    path.write_bytes(content)

    with pytest.raises(ModelFilesError, match=r"tokens\.json"):
        read_token_list(path)


def test_a_missing_seg_dict_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFilesError, match="seg_dict"):
        read_seg_dict(tmp_path / "seg_dict")


def test_seg_dict_lines_are_a_word_and_its_pieces(tmp_path: Path) -> None:
    path = tmp_path / "seg_dict"
    path.write_text("hello hel@@ lo\n\n好\n", encoding="utf-8")

    assert read_seg_dict(path) == {"hello": ("hel@@", "lo"), "好": ("好",)}


def test_a_model_directory_opens_its_tokenizer_by_the_official_name(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.json"
    tokens.write_text('["<blank>", "<s>", "</s>", "a", "[UNK]"]', encoding="utf-8")
    conf = {"unk_symbol": "[UNK]"}

    tokenizer = open_tokenizer("CharTokenizer", conf, token_list=tokens, seg_dict=None, bpe_model=None)

    assert (tokenizer.unk_id, tokenizer.encode("a?")) == (4, [3, 4])
    with pytest.raises(ModelFilesError, match=r"tokens\.json"):
        open_tokenizer("CharTokenizer", {}, token_list=None, seg_dict=None, bpe_model=None)
    with pytest.raises(ModelFilesError, match=r"bpe\.model"):
        open_tokenizer("SentencepiecesTokenizer", {}, token_list=None, seg_dict=None, bpe_model=None)
    with pytest.raises(ModelFilesError, match="Did you mean 'CharTokenizer'"):
        open_tokenizer("ChrTokenizer", {}, token_list=tokens, seg_dict=None, bpe_model=None)


@pytest.fixture(scope="module")
def bpe_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spm = pytest.importorskip("sentencepiece")
    folder = tmp_path_factory.mktemp("bpe")
    (folder / "text.txt").write_text("the cat sat on the mat\nthe dog ate the cat\n" * 20, encoding="utf-8")
    spm.SentencePieceTrainer.train(
        input=str(folder / "text.txt"),
        model_prefix=str(folder / "bpe"),
        vocab_size=30,
        model_type="bpe",
        minloglevel=2,
    )
    return folder / "bpe.model"


def test_sentencepieces_come_back_as_the_words_they_were(bpe_model: Path) -> None:
    tokenizer = SentencepieceTokenizer(bpe_model)

    ids = tokenizer.encode("the dog sat")
    words = tokenizer.words([Token(text=text) for text in tokenizer.tokens(ids)])

    assert [word.text for word in words] == ["the", "dog", "sat"]
    assert tokenizer.decode(ids) == "the dog sat"
    assert tokenizer.vocab_size == 30
    assert tokenizer.encode_phrase("cat") == tuple(tokenizer.encode("cat"))
    assert tokenizer.encode_phrase("今") is None


def test_a_garbled_sentencepiece_model_is_named(tmp_path: Path) -> None:
    pytest.importorskip("sentencepiece")
    path = tmp_path / "bpe.model"
    path.write_bytes(b"nothing of the sort")

    with pytest.raises(ModelFilesError, match=r"bpe\.model"):
        SentencepieceTokenizer(path)


def test_without_sentencepiece_the_error_has_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    real_import = builtins.__import__

    def absent(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "sentencepiece":
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(MissingDependencyError, match="pip install sentencepiece"):
        SentencepieceTokenizer("bpe.model")
