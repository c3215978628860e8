"""Ways in which calls of live streams failed without saying what to do, or mixed two streams up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from funasr import AutoModel
from funasr.errors import FunASRError, InputError, OptionError
from tests.tiny_models import make_ct_punc, make_paraformer, make_vad, talk

SOUND = talk(("quiet", 0.3), ("loud", 1.0))


@pytest.fixture(scope="module")
def streaming(tmp_path_factory: pytest.TempPathFactory) -> AutoModel:
    folder = make_paraformer(tmp_path_factory.mktemp("streaming"), "ParaformerStreaming")
    return AutoModel(model=folder, device="cpu", disable_pbar=True)


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> AutoModel:
    return AutoModel(model=make_vad(tmp_path_factory.mktemp("vad")), device="cpu", disable_pbar=True)


@pytest.mark.parametrize(
    ("sound", "message"),
    [
        (b"\0\0" * 100, "np.frombuffer"),
        ("a.wav", "not str; generate\\(\\) takes files"),
        (Path("a.wav"), "generate\\(\\) takes files"),
        (None, "not NoneType"),
    ],
)
def test_what_is_no_sound_for_a_stream_is_called_by_its_name(
    streaming: AutoModel, sound: Any, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        streaming.stream().accept(sound)


def test_a_name_is_no_draft_and_a_number_no_state(streaming: AutoModel, tmp_path: Path) -> None:
    whole = AutoModel(
        model=make_paraformer(tmp_path / "asr"), vad_model=make_vad(tmp_path / "vad"), device="cpu"
    )
    with pytest.raises(OptionError, match="draft must be an AutoModel of a streaming recognizer"):
        whole.two_pass("paraformer-zh-streaming")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="state is a int; give the `state` of another stream"):
        streaming.stream(state=3)  # type: ignore[arg-type]


def test_a_cache_serves_one_model_alone(streaming: AutoModel, detector: AutoModel, tmp_path: Path) -> None:
    """The last piece for one would empty it, and the words that the other has not told yet were lost."""
    cache: dict[Any, Any] = {}
    streaming.generate(input=SOUND[:4800], cache=cache)
    punctuator = AutoModel(model=make_ct_punc(tmp_path / "punc", "CTTransformerStreaming"), device="cpu")
    kept = dict(cache)
    for model, piece in ((detector, SOUND[:4800]), (punctuator, "好")):
        with pytest.raises(FunASRError, match="cache belongs to another model"):
            model.generate(input=piece, cache=cache, chunk_size=200, is_final=True)
    assert cache == kept


def test_a_stream_that_ends_before_it_began_has_no_speech(detector: AutoModel) -> None:
    [record] = detector.generate(input=np.zeros(0, np.float32), cache={}, chunk_size=200, is_final=True)
    assert record["value"] == []
