"""The bundled streaming recognizer: its words through live streams, however the sound is cut."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from funasr import AutoModel
from funasr.arrays import Samples
from funasr.audio.load import load_audio
from funasr.pipeline.events import Final
from funasr.result import Token

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "funasr" / "bundled" / "paraformer-words-en-streaming"
SAMPLES = ROOT / "funasr" / "bundled" / "samples"
RELEASED = {"chunk_size": [0, 10, 5], "encoder_chunk_look_back": 4, "decoder_chunk_look_back": 1}


@pytest.fixture(scope="module")
def model() -> AutoModel:
    return AutoModel(model="bundled-streaming", device="cpu", disable_pbar=True)


@pytest.fixture(scope="module")
def clips() -> dict[str, tuple[Samples, str]]:
    """Demo clips: voices that are in no training, and what they say."""
    lines = (SAMPLES / "text.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.split(maxsplit=1) for line in lines)
    return {name: (load_audio(SAMPLES / name), words) for name, words in pairs}


def through(model: AutoModel, pieces: list[Samples]) -> tuple[Token, ...]:
    """The words of a live stream."""
    stream = model.stream()
    events = [event for piece in pieces for event in stream.accept(piece)]
    finals = [event for event in (*events, *stream.flush()) if isinstance(event, Final)]
    return tuple(word for final in finals for word in final.words)


def texts(words: tuple[Token, ...]) -> list[str]:
    return [word.text for word in words]


def random_pieces(sound: Samples, rng: np.random.Generator) -> list[Samples]:
    """Of 1 to 20,000 samples, short ones as often as long ones."""
    steps = np.exp(rng.uniform(0.0, np.log(20_000.0), len(sound) // 100 + 20)).astype(np.int64)
    cuts = np.cumsum(steps)
    return np.split(sound, cuts[cuts < len(sound)].tolist())


def test_every_demo_clip_is_understood_as_a_stream_with_times_in_order(
    model: AutoModel, clips: dict[str, tuple[Samples, str]]
) -> None:
    assert len(clips) >= 8
    for name, (sound, words) in clips.items():
        heard = through(model, [sound])
        assert " ".join(texts(heard)) == words, name
        ends = [0]
        for token in heard:
            assert token.start_ms is not None
            assert token.end_ms is not None
            assert ends[-1] <= token.start_ms < token.end_ms <= len(sound) // 16
            ends.append(token.end_ms)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=10, deadline=None)
def test_words_and_times_do_not_depend_on_how_the_sound_is_cut(
    model: AutoModel, clips: dict[str, tuple[Samples, str]], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    sound, _ = list(clips.values())[seed % len(clips)]

    assert through(model, random_pieces(sound, rng)) == through(model, [sound])


def test_the_documented_loop_gives_the_words_call_by_call(
    model: AutoModel, clips: dict[str, tuple[Samples, str]]
) -> None:
    for sound, words in clips.values():
        cache: dict[str, object] = {}
        stride = 10 * 960
        count = (len(sound) - 1) // stride + 1
        said = [
            model.generate(
                input=sound[i * stride : (i + 1) * stride], cache=cache, is_final=i == count - 1, **RELEASED
            )[0]["text"]
            for i in range(count)
        ]

        assert " ".join(filter(None, said)) == words


def test_a_file_is_streamed_through_to_the_same_words(
    model: AutoModel, clips: dict[str, tuple[Samples, str]]
) -> None:
    for name, (_, words) in clips.items():
        [result] = model.generate(input=str(SAMPLES / name), **RELEASED)

        assert result["text"] == words


def test_silence_and_noise_are_no_words(model: AutoModel) -> None:
    rng = np.random.default_rng(0)
    for sound in (np.zeros(80_000), rng.normal(0, 0.01, 80_000), np.zeros(100), np.zeros(0)):
        assert through(model, [sound.astype(np.float32)]) == ()


def test_the_model_is_small_and_its_card_names_the_licences() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 16e6  # weights, and graphs of them
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert "CC BY 4.0" in card
    assert "CC BY-SA 4.0" in card


@pytest.fixture(scope="module")
def strings(shared: Path) -> Iterator[dict[str, list[SimpleNamespace]]]:
    """Joined words of people who were in no training, as benchmarks/accuracy.py has them."""
    folders = [str(ROOT / "examples" / "train_bundled"), str(ROOT / "benchmarks")]
    sys.path[:0] = folders
    try:
        import accuracy

        sets = accuracy.test_sets(accuracy.read_words(shared / "data", "test"))
        yield {name: some for name, some in sets.items() if name.startswith("strings")}
    finally:
        for folder in folders:
            sys.path.remove(folder)
        for name in ("accuracy", "words_data"):
            sys.modules.pop(name, None)


@pytest.mark.slow
def test_every_joined_string_has_the_same_words_and_times_at_any_cuts(
    model: AutoModel, strings: dict[str, list[SimpleNamespace]]
) -> None:
    rng = np.random.default_rng(0)
    for some in strings.values():
        for one in some:
            whole = through(model, [one.samples])

            assert through(model, random_pieces(one.samples, rng)) == whole


@pytest.mark.slow
def test_few_strings_lose_their_first_or_last_word(
    model: AutoModel, strings: dict[str, list[SimpleNamespace]]
) -> None:
    """A string has lost an end when its words are the true ones without the first or the last."""
    lost = {"first": 0, "last": 0}
    total = 0
    for name, some in strings.items():
        if "telephone" in name:
            continue
        for one in some:
            heard, truth = texts(through(model, [one.samples])), list(one.words)
            total += 1
            lost["first"] += heard == truth[1:]
            lost["last"] += heard == truth[:-1]

    assert total == 300
    # The recognition of a word cut by its clip's edge fails at times (the card says so), never the stream:
    # the test above has the same words from the whole clip in one call.
    assert lost["first"] <= 12
    assert lost["last"] <= 12


@pytest.mark.reference
def test_the_reference_loads_the_model_and_says_the_same_in_each_call(
    model: AutoModel, clips: dict[str, tuple[Samples, str]], reference_python: str, tmp_path: Path
) -> None:
    ours = []
    for number, (sound, _) in enumerate(clips.values()):
        soundfile.write(tmp_path / f"{number}.wav", sound, 16000, subtype="FLOAT")
        cache: dict[str, object] = {}
        for start in range(0, len(sound), 9600):
            piece = sound[start : start + 9600]
            final = start + 9600 >= len(sound)
            ours.append(model.generate(input=piece, cache=cache, is_final=final, **RELEASED)[0]["text"])
    script = f"""
import soundfile
from funasr import AutoModel
quiet = dict(disable_update=True, disable_pbar=True, log_level="ERROR")
model = AutoModel(model={str(FOLDER)!r}, device="cpu", **quiet)
for number in range({len(clips)}):
    sound, _ = soundfile.read(f"{tmp_path}/{{number}}.wav", dtype="float32")
    cache = {{}}
    for start in range(0, len(sound), 9600):
        final = start + 9600 >= len(sound)
        said = model.generate(input=sound[start : start + 9600], cache=cache, is_final=final, **{RELEASED!r})
        print("HEARD", said[0]["text"], flush=True)
"""
    run = subprocess.run([reference_python, "-c", script], capture_output=True, text=True, check=True)
    theirs = [line[6:] for line in run.stdout.splitlines() if line.startswith("HEARD ")]

    assert theirs == ours
