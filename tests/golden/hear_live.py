"""What the reference makes of real recordings as live streams, call by call: run with its Python.

    PYTHON_OF_THE_REFERENCE tests/golden/hear_live.py JOB.json RESULT.json

A job has the directory of a `model`, `clips` (.npy, 16 kHz) and a list of `options` of a call. The result has
for each clip and options the text of each call.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch

from funasr import AutoModel


def main(job_path: str, result_path: str) -> None:
    torch.set_num_threads(1)
    job = json.loads(Path(job_path).read_text())
    model = AutoModel(
        model=job["model"],
        device="cpu",
        ncpu=1,
        disable_update=True,
        disable_pbar=True,
        log_level="ERROR",
    )
    heard = []
    for clip in job["clips"]:
        sound = np.load(clip)
        for options in job["options"]:
            stride = options["chunk_size"][1] * 960
            count = (len(sound) - 1) // stride + 1
            cache: dict[str, object] = {}
            texts = []
            for i in range(count):
                piece = sound[i * stride : (i + 1) * stride]
                [record] = model.generate(input=piece, cache=cache, is_final=i == count - 1, **options)
                texts.append(record["text"])
            heard.append(texts)
    Path(result_path).write_text(json.dumps(heard, ensure_ascii=False), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
