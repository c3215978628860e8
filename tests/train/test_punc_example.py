"""The parts of the punctuation example that are easy to get subtly wrong."""

from __future__ import annotations

import copy
import gzip
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from funasr.nn.layers import Padding
from funasr.nn.sanm import SanmEncoder, SanmEncoderConfig

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "train_bundled"
NAMES = ("punc_data", "punc_words", "punc_windows", "quick_layers")
NONE, COMMA, STOP, QUESTION, ENUMERATION = 1, 2, 3, 4, 5


@pytest.fixture(scope="module")
def example() -> Iterator[SimpleNamespace]:
    """The example's modules; they import one another by their bare names."""
    sys.path.insert(0, str(EXAMPLE))
    try:
        yield SimpleNamespace(**{name: __import__(name) for name in NAMES})
    finally:
        sys.path.remove(str(EXAMPLE))
        for name in NAMES:
            sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("“Is it 3.5 GB, Mr. Bell?” he asked.", "Is it 3.5 GB， Mr Bell？ he asked。"),
        ("我说：“对！你、他和 Tom 都去吧？”", "我 说， 对。 你、 他 和 Tom 都 去 吧？"),
        ("他来了；她走了——很快", "他 来 了。 她 走 了， 很 快。"),
        (
            "J. K. Rowling, e.g., paid $1,000 in the U.S. yesterday…",
            "J K Rowling， eg， paid $1000 in the US yesterday。",
        ),
        ("Well… maybe. The card-table — it's gone!", "Well， maybe。 The card table， it's gone。"),
        ("At 3:30 p.m. I left. So did I.", "At 3:30 pm。 I left。 So did I。"),
        ("What?! “No.”", "What？ No。"),
        ("Ｃａｆé ＡＰＩ，用 vue.js（推荐）。", "Cafe API， 用 vue.js 推 荐。"),
        ("……《》", ""),
    ],
)
def test_a_line_becomes_words_and_the_mark_after_each(
    example: SimpleNamespace, text: str, expected: str
) -> None:
    line = example.punc_data.read_line(text)
    marks = example.punc_data.LABELS

    written = " ".join(
        word + ("" if label == NONE else marks[label])
        for word, label in zip(line.words, line.labels, strict=True)
    )

    assert written == expected


def test_words_are_cut_as_the_models_tokenizer_cuts_them(example: SimpleNamespace) -> None:
    from funasr.text.words import split_words

    line = example.punc_data.read_line("那天 Tom's 3.5GB 硬盘、坏了, isn't it? 50% 的人用 C++ 和 vue.js。")

    assert split_words(" ".join(line.words)) == list(line.words)


def test_no_block_of_lines_is_in_two_parts_and_all_lines_are_in_one(example: SimpleNamespace) -> None:
    data = example.punc_data
    texts = [f"line number {number}" for number in range(8130)]

    blocks = data.split_source("zh/made_up", texts)

    lines = [line.words[-1] for block in blocks for line in block.lines]
    assert lines == [str(number) for number in range(8130)]
    assert {block.part for block in blocks} == {"train", "dev", "test"}
    assert all(len(block.lines) == data.BLOCK_LINES for block in blocks[:-1])
    # 41 blocks: one in 20 for testing, one in 40 for choosing.
    assert [sum(block.part == part for block in blocks) for part in ("test", "dev")] in (
        [2, 1],
        [2, 2],
        [3, 1],
    )
    assert blocks == data.split_source("zh/made_up", texts)


def test_what_is_held_out_does_not_change_when_a_source_grows_at_its_end(example: SimpleNamespace) -> None:
    texts = [f"line {number}" for number in range(9000)]

    short, long = (example.punc_data.split_source("en/made_up", texts[:size]) for size in (6000, 9000))

    assert [block.part for block in short] == [block.part for block in long[: len(short)]]


def test_a_source_of_five_blocks_has_one_to_test_with_and_a_smaller_one_none(
    example: SimpleNamespace,
) -> None:
    def parts(lines: int) -> list[str]:
        blocks = example.punc_data.split_source("zh/made_up", ["一句话。"] * lines)
        return [block.part for block in blocks]

    assert parts(1000).count("test") == 1
    assert set(parts(800)) == {"train"}


def test_unseen_sources_are_never_trained_on(example: SimpleNamespace, tmp_path: Path) -> None:
    (tmp_path / "zh").mkdir()
    for name in ("asp_stories", "luxun"):
        with gzip.open(tmp_path / "zh" / f"{name}.txt.gz", "wt", encoding="utf-8") as file:
            file.writelines(f"第{number}句话，说完了。\n" for number in range(2000))

    parts = {(block.source, block.part) for block in example.punc_data.read_blocks(tmp_path)}

    assert {part for source, part in parts if source == "zh/asp_stories"} == {"unseen"}
    assert "unseen" not in {part for source, part in parts if source == "zh/luxun"}


def made_up_blocks(example: SimpleNamespace, lines: int = 400) -> list[object]:
    texts = [f"word{number % 7} and Thing, or {number}? Yes." for number in range(lines)]
    return list(example.punc_data.split_source("en/made_up", texts))


