"""Run by the reference's python: its funasr_onnx, its exporter, and sherpa-onnx, on model directories.

usage: python run_exported.py JOB.json RESULT.json. The job has `directories` (class name -> model directory
with ONNX files), `export` (class name -> directory with weights, to export in place), `wavs`, and for
sherpa-onnx `words` (a directory) and `spoken`. The result has `texts` by class, and `sherpa`.
"""

from __future__ import annotations

import functools
import json
import sys
from pathlib import Path
from typing import Any

HOTWORDS = "好天 今气 a"


def texts(name: str, folder: str, wavs: list[str]) -> list[str]:
    import funasr_onnx

    model = getattr(funasr_onnx, name.replace("BiCif", ""))(folder, batch_size=1, intra_op_num_threads=1)
    given = {"hotwords": HOTWORDS} if name in ("SeacoParaformer", "ContextualParaformer") else {}
    said = []
    for wav in wavs:
        [heard] = model([wav], **given)
        preds = heard["preds"]
        said.append(preds if isinstance(preds, str) else preds[0])
    return said


def export(folder: str) -> None:
    import torch

    from funasr import AutoModel

    # Its exporter passes dynamic_axes to torch's new one, which wants dynamic_shapes.
    torch.onnx.export = functools.partial(torch.onnx.export, dynamo=False)
    AutoModel(model=folder, device="cpu", disable_update=True, disable_pbar=True).export(type="onnx")


def sherpa(folder: str, wavs: list[str]) -> dict[str, list[str]]:
    import sherpa_onnx
    import soundfile

    said: dict[str, list[str]] = {}
    for graph in ("model", "model_quant"):
        recognizer = sherpa_onnx.OfflineRecognizer.from_paraformer(
            paraformer=f"{folder}/{graph}.onnx", tokens=f"{folder}/tokens.txt", num_threads=1
        )
        said[graph] = []
        for wav in wavs:
            samples, rate = soundfile.read(wav, dtype="float32")
            stream = recognizer.create_stream()
            stream.accept_waveform(rate, samples)
            recognizer.decode_stream(stream)
            said[graph].append(stream.result.text)
    return said


def main(job: dict[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {"texts": {}}
    for folder in job["export"].values():
        export(folder)
    for name, folder in job["directories"].items():
        result["texts"][name] = texts(name, folder, job["wavs"])
    if job.get("words"):
        result["sherpa"] = sherpa(job["words"], job["spoken"])
    return result


if __name__ == "__main__":
    done = main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    Path(sys.argv[2]).write_text(json.dumps(done, ensure_ascii=False), encoding="utf-8")
