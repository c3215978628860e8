"""Streaming recognition through AutoModel: the documented loops, whole recordings, and what is refused.

tests/golden/live_words/calls.json is upstream's, made by make_live_words.py.
"""

from __future__ import annotations

import io
import logging
import re
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from funasr import AutoModel, registry
from funasr.aliases import find_alias
from funasr.errors import AudioDecodeError, InputError, OptionError
from funasr.stages.protocols import ChunkShape
from funasr.stages.streaming import ParaformerStreamer
from tests.small_dirs import golden, make_streaming, tones
from tests.tiny_models import make_ct_punc, make_vad, talk

DOCUMENTED = {"chunk_size": [0, 10, 5], "encoder_chunk_look_back": 4, "decoder_chunk_look_back": 1}
STRIDE = 9600
SOUND = tones(4.0, 1)

STRAY_BLANK = re.compile(r"(?<=[a-z'A-Z]) (?=[\u4e00-\u9fff])")
"""Upstream leaves one where an open word stands between an English word and a character."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    make_streaming(folder / "streaming")
    make_vad(folder / "vad")
    make_ct_punc(folder / "punc")
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> AutoModel:
    return AutoModel(model=str(folder / "streaming"), device="cpu", disable_update=True)


def pieces_of(sound: np.ndarray, sizes: list[int]) -> list[np.ndarray]:
    """Consecutive pieces; the sizes come round again until nothing is left."""
    pieces: list[np.ndarray] = []
    start = 0
    while start < len(sound):
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(sound[start : start + size])
        start += size
    return pieces or [sound]


def live(model: AutoModel, pieces: list[Any], **options: Any) -> list[str]:
    """The text of each call."""
    cache: dict[str, Any] = {}
    texts = []
    for i, piece in enumerate(pieces):
        [record] = model.generate(input=piece, cache=cache, is_final=i == len(pieces) - 1, **options)
        assert set(record) == {"key", "text"}
        texts.append(record["text"])
    assert cache == {}
    return texts


def without_blanks(texts: list[str]) -> str:
    return "".join("".join(texts).split())


# As documented


def stride_of(case: dict[str, Any]) -> int:
    return int(case["options"].get("chunk_size", [0, 10, 5])[1]) * 960


def sound_of(case: dict[str, Any]) -> np.ndarray:
    sound = tones(case["seconds"], case["seed"])
    return sound if case["last"] < 0 else sound[: len(sound) - stride_of(case) + case["last"]]


def test_the_text_of_every_call_is_upstreams(model: AutoModel) -> None:
    for case in golden("live_words/calls.json"):
        sound = sound_of(case)
        pieces = pieces_of(sound, [stride_of(case)]) + ([sound[:0]] if case["last"] == 0 else [])

        texts = live(model, pieces, **case["options"])

        assert texts == [STRAY_BLANK.sub("", text) for text in case["texts"]], case


def test_the_text_of_every_recording_is_upstreams(model: AutoModel) -> None:
    cases = golden("live_words/calls.json")
    for options in {str(case["options"]): case["options"] for case in cases}.values():
        some = [case for case in cases if case["options"] == options]

        records = model.generate(input=[sound_of(case) for case in some], **options)

        assert [record["text"] for record in records] == [STRAY_BLANK.sub("", case["file"]) for case in some]


def test_the_documented_loop_runs_word_for_word(
    folder: Path, model: AutoModel, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "streaming" / "example").mkdir(exist_ok=True)
    soundfile.write(folder / "streaming" / "example" / "asr_example.wav", SOUND, 16000, subtype="FLOAT")

    chunk_size = [0, 10, 5]  # [0, 10, 5] 600ms, [0, 8, 4] 480ms
    encoder_chunk_look_back = 4  # number of chunks to lookback for encoder self-attention
    decoder_chunk_look_back = 1  # number of encoder chunks to lookback for decoder cross-attention

    import os

    wav_file = os.path.join(model.model_path, "example/asr_example.wav")
    speech, sample_rate = soundfile.read(wav_file)
    chunk_stride = chunk_size[1] * 960  # 600ms

    cache: dict[str, Any] = {}
    total_chunk_num = int(len((speech) - 1) / chunk_stride + 1)
    for i in range(total_chunk_num):
        speech_chunk = speech[i * chunk_stride : (i + 1) * chunk_stride]
        is_final = i == total_chunk_num - 1
        res = model.generate(
            input=speech_chunk,
            cache=cache,
            is_final=is_final,
            chunk_size=chunk_size,
            encoder_chunk_look_back=encoder_chunk_look_back,
            decoder_chunk_look_back=decoder_chunk_look_back,
        )
        print(res)

    printed = [eval(line) for line in capsys.readouterr().out.splitlines()]
    assert sample_rate == 16000
    assert [record["text"] for [record] in printed] == live(model, pieces_of(SOUND, [STRIDE]), **DOCUMENTED)


def test_the_shorter_documented_loop_runs_too(
    tmp_path: Path, model: AutoModel, capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile.write(tmp_path / "speech.wav", SOUND, 16000, subtype="FLOAT")

    audio, _ = soundfile.read(tmp_path / "speech.wav", dtype="float32")  # 16 kHz mono
    chunk_size = [0, 10, 5]  # 600 ms chunks
    chunk_stride = chunk_size[1] * 960
    cache: dict[str, Any] = {}
    n_chunks = (len(audio) - 1) // chunk_stride + 1
    for i in range(n_chunks):
        chunk = audio[i * chunk_stride : (i + 1) * chunk_stride]
        res = model.generate(
            input=chunk,
            cache=cache,
            is_final=(i == n_chunks - 1),
            chunk_size=chunk_size,
            encoder_chunk_look_back=4,
            decoder_chunk_look_back=1,
        )
        if res[0]["text"]:
            print(res[0]["text"], end="", flush=True)

    texts = live(model, pieces_of(SOUND, [STRIDE]), **DOCUMENTED)
    assert capsys.readouterr().out == "".join(texts) != ""


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(800, 40000), min_size=1, max_size=5))
def test_pieces_of_any_size_give_the_words_of_strides(model: AutoModel, sizes: list[int]) -> None:
    by_stride = live(model, pieces_of(SOUND, [STRIDE]), **DOCUMENTED)

    assert without_blanks(live(model, pieces_of(SOUND, sizes), **DOCUMENTED)) == without_blanks(by_stride)


def test_a_stream_after_the_last_call_is_a_new_one(model: AutoModel) -> None:
    cache: dict[str, Any] = {}

    first, second = (model.generate(input=SOUND, cache=cache, is_final=True, **DOCUMENTED) for _ in range(2))

    assert first == second


def test_interleaved_caches_are_streams_of_their_own(model: AutoModel) -> None:
    sounds = [tones(2.5, seed) for seed in range(3)]
    caches: list[dict[str, Any]] = [{} for _ in sounds]
    texts: list[list[str]] = [[] for _ in sounds]
    for start in range(0, 40000, STRIDE):
        for sound, cache, text in zip(sounds, caches, texts, strict=True):
            [record] = model.generate(
                input=sound[start : start + STRIDE],
                cache=cache,
                is_final=start + STRIDE >= len(sound),
                **DOCUMENTED,
            )
            text.append(record["text"])

    assert texts == [live(model, pieces_of(sound, [STRIDE]), **DOCUMENTED) for sound in sounds]


# Forms of sound


def test_forms_of_sound_are_the_same_stream(model: AutoModel) -> None:
    pcm = (SOUND.clip(-1, 1) * 32767).astype(np.int16)
    pieces = pieces_of(pcm, [STRIDE])
    expected = live(model, [piece.astype(np.float32) / 32768 for piece in pieces])

    assert live(model, pieces) == expected
    assert live(model, [piece.tobytes() for piece in pieces]) == expected
    assert live(model, [piece / 32768.0 for piece in pieces]) == expected
    assert live(model, [[piece] for piece in pieces]) == expected
    assert live(model, [(piece / 32768.0).tolist() for piece in pieces]) == expected


def test_floats_of_16_bits_are_refused_as_a_quiet_piece_of_them_would_be_taken_for_loud(
    model: AutoModel,
) -> None:
    cache: dict[str, Any] = {}
    model.generate(input=SOUND[:STRIDE], cache=cache)
    before = cache["funasr.recognition"].state

    with pytest.raises(InputError, match="Divide int16 values by 32768"):
        model.generate(input=SOUND[:STRIDE] * 32768, cache=cache)
    assert cache["funasr.recognition"].state is before


def test_no_samples_are_no_words_and_end_a_stream_all_the_same(model: AutoModel) -> None:
    cache: dict[str, Any] = {}
    nothing = np.zeros(0, dtype=np.float32)

    assert model.generate(input=nothing, cache=cache)[0]["text"] == ""
    texts = live(model, [nothing, *pieces_of(SOUND[: 4 * STRIDE], [STRIDE]), nothing, nothing])
    assert texts[0] == ""
    assert any(texts)


def test_numbers_that_are_no_sound_are_silence_with_a_warning(
    model: AutoModel, caplog: pytest.LogCaptureFixture
) -> None:
    broken = SOUND.copy()
    broken[5000:5100] = np.nan
    repaired = SOUND.copy()
    repaired[5000:5100] = 0.0

    with caplog.at_level(logging.WARNING):
        texts = live(model, pieces_of(broken, [STRIDE]))

    assert texts == live(model, pieces_of(repaired, [STRIDE]))
    assert "100 samples that are no sound" in caplog.text


def test_a_file_is_complete_and_ends_the_stream(tmp_path: Path, model: AutoModel) -> None:
    soundfile.write(tmp_path / "a.wav", SOUND[STRIDE:], 16000, subtype="FLOAT")
    cache: dict[str, Any] = {}

    first = model.generate(input=SOUND[:STRIDE], cache=cache, **DOCUMENTED)
    rest = model.generate(input=str(tmp_path / "a.wav"), cache=cache, is_final=False, **DOCUMENTED)

    assert cache == {}
    by_stride = live(model, pieces_of(SOUND, [STRIDE]), **DOCUMENTED)
    assert without_blanks([first[0]["text"], rest[0]["text"]]) == without_blanks(by_stride)


def test_a_file_with_an_empty_cache_is_a_recording(tmp_path: Path, model: AutoModel) -> None:
    soundfile.write(tmp_path / "a.wav", SOUND, 16000, subtype="FLOAT")

    [record] = model.generate(input=str(tmp_path / "a.wav"), cache={}, **DOCUMENTED)

    assert record["key"] == "a"
    assert record["text"] == model.generate(input=SOUND, **DOCUMENTED)[0]["text"]


# More than the text


def test_times_can_be_asked_for(model: AutoModel) -> None:
    cache: dict[str, Any] = {}
    [record] = model.generate(input=SOUND, cache=cache, is_final=True, pred_timestamp=True, key="mine")

    assert set(record) == {"key", "text", "timestamp"}
    assert record["key"] == "mine"
    assert len(record["text"].split()) == len(record["timestamp"]) > 3
    flat = [ms for pair in record["timestamp"] for ms in pair]
    assert flat == sorted(flat)
    assert flat[0] >= 0
    assert flat[-1] <= 4000


def test_marks_are_set_call_by_call(folder: Path) -> None:
    with_marks = AutoModel(
        model=str(folder / "streaming"), punc_model=str(folder / "punc"), device="cpu", disable_update=True
    )

    texts = live(with_marks, pieces_of(SOUND, [STRIDE]), **DOCUMENTED)

    assert any(text and text[-1] in "。？" for text in texts)
    [whole] = with_marks.generate(input=SOUND, **DOCUMENTED)
    assert whole["text"][-1] in "。？."


# Recordings


def test_recordings_have_the_words_of_a_stream_with_confidence_and_times(model: AutoModel) -> None:
    recognizer = model.model
    assert isinstance(recognizer, ParaformerStreamer)
    stream = recognizer.stream(ChunkShape(encoder_look_back=4, decoder_look_back=1))
    words = stream.accept(SOUND) + stream.flush()

    [record] = model.generate(input=SOUND, output_timestamp=True, **DOCUMENTED)

    assert record["text"] == " ".join(word.text for word in words)
    assert record["timestamp"] == [[word.start_ms, word.end_ms] for word in words]
    assert record["confidence"] == [word.confidence for word in words]


def test_many_recordings_are_heard_side_by_side_and_each_as_alone(model: AutoModel) -> None:
    sounds = [tones(0.1 + 0.37 * (seed % 7), seed) for seed in range(20)]
    sounds[3] = sounds[3][:0]
    done: list[tuple[int, int]] = []

    found = model.generate(input=sounds, progress_callback=lambda *at: done.append(at))

    assert [record["text"] for record in found] == [
        model.generate(input=sound)[0]["text"] for sound in sounds
    ]
    assert found[3]["text"] == ""
    assert done == [(count, 20) for count in range(1, 21)]


def test_a_recording_that_cannot_be_read_does_not_stop_the_others(tmp_path: Path, model: AutoModel) -> None:
    (tmp_path / "broken.wav").write_bytes(b"RIFF" + bytes(50))
    soundfile.write(tmp_path / "good.wav", SOUND, 16000, subtype="FLOAT")
    both = [str(tmp_path / "broken.wav"), str(tmp_path / "good.wav")]

    broken, good = model.generate(input=both)

    assert "broken.wav" in broken["error"]
    assert broken["text"] == ""
    assert good["text"] == model.generate(input=SOUND)[0]["text"]
    with pytest.raises(AudioDecodeError, match=r"broken\.wav"):
        model.generate(input=both, on_error="raise")


def test_a_recording_on_which_the_network_fails_does_not_stop_the_others(
    model: AutoModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = model.model.network
    step = network.step

    def fail_on_three_rows(chunks: Any) -> Any:
        if any(len(chunk.features) == 3 for chunk in chunks):
            raise RuntimeError("out of memory")
        return step(chunks)

    monkeypatch.setattr(network, "step", fail_on_three_rows)

    # The last rows of the second one are three.
    first, second, third = model.generate(input=[SOUND, SOUND[: STRIDE + 3000], SOUND])

    assert second["error"] == "out of memory"
    assert second["text"]
    assert "error" not in first
    assert first["text"] == third["text"] != second["text"]


def test_a_long_recording_is_not_held_in_memory(
    model: AutoModel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    longest = 0
    advance = ParaformerStreamer.advance

    def watched(self: Any, streams: Any, sounds: Any, **how: Any) -> Any:
        nonlocal longest
        longest = max([longest, *map(len, sounds)])
        return advance(self, streams, sounds, **how)

    monkeypatch.setattr(ParaformerStreamer, "advance", watched)
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(16000)
        sound.writeframes(bytes(2 * 16000 * 130))
    file.seek(0)

    with caplog.at_level(logging.WARNING):
        [record] = model.generate(input=file, chunk_size=[0, 100, 5])

    assert record["text"]
    assert longest <= 16000 * 15
    assert "in one piece" not in caplog.text


def test_channels_can_be_kept_apart(tmp_path: Path, model: AutoModel) -> None:
    other = tones(4.0, 2)
    soundfile.write(tmp_path / "two.wav", np.stack([SOUND, other], axis=1), 16000, subtype="FLOAT")

    [record] = model.generate(input=str(tmp_path / "two.wav"), channels="split")

    alone = [model.generate(input=sound)[0]["text"] for sound in (SOUND, other)]
    assert [segment["text"] for segment in record["segments"]] == alone


def test_transcribe_gives_the_same_words(model: AutoModel) -> None:
    [transcript] = model.transcribe(SOUND, **DOCUMENTED)

    assert transcript.text == model.generate(input=SOUND, **DOCUMENTED)[0]["text"]
    assert transcript.duration_ms == 4000


def test_behind_a_detector_each_segment_is_recognized(folder: Path, model: AutoModel) -> None:
    detecting = AutoModel(
        model=str(folder / "streaming"), vad_model=str(folder / "vad"), device="cpu", disable_update=True
    )
    sound = talk(("quiet", 1.0), ("loud", 2.0), ("quiet", 1.5), ("loud", 1.0), ("quiet", 1.0))

    [transcript] = detecting.transcribe(sound, **DOCUMENTED)

    assert len(transcript.segments) == 2
    for segment in transcript.segments:
        cut = sound[segment.start_ms * 16 : segment.end_ms * 16]
        alone = model.generate(input=cut, **DOCUMENTED)[0]["text"]
        assert transcript.text_of(segment.first_token, segment.stop_token) == alone


# What is refused


@pytest.mark.parametrize(
    "wrong", [[0, 10], [0, 0, 5], [0, 10, -1], [0, 10.5, 5], 600, "0,10,5", [True, 10, 5], [0, 10, 5, 1]]
)
def test_a_chunk_size_that_is_none_is_named(model: AutoModel, wrong: Any) -> None:
    with pytest.raises(OptionError, match=r"chunk_size is .*\[left, size, right\] in rows of 60 ms") as error:
        model.generate(input=SOUND, cache={}, chunk_size=wrong)
    assert repr(wrong) in str(error.value)
    with pytest.raises(OptionError, match="chunk_size"):
        model.generate(input=SOUND, chunk_size=wrong)


@pytest.mark.parametrize("name", ["encoder_chunk_look_back", "decoder_chunk_look_back"])
@pytest.mark.parametrize("wrong", [-2, 1.5, "4"])
def test_a_look_back_that_is_none_is_named(model: AutoModel, name: str, wrong: Any) -> None:
    with pytest.raises(OptionError, match=f"{name} is {wrong!r}; it must be"):
        model.generate(input=SOUND, cache={}, **{name: wrong})


def test_a_stream_keeps_the_shape_it_began_with(model: AutoModel) -> None:
    cache: dict[str, Any] = {}
    model.generate(input=SOUND, cache=cache, chunk_size=[0, 8, 4])

    model.generate(input=SOUND, cache=cache)
    with pytest.raises(OptionError, match=r"began with chunk_size=\[0, 8, 4\].*has chunk_size=\[0, 10, 5\]"):
        model.generate(input=SOUND, cache=cache, chunk_size=[0, 10, 5])


def test_a_cache_of_another_model_is_refused(folder: Path, model: AutoModel) -> None:
    cache: dict[str, Any] = {}
    AutoModel(model=str(folder / "vad"), device="cpu").generate(input=SOUND, cache=cache, chunk_size=200)
    with pytest.raises(InputError, match="another model"):
        model.generate(input=SOUND, cache=cache)

    cache = {}
    AutoModel(model=str(folder / "streaming"), device="cpu").generate(input=SOUND, cache=cache)
    with pytest.raises(InputError, match="another model"):
        model.generate(input=SOUND, cache=cache)


def test_a_piece_of_another_rate_is_refused_and_a_recording_is_resampled(model: AutoModel) -> None:
    with pytest.raises(InputError, match="must come at 16000 Hz, not fs=8000"):
        model.generate(input=SOUND, cache={}, fs=8000)
    assert model.generate(input=SOUND[::2], fs=8000)[0]["text"]


def test_a_piece_without_a_cache_is_refused(model: AutoModel) -> None:
    with pytest.raises(OptionError, match=r"Make cache=\{\} before the first piece"):
        model.generate(input=SOUND, is_final=False)


def test_several_pieces_at_once_are_refused(model: AutoModel) -> None:
    with pytest.raises(InputError, match="one piece of sound, not 2"):
        model.generate(input=[SOUND, SOUND], cache={})


def test_a_detector_on_a_live_stream_is_refused(folder: Path) -> None:
    detecting = AutoModel(model=str(folder / "streaming"), vad_model=str(folder / "vad"), device="cpu")

    with pytest.raises(OptionError, match="leave out vad_model"):
        detecting.generate(input=SOUND, cache={})


def test_features_are_refused(model: AutoModel) -> None:
    with pytest.raises(InputError, match="takes sound only"):
        model.generate(input=np.zeros((1, 20, 560), dtype=np.float32), data_type="fbank")


def test_a_refused_call_leaves_the_stream_as_it_was(model: AutoModel) -> None:
    cache: dict[str, Any] = {}
    texts = []
    for i, piece in enumerate(pieces := pieces_of(SOUND, [STRIDE])):
        with pytest.raises(InputError):
            model.generate(input=[piece, piece], cache=cache, is_final=True)
        [record] = model.generate(input=piece, cache=cache, is_final=i == len(pieces) - 1)
        texts.append(record["text"])

    assert texts == live(model, pieces)


def test_a_call_that_fails_can_be_made_again_whichever_model_failed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_marks = AutoModel(
        model=str(folder / "streaming"), punc_model=str(folder / "punc"), device="cpu", disable_update=True
    )
    expected = live(with_marks, pieces := pieces_of(SOUND, [STRIDE]))
    for part, name in ((with_marks.model.network, "step"), (with_marks.punc_model, "mark_words")):
        works = getattr(part, name)
        calls = 0

        def fail_every_second_time(*given: Any, works: Callable[..., Any] = works, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls % 2:
                raise RuntimeError("out of memory")
            return works(*given, **options)

        monkeypatch.setattr(part, name, fail_every_second_time)
        cache: dict[str, Any] = {}
        texts = []
        for i, piece in enumerate(pieces):
            for attempt in range(4):
                try:
                    [record] = with_marks.generate(input=piece, cache=cache, is_final=i == len(pieces) - 1)
                    break
                except RuntimeError:
                    assert attempt < 3
            texts.append(record["text"])
        monkeypatch.undo()

        assert texts == expected
        assert calls > len(pieces)


def test_the_documented_name_is_that_of_this_class() -> None:
    alias = find_alias("paraformer-zh-streaming")

    assert alias is not None
    assert alias.model in registry.MODELS
    assert registry.lookup(registry.MODELS, alias.model).__name__ == "ParaformerStreaming"
