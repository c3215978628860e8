"""The bundled speaker model: small, official, and better than chance on people nobody trained on."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import soundfile

from funasr import AutoModel
from funasr.bin.inference import main
from funasr.speakers.thresholds import Thresholds

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "funasr" / "bundled" / "campplus-small"
RATE = 16000


@pytest.fixture(scope="module")
def model() -> AutoModel:
    return AutoModel(model="bundled-spk", device="cpu", disable_pbar=True)


@pytest.fixture(scope="module")
def examples() -> Iterator[None]:
    """The examples' modules import one another by their bare names."""
    folders = [str(ROOT / "examples" / name) for name in ("train_bundled", "conversation")]
    before = set(sys.modules)
    sys.path[:0] = folders
    yield
    for folder in folders:
        sys.path.remove(folder)
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(ROOT / "examples")):
            del sys.modules[name]


def test_a_voice_is_a_tensor_of_128_numbers(model: AutoModel) -> None:
    sound = np.random.default_rng(0).normal(0, 0.1, 2 * RATE).astype(np.float32)

    [record] = model.generate(input=sound, fs=RATE)

    assert tuple(record["spk_embedding"].shape) == (1, 128)


def test_the_model_is_small_has_a_card_and_brings_its_own_thresholds(model: AutoModel) -> None:
    assert (FOLDER / "campplus_small.bin").stat().st_size < 4.4e6
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert "CC BY 4.0" in card
    assert model.model.thresholds != Thresholds()


def test_people_who_were_in_no_training_are_told_apart(
    model: AutoModel, examples: None, shared: Path
) -> None:
    import speaker_data
    from speaker_trials import equal_error_rate, trial_scores

    _, _, people = speaker_data.read_readers(shared / "data")
    halves = [np.array_split(one.clips[0].astype(np.float32) / 32768, 2) for one in people]
    names = [one.name for one in people for _ in range(2)]

    voices = model.model.embed([half for pair in halves for half in pair])

    assert len(people) == 30
    assert equal_error_rate(*trial_scores(voices, names))[0] <= 0.15


def talk_of(shared: Path, seed: int) -> tuple[Any, Any]:
    module: ModuleType = __import__("make_talk")
    return module.make_talk(shared / "data", seed)


def turns_right(said: Any, sentences: list[dict[str, Any]]) -> int:
    """Turns of which every cue has the speaker that fits this person best."""
    names = sorted({turn.speaker for turn in said})
    heard = [
        {
            cue["spk"]
            for cue in sentences
            if min(cue["end"] / 1000, turn.end) - max(cue["start"] / 1000, turn.start) > 0.2
        }
        for turn in said
    ]
    labels = sorted({cue["spk"] for cue in sentences}) + [None] * len(names)
    return max(
        sum(found == {called[names.index(turn.speaker)]} for turn, found in zip(said, heard, strict=True))
        for called in permutations(labels, len(names))
    )


@pytest.mark.slow
def test_three_people_who_say_digits_in_turn_are_told_apart(examples: None, shared: Path) -> None:
    model = AutoModel(
        model="bundled-asr", vad_model="bundled-vad", spk_model="bundled-spk", disable_pbar=True
    )
    right = total = 0
    for seed in range(6):
        sound, said = talk_of(shared, seed)
        [record] = model.generate(input=sound, fs=RATE, preset_spk_num=3)
        right += turns_right(said, record["sentence_info"])
        total += len(said)

    assert right >= 0.6 * total


@pytest.mark.slow
def test_the_command_writes_subtitles_with_speakers_and_needs_no_network(
    examples: None, shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sound, said = talk_of(shared, 1)
    soundfile.write(tmp_path / "talk.wav", sound, RATE)

    status = main([str(tmp_path / "talk.wav"), "--spk", "--spk-num", "3", "-f", "json", "--offline", "-q"])

    record = json.loads(capsys.readouterr().out)
    assert status == 0
    cues = [{**cue, "spk": cue["speaker"]} for cue in record["segments"]]
    assert len({cue["spk"] for cue in cues}) == 3
    assert turns_right(said, cues) >= len(said) - 3


@pytest.mark.reference
def test_the_reference_hears_the_same_voices(model: AutoModel, reference_python: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    soundfile.write(tmp_path / "a.wav", rng.normal(0, 0.1, 5 * RATE).clip(-1, 1), RATE)
    script = (
        "import sys, numpy\n"
        "from funasr import AutoModel\n"
        "model = AutoModel(model=sys.argv[1], device='cpu', disable_update=True, disable_pbar=True)\n"
        "numpy.save(sys.argv[3], model.generate(input=sys.argv[2])[0]['spk_embedding'].cpu().numpy())\n"
    )
    paths = [str(FOLDER), str(tmp_path / "a.wav"), str(tmp_path / "voice.npy")]
    subprocess.run([reference_python, "-c", script, *paths], check=True, capture_output=True)

    [record] = model.generate(input=paths[1])

    np.testing.assert_allclose(record["spk_embedding"].numpy(), np.load(paths[2]), atol=1e-4)
