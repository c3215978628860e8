"""Live streams of an AutoModel, with tiny models in the official layout."""

from __future__ import annotations

import logging
import pickle
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from funasr import AutoModel
from funasr.arrays import Samples
from funasr.auto.live import LEAD_IN_MS
from funasr.errors import OptionError
from funasr.pipeline.events import Final, LiveEvent, Partial, Stable
from funasr.pipeline.stream import RecognitionStream
from tests.tiny_models import make_campplus, make_ct_punc, make_paraformer, make_vad, talk

SOUND = talk(("quiet", 0.7), ("loud", 2.1), ("quiet", 1.4), ("loud", 1.3), ("quiet", 1.2))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    make_paraformer(folder / "streaming", "ParaformerStreaming", seed=3)
    make_paraformer(folder / "asr")
    make_paraformer(folder / "hot", "SeacoParaformer")
    make_vad(folder / "vad")
    make_ct_punc(folder / "punc")
    make_campplus(folder / "spk")
    return folder


@pytest.fixture(scope="module")
def streaming(folder: Path) -> AutoModel:
    return load(folder, "streaming", vad_model="vad", punc_model="punc")


@pytest.fixture(scope="module")
def asr(folder: Path) -> AutoModel:
    return load(folder, "asr", vad_model="vad", punc_model="punc")


def load(folder: Path, model: str, **others: str) -> AutoModel:
    paths = {kind: str(folder / name) for kind, name in others.items()}
    return AutoModel(model=str(folder / model), device="cpu", disable_pbar=True, **paths)


def heard(stream: RecognitionStream, samples: Samples = SOUND, piece: int = 3200) -> list[LiveEvent]:
    events = [e for at in range(0, len(samples), piece) for e in stream.accept(samples[at : at + piece])]
    return [*events, *stream.flush()]


