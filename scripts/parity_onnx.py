"""Our `funasr_onnx` against upstream's: graphs of both exporters, in both runtimes.

    python scripts/parity_onnx.py --models DIR --audio a.wav ... [--size tiny] [--kind KIND] [--vad REAL_DIR]

DIR holds random model directories KIND-SIZE. Each is exported twice, by upstream's exporter and by ours, and
each export is run by upstream's package and by ours. What upstream's package says of upstream's graphs is
what the other three must say. FUNASR_REFERENCE_PYTHON names a Python with upstream's funasr and funasr_onnx.
Upstream's exporter has 512 channels written into SeACo and four layers into fsmn-vad, so those two want
--size full. REAL_DIR is a directory with a released fsmn-vad graph.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from parity_table import Line, ask_reference, count_equal, print_table, read_clips, same

Package = Any
Run = Callable[[Package, str, dict[str, Any], bool], list[Any]]


# ------------------------------------- what is asked of a package, ours or upstream's: one answer an item


def open_class(package: Package, name: str, folder: str, job: dict[str, Any], quantize: bool) -> Any:
    return getattr(package, name)(
        folder, batch_size=1, quantize=quantize, intra_op_num_threads=job["threads"]
    )


def run_paraformer(package: Package, folder: str, job: dict[str, Any], quantize: bool) -> list[Any]:
    model = open_class(package, "Paraformer", folder, job, quantize)
    return [model(clip)[0] for clip in job["wavs"]]


def run_seaco(package: Package, folder: str, job: dict[str, Any], quantize: bool) -> list[Any]:
    model = open_class(package, "SeacoParaformer", folder, job, quantize)
    answers = [model(clip, words)[0] for clip in job["wavs"] for words in ("", *job["hotwords"])]
    # Upstream's raw_tokens have the pieces of words that never end too; a random network writes many.
    return [{key: value for key, value in one.items() if key != "raw_tokens"} for one in answers]


def run_sense_voice(package: Package, folder: str, job: dict[str, Any], quantize: bool) -> list[Any]:
    model = open_class(package, "SenseVoiceSmall", folder, job, quantize)
    asked = [("auto", "woitn"), ("zh", "withitn"), ("en", "woitn")]
    return [model(clip, language=one, textnorm=norm)[0] for clip in job["wavs"] for one, norm in asked]


def run_vad(package: Package, folder: str, job: dict[str, Any], quantize: bool) -> list[Any]:
    """Whole recordings, then live ones in pieces."""
    model = open_class(package, "Fsmn_vad", folder, job, quantize)
    answers: list[Any] = [model(clip) for clip in job["wavs"]]
    live = open_class(package, "Fsmn_vad_online", folder, job, quantize)
    for clip in job["clips"]:
        samples, memory, told = np.load(clip), {"in_cache": []}, []
        for start in range(0, len(samples), 1600):
            memory["is_final"] = start + 1600 >= len(samples)
            told += live(samples[start : start + 1600], param_dict=memory)
        answers.append([pair for piece in told for pair in piece])
    return answers


def run_punctuation(package: Package, folder: str, job: dict[str, Any], quantize: bool) -> list[Any]:
    model = open_class(package, "CT_Transformer", folder, job, quantize)
    return [list(model(text)) for text in job["texts"]]


def run_live_punctuation(package: Package, folder: str, job: dict[str, Any], quantize: bool) -> list[Any]:
    model = open_class(package, "CT_Transformer_VadRealtime", folder, job, quantize)
    answers = []
    for start in range(0, len(job["texts"]), 3):
        memory: dict[str, Any] = {"cache": []}
        for text in job["texts"][start : start + 3]:
            said, marks, carried = model(text, param_dict=memory)
            # Upstream's words keep the blank before them.
            answers.append([said, list(marks), [word.strip() for word in carried]])
    return answers


def run_streaming(package: Package, folder: str, job: dict[str, Any], quantize: bool) -> list[Any]:
    import importlib

    online = importlib.import_module(f"{package.__name__}.paraformer_online_bin")
    model = open_class(online, "Paraformer", folder, job, quantize)
    answers = []
    for clip in job["clips"]:
        samples, memory, said = np.load(clip), {"cache": {}}, []
        for start in range(0, len(samples), 9600):
            memory["is_final"] = start + 9600 >= len(samples)
            for result in model(audio_in=samples[start : start + 9600], param_dict=memory):
                said += result["preds"][1]
        answers.append(said)
    return answers


KINDS: dict[str, Run] = {
    "paraformer": run_paraformer,
    "bicif-paraformer": run_paraformer,
    "seaco-paraformer": run_seaco,
    "paraformer-streaming": run_streaming,
    "sensevoice": run_sense_voice,
    "fsmn-vad": run_vad,
    "ct-punc-272727": run_punctuation,
    "ct-punc-streaming": run_live_punctuation,
}
FULL_ONLY = ("seaco-paraformer", "fsmn-vad")
"""Upstream's exporter knows no others than those of the released size."""


# ------------------------------------------------------------------------------------- upstream's half


def worker(job: dict[str, Any]) -> Iterator[tuple[dict[str, Any], Any]]:
    """Runs under the reference's Python. Exports where it is told to, then answers for each directory."""
    import funasr_onnx

    if job["export"]:
        export_upstream(job["export"])
    if job["kind"] == "ct-punc-streaming":
        see_the_past_only()
    if job["kind"] == "fsmn-vad":
        read_arrays_of_one_number()
    for folder in job["folders"]:
        yield {}, KINDS[job["kind"]](funasr_onnx, folder, job, False)