def test_windows_begin_with_sentences_and_cover_the_text(example: SimpleNamespace) -> None:
    rng = np.random.default_rng(0)
    labels = np.where(np.arange(5000) % 9 == 8, STOP, NONE).astype(np.int8)

    windows = example.punc_windows.cut(labels, rng)

    covered = np.zeros(5000, dtype=bool)
    for first, stop in windows:
        assert first < stop <= 5000
        covered[first:stop] = True
    assert covered.all()
    begins = np.mean([first % 9 == 0 for first, _ in windows])
    ends = np.mean([stop % 9 == 0 for _, stop in windows])
    assert begins > 0.8  # some begin within one, and then the next ones may too
    assert 0.4 < ends < 0.65


def test_a_text_without_sentence_ends_is_cut_all_the_same(example: SimpleNamespace) -> None:
    windows = example.punc_windows.cut(np.ones(1000, dtype=np.int8), np.random.default_rng(0))

    assert (windows[0][0], windows[-1][1]) == (0, 1000)
    assert (windows[1:, 0] == windows[:-1, 1]).all()


def test_the_last_word_of_a_window_teaches_sentence_ends_only(example: SimpleNamespace) -> None:
    blocks = made_up_blocks(example)
    words = example.punc_words.Words.of(blocks)
    windows = example.punc_windows.Windows(blocks, words, seed=1)

    last = {int(windows.load(0, index).target[-1]) for index in range(len(windows.lengths(0)))}

    assert last == {0, STOP, QUESTION}


def test_windows_depend_on_the_epoch_and_the_seed_alone(example: SimpleNamespace) -> None:
    blocks = made_up_blocks(example)
    words = example.punc_words.Words.of(blocks)
    one, other = (example.punc_windows.Windows(blocks, words, seed=1, unknown=0.1) for _ in range(2))
    other.load(5, 0)  # looking at another epoch changes nothing

    assert one.lengths(2).tolist() == other.lengths(2).tolist()
    assert np.array_equal(one.load(2, 3).features, other.load(2, 3).features)
    assert one.lengths(2).tolist() != one.lengths(3).tolist()


def test_a_word_with_capitals_has_the_vector_of_the_small_one(example: SimpleNamespace) -> None:
    words = example.punc_words.Words.of(made_up_blocks(example))
    torch.manual_seed(0)
    embedding = example.punc_words.ComposedEmbedding(words, 8, own_dropout=0.0).eval()

    table = embedding.fold(words.owners)

    assert len(table) == len(words.tokens) > words.size
    place = {token: number for number, token in enumerate(words.tokens)}
    assert torch.equal(table[place["Thing"]], table[place["thing"]])
    assert not torch.equal(table[place["and"]], table[place["thing"]])


def test_the_folded_table_is_what_the_network_was_trained_with(example: SimpleNamespace) -> None:
    words = example.punc_words.Words.of(made_up_blocks(example))
    torch.manual_seed(0)
    embedding = example.punc_words.ComposedEmbedding(words, 8, own_dropout=0.2).eval()
    ids = torch.tensor([[2, 3, 4], [4, 1, 0]])

    torch.testing.assert_close(embedding(ids), embedding.fold(words.owners)[ids])


def test_the_rarer_a_word_the_oftener_its_parts_stand_for_it_alone(example: SimpleNamespace) -> None:
    texts = ["walking talking."] * 99 + ["stalking."] + ["我说。"] * 100
    words = example.punc_words.Words.of(example.punc_data.split_source("en/made_up", texts))
    embedding = example.punc_words.ComposedEmbedding(words, 8, own_dropout=0.0)
    place = {token: number for number, token in enumerate(words.tokens)}

    assert embedding.dropout[place["walking"]].item() == pytest.approx(99**-0.5)
    assert embedding.dropout[place["stalking"]].item() == 1
    assert embedding.dropout[place["我"]].item() == 0  # a character has no parts
    assert "ng>" in example.punc_words.parts_of("walking")


def test_the_quick_encoder_is_the_plain_one_and_so_are_its_gradients(example: SimpleNamespace) -> None:
    torch.manual_seed(0)
    config = SanmEncoderConfig(
        output_size=16, attention_heads=4, linear_units=32, num_blocks=2, dropout_rate=0.0
    )
    plain = SanmEncoder(config, 12)
    quick = copy.deepcopy(plain)
    example.quick_layers.use_quick_encoder(quick)
    x = torch.randn(3, 14, 12)
    lengths = torch.tensor([14, 9, 2])
    real = torch.arange(14)[None, :, None] < lengths[:, None, None]

    outs = [encoder(x, Padding.of(lengths, 14)) * real for encoder in (plain, quick)]
    for out in outs:
        (out**2 * torch.linspace(0, 1, 16)).sum().backward()

    torch.testing.assert_close(outs[1], outs[0], atol=1e-5, rtol=1e-4)
    for ours, theirs in zip(quick.parameters(), plain.parameters(), strict=True):
        assert ours.grad is not None
        torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-4, rtol=1e-3)
    assert list(quick.state_dict()) == list(plain.state_dict())


def test_the_quick_encoder_swaps_no_module_it_does_not_know(example: SimpleNamespace) -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5))

    example.quick_layers.use_quick_encoder(model)

    assert [type(module) for module in model] == [nn.Linear, nn.Dropout]
