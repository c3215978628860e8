"""Text -> words of a punctuation model."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from funasr.errors import MissingDependencyError, ModelFilesError
from funasr.text.words import JiebaSplitter, WordVocabulary, split_words

TEXTS = st.text(st.sampled_from("今天ab'3. é\u3000ก，。\n\t-"), max_size=40)


def test_ascii_runs_are_words_and_so_is_every_other_character() -> None:
    words = split_words("it's 3.5GB，ok吗 a1b2你好C3")

    assert words == ["it's", "3.5GB", "，", "ok", "吗", "a1b2", "你", "好", "C3"]


def test_nothing_gives_no_words() -> None:
    assert split_words("") == split_words(" \u3000\n") == []


@given(TEXTS)
def test_splitting_loses_white_space_only(text: str) -> None:
    assert "".join(split_words(text)) == "".join(text.split())


@pytest.fixture(scope="module")
def jieba_words(tmp_path_factory: pytest.TempPathFactory) -> JiebaSplitter:
    path = tmp_path_factory.mktemp("jieba") / "jieba_usr_dict"
    path.write_text("公园玩 50\nAI模型 20\n", encoding="utf-8")
    return JiebaSplitter(path)


def test_a_dictionary_finds_chinese_words_across_blanks(jieba_words: JiebaSplitter) -> None:
    words = jieba_words("今天 天气不错 我们去公园玩 hello World it's 3.5GB AI模型 真的")

    assert words[:6] == ["今天天气", "不错", "我们", "去", "公园玩", "hello"]
    assert words[6:8] == ["World", "it's"]
    assert words[8:] == ["3", ".", "5GB", "AI模型", "真的"]


@given(text=TEXTS)
def test_a_dictionary_loses_white_space_only(jieba_words: JiebaSplitter, text: str) -> None:
    assert "".join(jieba_words(text)) == "".join(text.split())


def test_the_dictionary_of_the_process_stays_as_it_is(jieba_words: JiebaSplitter) -> None:
    import jieba

    assert "公园玩" in jieba_words("去公园玩")
    assert "公园玩" not in (jieba.dt.FREQ or {})


def test_a_missing_dictionary_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFilesError, match="nowhere"):
        JiebaSplitter(tmp_path / "nowhere")


def test_without_jieba_the_command_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "jieba", None)

    with pytest.raises(MissingDependencyError, match="pip install jieba"):
        JiebaSplitter(tmp_path / "jieba_usr_dict")


def test_words_become_ids_and_letters_count_as_they_are() -> None:
    vocabulary = WordVocabulary(["<unk>", "hello", "好"])

    assert vocabulary.ids(["hello", "Hello", "好"]).tolist() == [1, 0, 2]
    assert vocabulary.ids([]).shape == (0,)
    assert len(vocabulary) == 3


def test_a_word_list_with_a_double_or_without_unknown_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFilesError, match="'好' more than once"):
        WordVocabulary(["<unk>", "好", "天", "好"])
    with pytest.raises(ModelFilesError, match="no '<unk>'"):
        WordVocabulary(["好"])
    (tmp_path / "tokens.json").write_text('["<unk>", "好"]', encoding="utf-8")
    assert WordVocabulary.from_file(tmp_path / "tokens.json").ids(["好"]).tolist() == [1]
