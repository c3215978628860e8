"""What the reference makes of real recordings with the small seeded networks: run with its Python.

    PYTHON_OF_THE_REFERENCE tests/golden/hear_reference.py JOB.json RESULT.json

A job has directories of models (`sense_voice`, `aligner`, `vad`), `clips` (.npy, 16 kHz), and for each clip a
`text` that was not said in it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch

from funasr import AutoModel

OPTIONS = ({}, {"language": "zh"}, {"language": "en", "use_itn": True}, {"text_norm": "withitn"})


def open_model(**options: object) -> AutoModel:
    return AutoModel(
        device="cpu", ncpu=1, disable_update=True, disable_pbar=True, log_level="ERROR", **options
    )


def main(job_path: str, result_path: str) -> None:
    torch.set_num_threads(1)
    job = json.loads(Path(job_path).read_text())
    clips = [np.load(clip) for clip in job["clips"]]
    sense = open_model(model=job["sense_voice"])
    heard = [[sense.generate(input=clip, **given)[0]["text"] for given in OPTIONS] for clip in clips]
    detecting = open_model(
        model=job["sense_voice"], vad_model=job["vad"], vad_kwargs={"dynamic_silence": False}
    )
    whole = detecting.generate(input=np.concatenate(clips))[0]["text"]
    aligner = open_model(model=job["aligner"])
    aligned = []
    for clip, text in zip(clips, job["texts"], strict=True):
        record = aligner.generate(input=(clip, text), data_type=("sound", "text"))[0]
        aligned.append([record["text"], record["timestamp"]])
    result = {"heard": heard, "whole": whole, "aligned": aligned}
    Path(result_path).write_text(json.dumps(result, ensure_ascii=False), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
