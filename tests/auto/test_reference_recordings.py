"""The live oracle: SenseVoice, its pipeline and the aligner on real recordings, beside the reference."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from funasr import AutoModel
from tests.small_dirs import GOLDEN, make_aligner, make_sense_voice, seeded_dirs

OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"language": "zh"},
    {"language": "en", "use_itn": True},
    {"text_norm": "withitn"},
)
"""As in hear_reference.py."""

PAIR = ("sound", "text")


def recordings(shared: Path) -> list[np.ndarray]:
    """Clips of 16 kHz and at most 40 s."""
    clips = []
    for path in sorted((shared / "data" / "asr").glob("test_[ez][nh]/wavs/*.wav")):
        samples, rate = soundfile.read(path, dtype="float32")
        if rate == 16000 and samples.ndim == 1 and len(samples) < 40 * rate:
            clips.append(samples)
    return clips[:12]


def text_for(clip: np.ndarray, seed: int) -> str:
    rng = np.random.default_rng(seed)
    words = [word for word, pieces in seeded_dirs.SEG_DICT.items() if "<unk>" not in pieces]
    return " ".join(rng.choice(words, max(int(len(clip) / 16000 * rng.uniform(0.5, 4)), 1)))


@pytest.mark.reference
def test_recordings_give_the_reference_texts_and_times(
    shared: Path, reference_python: str, tmp_path: Path
) -> None:
    clips = recordings(shared)
    assert len(clips) > 5
    texts = [text_for(clip, seed) for seed, clip in enumerate(clips)]
    for number, clip in enumerate(clips):
        np.save(tmp_path / f"{number}.npy", clip)
    job = {
        "sense_voice": str(make_sense_voice(tmp_path / "sense")),
        "aligner": str(make_aligner(tmp_path / "fa")),
        "vad": str(shared / "data" / "models" / "fsmn-vad-official"),
        "clips": [str(tmp_path / f"{number}.npy") for number in range(len(clips))],
        "texts": texts,
    }
    (tmp_path / "job.json").write_text(json.dumps(job))
    script = str(GOLDEN / "hear_reference.py")
    subprocess.run(
        [reference_python, script, str(tmp_path / "job.json"), str(tmp_path / "result.json")],
        check=True,
        capture_output=True,
    )
    wanted = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))

    sense = AutoModel(model=job["sense_voice"], device="cpu")
    for number, given in enumerate(OPTIONS):
        records = sense.generate(input=clips, **given)  # in one call here, one by one there
        assert [record["text"] for record in records] == [heard[number] for heard in wanted["heard"]]

    detecting = AutoModel(
        model=job["sense_voice"], vad_model=job["vad"], vad_kwargs={"dynamic_silence": False}, device="cpu"
    )
    assert detecting.generate(input=np.concatenate(clips))[0]["text"] == wanted["whole"]

    aligner = AutoModel(model=job["aligner"], device="cpu")
    records = aligner.generate(input=(clips, texts), data_type=PAIR)
    for record, (text, timestamp) in zip(records, wanted["aligned"], strict=True):
        assert record["text"] == text
        # Nothing was said before the recording began.
        assert record["timestamp"] == [[max(start, 0), max(end, 0)] for start, end in timestamp]
