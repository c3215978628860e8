"""Real recordings of the shared data: every file opens, and is as long as its list says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from funasr.audio.inputs import expand_input
from funasr.audio.load import load_audio, load_channels, open_audio


@pytest.mark.parametrize("corpus", ["test_en", "test_zh", "test_stereo", "mini_an4"])
def test_a_corpus_is_as_long_as_its_list_says(corpus: str, shared: Path) -> None:
    folder = shared / "data" / "asr" / corpus
    durations = dict(line.split() for line in (folder / "utt2dur").read_text().splitlines())

    items = expand_input(folder / "wav.scp")

    assert [item.key for item in items] == list(durations)
    for item in items[:40]:
        with open_audio(item.source) as stream:
            length = sum(block.shape[1] for block in stream)
            assert stream.duration == pytest.approx(length / 16_000, abs=1e-3)
        assert length / 16_000 == pytest.approx(float(durations[item.key]), abs=0.01), item.key


def test_sounds_and_texts_of_a_corpus_pair_up(shared: Path) -> None:
    folder = shared / "data" / "asr" / "test_zh"
    items = expand_input((folder / "wav.scp", folder / "text.txt"), data_type=("sound", "text"))
    assert len(items) == 6
    assert all(item.text and Path(item.source).is_file() for item in items)


def test_the_two_sides_of_a_stereo_recording_differ(shared: Path) -> None:
    path = shared / "data" / "asr" / "test_stereo" / "wavs" / "stereo_diarization.wav"
    apart = load_channels(path)
    assert len(apart) == 2
    assert np.abs(apart[0] - apart[1]).max() > 0.01
    np.testing.assert_allclose(load_audio(path), apart.mean(axis=0), atol=1e-5)
