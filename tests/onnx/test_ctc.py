"""SenseVoice through onnxruntime: ids, confidences and texts of torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from funasr.errors import InputError, ModelFilesError
from funasr.features.config import FrontendConfig
from funasr.features.frontend import WavFrontend
from funasr.stages.paraformer import DecodeOptions
from funasr.stages.sense_voice import SenseVoiceRecognizer
from funasr_onnx import ctc
from funasr_onnx.ctc import OnnxSenseVoice
from tests.models.test_ct_transformer import network as punctuation
from tests.onnx.graphs import exported, loaded, noise
from tests.small_dirs import make_sense_voice, seeded_dirs, sense_voice_network, sound, vocabulary

ASKED = (3, 1, 2, 15)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = make_sense_voice(tmp_path_factory.mktemp("sense_voice"))
    exported(sense_voice_network(), path)
    return path


@pytest.mark.parametrize("banned", [(), (0, 5)])
def test_a_batch_has_the_answers_of_each_row_alone_and_of_torch(
    folder: Path, monkeypatch: pytest.MonkeyPatch, banned: tuple[int, ...]
) -> None:
    monkeypatch.setattr(ctc, "BATCH_FRAMES", 40)  # the rows are computed in three parts
    graph, own = loaded(folder), sense_voice_network()
    features, lengths = noise(5, 30, 560), np.array([7, 0, 30, 2, 29])

    rows = graph.infer(features, lengths, ASKED, banned)

    wanted = own.infer(features, lengths, ASKED, banned)
    for index, length in enumerate(lengths.tolist()):
        [alone] = graph.infer(features[index : index + 1, :length], lengths[index : index + 1], ASKED, banned)
        for other in (alone, wanted[index]):
            assert rows[index].ids.tolist() == other.ids.tolist()
            np.testing.assert_allclose(rows[index].confidences, other.confidences, atol=1e-5)
        assert len(rows[index].ids) == 4 + length


def test_texts_and_tags_are_those_of_torch(folder: Path) -> None:
    frontend = WavFrontend(FrontendConfig(**seeded_dirs.FRONTEND))
    graph, own = (
        SenseVoiceRecognizer(one, frontend, vocabulary()) for one in (loaded(folder), sense_voice_network())
    )
    batch = [sound(1.0, 1), np.zeros(0, np.float32), sound(2.5, 2)]
    options = DecodeOptions(timestamps=True, language="yue", itn=True)

    found, wanted = graph.recognize(batch, options), own.recognize(batch, options)

    assert [one.text for one in found] == [one.text for one in wanted]
    assert [[t.start_ms for t in one.tokens] for one in found] == [
        [t.start_ms for t in one.tokens] for one in wanted
    ]


def test_no_rows_have_no_answers(folder: Path) -> None:
    assert loaded(folder).infer(np.zeros((0, 0, 560), np.float32), np.zeros(0, np.int64), ASKED) == []


def test_what_the_graph_does_not_take_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"takes \(batch, frames, 560\)"):
        loaded(folder).infer(noise(1, 5, 400), np.array([5]), ASKED)
    with pytest.raises(InputError, match="this graph takes a language, 1, 2, and a form of text"):
        loaded(folder).infer(noise(1, 5, 560), np.array([5]), (3, 2, 1, 15))
    with pytest.raises(ModelFilesError, match="a SenseVoice has speech, speech_lengths, language, textnorm"):
        OnnxSenseVoice(exported(punctuation("CTTransformer"), tmp_path))