def export_upstream(folder: str) -> None:
    import torch
    from parity_table import upstream

    export = torch.onnx.export
    # Upstream leaves the choice to torch, whose exporter of today does not take what upstream gives it.
    torch.onnx.export = lambda *given, **more: export(*given, **{"dynamo": False, **more})
    upstream(folder).export(type="onnx", quantize=False, device="cpu")


def read_arrays_of_one_number() -> None:
    """Upstream's `Fsmn_vad` says int(array of one number), which numpy of today refuses."""
    import funasr_onnx.vad_bin

    funasr_onnx.vad_bin.int = lambda value: int(np.ravel(value)[0])


def see_the_past_only() -> None:
    """In upstream's runtime all layers see all words; in its torch, as trained, only the last one does."""
    from funasr_onnx.utils.utils import OrtInferSession

    call = OrtInferSession.__call__

    def causal(session: Any, given: Any, *more: Any) -> Any:
        ids, lengths, vad_masks, sub_masks = given
        return call(session, (ids, lengths, vad_masks, np.tril(np.ones_like(sub_masks))), *more)

    OrtInferSession.__call__ = causal


# ------------------------------------------------------------------------------------------ our half


def compare(kind: str, directory: Path, clips: Sequence[Path], threads: int) -> list[Line]:
    """Four runs of one directory: two exporters, two runtimes."""
    with tempfile.TemporaryDirectory() as made:
        work = Path(made)
        theirs, own = work / "theirs", work / "own"
        for copy in (theirs, own):
            shutil.copytree(directory, copy, ignore=shutil.ignore_patterns("*.onnx"))
        export = ["-m", "funasr.bin.export", f"++model={own}", "++quantize=false"]
        subprocess.run([sys.executable, *export], check=True, stdout=subprocess.DEVNULL)
        return compare_folders(kind, directory.name, [theirs, own], clips, threads, export=theirs)


def compare_folders(
    kind: str,
    name: str,
    folders: Sequence[Path],
    clips: Sequence[Path],
    threads: int,
    export: Path | None = None,
) -> list[Line]:
    """The first folder's graphs in upstream's package are what the others are compared with."""
    import funasr_onnx

    with tempfile.TemporaryDirectory() as made:
        work = Path(made)
        saved = read_clips(clips, work)
        job = {
            "kind": kind,
            "threads": threads,
            "clips": saved,
            "wavs": [as_wav(clip) for clip in saved],
            "folders": [str(folder) for folder in folders],
            "export": export and str(export),
            **material(folders[0]),
        }
        expected, *others = [answers for _, answers in ask_reference("parity_onnx:worker", job, work)]
        said = {
            f"their runtime, {folder.name}": answer
            for folder, answer in zip(folders[1:], others, strict=True)
        }
        for folder in folders:
            answers = KINDS[kind](funasr_onnx, str(folder), job, False)
            said[f"our runtime, {folder.name}"] = json.loads(json.dumps(answers, default=list))
    return [
        Line(
            model=name,
            given=f"{given} graphs, {len(expected)} answers",
            decisions=count_equal(answers, expected),
            results=same("everything", answers, expected),
        )
        for given, answers in said.items()
    ]


def as_wav(clip: str) -> str:
    import soundfile

    path = Path(clip).with_suffix(".wav")
    # As floats: both packages then read the samples of the array.
    soundfile.write(path, np.load(clip), 16000, subtype="FLOAT")
    return str(path)


def material(folder: Path) -> dict[str, Any]:
    """Texts and hotwords of words that the vocabulary has: upstream takes its last entry for all others."""
    if not (folder / "tokens.json").is_file():
        return {"texts": [], "hotwords": []}
    tokens = json.loads((folder / "tokens.json").read_text(encoding="utf-8"))
    rng = random.Random(0)
    characters = [token for token in tokens if len(token) == 1 and "\u4e00" <= token <= "\u9fa5"]
    texts = ["".join(rng.choices(characters, k=count)) for count in (2, 7, 19, 20, 21, 40, 90, 200, 400)]
    words = ["".join(rng.choices(characters, k=count)) for count in (2, 3, 4, 1, 5)]
    return {"texts": texts, "hotwords": [words[0], " ".join(words)]}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", type=Path)
    parser.add_argument("--audio", type=Path, nargs="+", default=[])
    parser.add_argument("--size", default="tiny", choices=["tiny", "full"])
    parser.add_argument("--kind", action="append", help="others than those here are left to parity.py")
    parser.add_argument("--vad", type=Path, help="a directory with a released graph")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(argv)
    lines: list[Line] = []
    every = [kind for kind in KINDS if options.size == "full" or kind not in FULL_ONLY]
    for kind in options.kind or ([] if options.vad else every):
        if kind not in KINDS:
            continue
        lines += compare(kind, options.models / f"{kind}-{options.size}", options.audio, options.threads)
    if options.vad:
        lines += compare_folders("fsmn-vad", "released", [options.vad], options.audio, options.threads)
    return 0 if print_table(lines) else 1


if __name__ == "__main__":
    sys.exit(main())