def of(kind: type, events: Sequence[LiveEvent]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def test_a_stream_tells_partial_stable_and_final_words(streaming: AutoModel) -> None:
    events = heard(streaming.stream())

    finals = of(Final, events)
    segments = streaming.vad_model.segments(SOUND)
    assert [(final.start_ms, final.end_ms) for final in finals] == [(s.start_ms, s.end_ms) for s in segments]
    assert of(Partial, events)
    for final in finals:
        settled = [word.text for e in of(Stable, events) if e.id == final.id for word in e.words]
        assert [word.text for word in final.words] == settled
        assert final.text[-1] in "。？.?"
        assert all(0 <= word.confidence <= 1 for word in final.words)


def test_pieces_of_any_size_tell_the_same(streaming: AutoModel) -> None:
    expected = heard(streaming.stream())

    assert heard(streaming.stream(), piece=777) == expected
    assert heard(streaming.stream(), piece=len(SOUND)) == expected


def test_a_stream_without_companions_hears_everything(folder: Path) -> None:
    model = load(folder, "streaming")

    [final] = of(Final, heard(model.stream()))

    [[token, *_]] = [final.words]
    assert token.start_ms == 0
    look_backs = {"encoder_chunk_look_back": 4, "decoder_chunk_look_back": 1}
    before = np.zeros(LEAD_IN_MS * 16, dtype=np.float32)  # of which a recording has none
    [record] = model.generate(input=np.concatenate([before, SOUND]), chunk_size=[0, 10, 5], **look_backs)
    assert final.text == record["text"]


def test_options_reach_the_detector_and_the_recognizer(streaming: AutoModel) -> None:
    usual = of(Final, heard(streaming.stream()))

    patient = of(Final, heard(streaming.stream(max_end_silence_time=3000)))
    other = of(Final, heard(streaming.stream(chunk_size=[0, 8, 4])))

    assert (len(usual), len(patient)) == (2, 1)
    assert [final.words for final in other] != [final.words for final in usual]


def test_a_pickled_state_goes_on_in_a_model_loaded_anew(folder: Path, streaming: AutoModel) -> None:
    stream = streaming.stream(max_end_silence_time=600)
    events = [*stream.accept(SOUND[:40_000])]
    state = pickle.loads(pickle.dumps(stream.state))
    again = load(folder, "streaming", vad_model="vad", punc_model="punc")

    events += heard(again.stream(state=state, max_end_silence_time=600), SOUND[40_000:])

    assert events == heard(streaming.stream(max_end_silence_time=600))


@pytest.mark.parametrize(
    ("count", "workers"), [(8, 4), pytest.param(64, 8, marks=pytest.mark.slow)], ids=["8", "64"]
)
def test_streams_from_many_threads_are_each_as_alone(streaming: AutoModel, count: int, workers: int) -> None:
    sounds = [talk(("quiet", 0.3), ("loud", 0.8 + k % 5 / 5), ("quiet", 1), seed=k) for k in range(count)]
    alone = [of(Final, heard(streaming.stream(), sound, len(sound))) for sound in sounds]
    together: dict[int, list[LiveEvent]] = {}

    def serve(numbers: Sequence[int]) -> None:
        """Streams side by side, in pieces of their own sizes."""
        streams = {number: streaming.stream() for number in numbers}
        events: dict[int, list[LiveEvent]] = {number: [] for number in numbers}
        at = dict.fromkeys(numbers, 0)
        while any(at[number] < len(sounds[number]) for number in numbers):
            for number in numbers:
                piece = sounds[number][at[number] : at[number] + 5000 + 97 * number]
                at[number] += len(piece)
                events[number] += streams[number].accept(piece)
        for number in numbers:
            together[number] = of(Final, [*events[number], *streams[number].flush()])

    threads = [
        threading.Thread(target=serve, args=(range(first, count, workers),)) for first in range(workers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)

    assert sorted(together) == list(range(count))
    for number, expected in enumerate(alone):
        assert [plain(final) for final in together[number]] == [plain(final) for final in expected]
        assert certainties(together[number]) == pytest.approx(certainties(expected), abs=1e-5)


def plain(final: Final) -> Any:
    """An event without confidences, whose last digits depend on the batch."""
    return final.text, final.start_ms, [(w.text, w.start_ms, w.end_ms, w.mark) for w in final.words]


def certainties(finals: Sequence[LiveEvent]) -> list[float]:
    return [word.confidence or 0.0 for final in finals for word in final.words]


def test_two_passes_end_with_what_the_pipeline_finds(asr: AutoModel, streaming: AutoModel) -> None:
    events = heard(asr.two_pass(streaming))

    [offline] = asr.transcribe(SOUND)
    finals = of(Final, events)
    words = [word for final in finals for word in final.words]
    assert [(w.text, w.start_ms, w.end_ms) for w in words] == [
        (t.text, t.start_ms, t.end_ms) for t in offline.tokens
    ]
    assert of(Partial, events)
    assert not of(Stable, events)
    assert finals == heard(asr.two_pass())


def test_hotwords_change_the_words_of_the_second_pass(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = load(folder, "hot", vad_model="vad")

    usual = of(Final, heard(model.two_pass()))
    hot = of(Final, heard(model.two_pass(hotword="今天 去")))

    [offline] = model.transcribe(SOUND, hotword="今天 去")
    assert " ".join(final.text for final in hot) == offline.text
    assert [final.text for final in hot] != [final.text for final in usual]


def test_words_are_rewritten_as_generate_does(asr: AutoModel) -> None:
    [first, *_] = of(Final, heard(asr.two_pass()))
    word = first.words[0].text

    [changed, *_] = of(Final, heard(asr.two_pass(postprocess_hotwords=[f"{word}=>Ω"])))

    assert changed.text.startswith("Ω")


def test_every_utterance_has_a_speaker(folder: Path) -> None:
    model = load(folder, "asr", vad_model="vad", spk_model="spk")

    finals = of(Final, heard(model.two_pass()))
    first = SOUND[: 16000 * 3]
    named = of(Final, heard(model.two_pass(speakers={"Ann": SOUND[:20_000]}, speakers_threshold=-1), first))
    none = of(Final, heard(model.two_pass(return_spk_res=False), first))

    assert finals[0].speaker == 0
    assert all(isinstance(final.speaker, int) for final in finals)
    assert {final.speaker for final in named} == {"Ann"}
    assert {final.speaker for final in none} == {None}


def test_wrong_calls_say_what_would_be_right(
    folder: Path, asr: AutoModel, streaming: AutoModel, caplog: pytest.LogCaptureFixture
) -> None:
    bare = load(folder, "streaming")
    for call, message in (
        (asr.stream, "'paraformer-zh-streaming' does"),
        (load(folder, "asr").two_pass, "needs a vad_model"),
        (load(folder, "vad").two_pass, "does not turn speech into words"),
        (lambda: asr.two_pass(asr), "draft must be an AutoModel of a streaming recognizer"),
        (lambda: asr.two_pass(chunk_size=[0, 10, 5]), "chunk_size is how a streaming recognizer listens"),
        (lambda: bare.stream(speakers={"Ann": SOUND}), "two_pass\\(\\) does that"),
        (lambda: bare.stream(max_end_silence_time=500), "'max_end_silence_time' needs a vad_model"),
        (lambda: asr.two_pass(speakers={"Ann": SOUND}), "speakers needs a spk_model"),
        (lambda: bare.stream(chunk_sise=[0, 10, 5]), "Did you mean 'chunk_size'"),
        (lambda: bare.stream(batch_size_s=60), "batch_size_s is an option of generate\\(\\)"),
        (lambda: asr.two_pass(cache={}), "no meaning for a live stream"),
        (lambda: bare.stream(chunk_size=600), "\\[left, size, right\\]"),
    ):
        with pytest.raises(OptionError, match=message):
            call()
    with caplog.at_level(logging.WARNING):
        streaming.stream(hotword="今天")
    assert "two_pass() uses them" in caplog.text


def test_integers_are_sound_too(streaming: AutoModel) -> None:
    integers = (SOUND * 20000).astype(np.int16)

    assert heard(streaming.stream(), integers) == heard(
        streaming.stream(), integers.astype(np.float32) / 32768
    )
