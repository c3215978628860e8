"""Golden texts of a small ParaformerStreaming, call by call, computed by the reference: run with its Python.

    PYTHON_OF_THE_REFERENCE tests/golden/make_live_words.py

Reference: funasr 1.4.16, torch 2.13, CPU. Writes live_words/calls.json: for every setting the options of a
call, the seconds and seed of a sound, how many samples its last call has, and the text of each call; and for
some the text of the whole sound as a file.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import seeded  # noqa: E402
import seeded_dirs  # noqa: E402
import soundfile  # noqa: E402

from funasr import AutoModel  # noqa: E402
from funasr.register import tables  # noqa: E402

OPTIONS = (
    {"chunk_size": [0, 10, 5], "encoder_chunk_look_back": 4, "decoder_chunk_look_back": 1},
    {"chunk_size": [0, 8, 4], "encoder_chunk_look_back": 4, "decoder_chunk_look_back": 1},
    {"chunk_size": [5, 10, 5], "encoder_chunk_look_back": 4, "decoder_chunk_look_back": 1},
    {"chunk_size": [0, 10, 5], "encoder_chunk_look_back": -1, "decoder_chunk_look_back": -1},
    {"chunk_size": [0, 10, 5]},
    {},
)
LAST = (0, 1, 500, 959, 960, 1500, 5000, -1)
"""Samples in the last call; -1 is a whole stride."""


def shapes() -> dict[str, tuple[int, ...]]:
    config = seeded_dirs.streaming_config()
    sizes = {"vocab_size": len(seeded_dirs.TOKENS), "input_size": seeded.INPUT}
    model = tables.model_classes["ParaformerStreaming"](**{**config["model_conf"], **config, **sizes})
    return {name: tuple(value.shape) for name, value in model.state_dict().items()}


def calls(sound: np.ndarray, stride: int) -> list[np.ndarray]:
    """Strides, the last of them perhaps shorter."""
    return [sound[start : start + stride] for start in range(0, len(sound), stride)]


def main() -> None:
    torch.set_num_threads(1)
    cases = []
    with tempfile.TemporaryDirectory() as folder:
        directory = seeded_dirs.write_streaming(Path(folder) / "model", shapes())
        model = AutoModel(
            model=str(directory),
            device="cpu",
            ncpu=1,
            disable_update=True,
            disable_pbar=True,
            log_level="ERROR",
        )
        for number, options in enumerate(OPTIONS):
            stride = options.get("chunk_size", [0, 10, 5])[1] * 960
            for last in LAST:
                seed = 10 * number + LAST.index(last)
                whole = seeded_dirs.tones(0.06 * (stride // 960) * (5 + number), seed)
                sound = whole if last < 0 else whole[: len(whole) - stride + last]
                pieces = calls(sound, stride) + ([sound[:0]] if last == 0 else [])
                cache: dict[str, object] = {}
                texts = [
                    model.generate(input=piece, cache=cache, is_final=i == len(pieces) - 1, **options)[0][
                        "text"
                    ]
                    for i, piece in enumerate(pieces)
                ]
                path = Path(folder) / "sound.wav"
                soundfile.write(path, sound, 16000, subtype="FLOAT")
                file = model.generate(input=str(path), **options)[0]["text"]
                cases.append(
                    {
                        "options": options,
                        "seed": seed,
                        "seconds": len(whole) / 16000,
                        "last": last,
                        "texts": texts,
                        "file": file,
                    }
                )
    (HERE / "live_words").mkdir(exist_ok=True)
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
    (HERE / "live_words" / "calls.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
