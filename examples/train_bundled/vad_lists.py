"""Clips of speech -> recordings with pauses, and lists of where speech is in them: data for vad.yaml.

    python examples/train_bundled/vad_lists.py --data ../shared/data --out vad
    funasr-train --config-path examples/train_bundled --config-name vad ++model=FsmnVADStreaming \
        ++train_data_set_list=vad/train.jsonl ++valid_data_set_list=vad/val.jsonl ++output_dir=exp \
        ++dataset_conf.noise_list=vad/noise.scp ++dataset_conf.rir_list=vad/rir.scp

Recordings are laid out as `vad_data.py` does it and stay clean: funasr-train adds noise and rooms.
The released fsmn-vad says where speech is.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray
from train_vad import SEED, load_teacher
from vad_data import NOISE, RATE, Corpus, Teacher, lay_out, read_corpora

SPEECH = 0.2
"""Silence that is less likely than this is speech, as the endpointer asks."""
FRAME_MS = 10


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with asr/, speaker/, noise_rir/, models/"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the recordings and lists")
    parser.add_argument("--recordings", type=int, default=3000)
    options = parser.parse_args(argv)
    teacher = load_teacher(options.data / "models" / "fsmn-vad-official")
    train, valid = read_corpora(options.data)
    write_list(options.out, "train", train, teacher, options.recordings)
    write_list(options.out, "val", valid, teacher, max(10, options.recordings // 20))
    write_sounds(options.data / NOISE, options.out)
    return 0


def write_list(folder: Path, name: str, corpus: Corpus, teacher: Teacher, count: int) -> None:
    """`count` recordings of 6 to 14 s, and `name`.jsonl."""
    (folder / name).mkdir(parents=True, exist_ok=True)
    with open(folder / f"{name}.jsonl", "w", encoding="utf-8") as lines:
        for index in range(count):
            rng = np.random.default_rng((SEED, int(name == "train"), index))
            sound = lay_out(corpus, int(rng.uniform(6, 14) * RATE), rng)
            # Room hiss: the teacher has never heard digital silence.
            sound = sound + np.float32(10 ** rng.uniform(-4.5, -3.3)) * rng.standard_normal(
                len(sound), dtype=np.float32
            )
            path = folder / name / f"{index:05}.flac"
            soundfile.write(path, sound, RATE)
            line = {"key": f"{name}-{index:05}", "source": str(path), "source_len": len(sound) * 100 // RATE}
            line["segments"] = segments(teacher(sound))
            lines.write(json.dumps(line) + "\n")


def segments(silence: NDArray[np.float32]) -> list[list[int]]:
    """Probability of silence (T,) -> [start_ms, end_ms] of each run of frames with speech."""
    spoken = np.concatenate([[False], silence <= SPEECH, [False]])
    edges = np.flatnonzero(spoken[1:] != spoken[:-1])
    # A frame counts where its middle is: 12.5 ms behind its start.
    return [[int(start) * FRAME_MS + 10, int(end) * FRAME_MS + 10] for start, end in edges.reshape(-1, 2)]


def write_sounds(noises: Path, folder: Path) -> None:
    """noise.scp and rir.scp."""
    rows = [line.split(maxsplit=1) for line in (noises / "wav.scp").read_text(encoding="utf-8").splitlines()]
    for name in ("noise", "rir"):
        found = [f"{key} {(noises / path).resolve()}\n" for key, path in rows if key.startswith(name)]
        (folder / f"{name}.scp").write_text("".join(found), encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
