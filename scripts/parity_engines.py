"""onnxruntime against torch: every exported model on real speech of 0.1 to 60 s, alone and in batches.

    python scripts/parity_engines.py --models DIR --audio a.wav b.wav ... [--size tiny] [--kind KIND]

DIR holds random model directories KIND-SIZE; Contextual and ERes2NetV2 are made here. Each is exported with
floats and with integers. Then both engines hear stretches of the recordings, one behind the other (read:
texts of made-up words): numbers are what comes out of the graphs beside what the networks say on the same
input, results what AutoModel returns. The recordings themselves are heard one by one, and all in one call.
The table is Markdown: docs/export.md has it.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from parity import make_contextual
from parity_companions import made_up
from parity_speakers import SEEDED_ERES, make_eres2netv2
from parity_table import largest, read_clips

SECONDS = (0.1, 0.5, 1, 5, 20, 60)
WORDS = (1, 3, 20, 200, 1000)
TOLERANCE = 1e-3
"""Of a number, and of a confidence."""
RATE = 16000
TRIED = 3
"""Recordings that the exporter tries its graphs out on; more follows here."""
BATCH = "all recordings in call "
KINDS = (
    "paraformer",
    "bicif-paraformer",
    "seaco-paraformer",
    "contextual-paraformer",
    "paraformer-streaming",
    "sensevoice",
    "fa-zh",
    "fsmn-vad",
    "ct-punc-272727",
    "ct-punc-471067",
    "ct-punc-streaming",
    "cam++",
    "eres2netv2",
)
CALLS: dict[str, list[dict[str, Any]]] = {
    "sensevoice": [{"language": "zh", "output_timestamp": True}, {"language": "auto", "use_itn": True}],
    "paraformer": [{"pred_timestamp": True}],
    "paraformer-streaming": [
        {},
        {"chunk_size": [0, 8, 4], "encoder_chunk_look_back": 4, "decoder_chunk_look_back": 1},
    ],
}
"""Options that are tried; none of other kinds. Where hotwords can be given, they are, in a further call."""


@dataclass
class Row:
    """One model."""

    name: str
    sizes: list[float] = field(default_factory=list)
    """MB of the weights, the graphs, and those with integers; 0 for none."""
    difference: float = 0.0
    """The largest one of a number."""
    wrong: list[str] = field(default_factory=list)
    """What is not equal."""
    heard: int = 0
    """Results that were compared: letters, times, labels, segments, confidences, voices."""
    agreement: float | None = None
    """With integers."""

    def compare(self, what: str, one: Sequence[dict[str, Any]], other: Sequence[dict[str, Any]]) -> None:
        """Records of two calls."""
        for index, (left, right) in enumerate(zip(one, other, strict=True)):
            if left.keys() != right.keys():
                self.wrong.append(f"{what}, {index}: {sorted(left)} and {sorted(right)}")
                continue
            for key in left:
                if key in ("confidence", "spk_embedding"):
                    distance = largest(_numbers(left[key]), _numbers(right[key]))
                    self.difference = max(self.difference, distance)
                    same = distance < TOLERANCE
                else:
                    same = str(left[key]) == str(right[key])
                self.heard += 1 if key in ("error", "spk_embedding") else len(left[key])
                if not same:
                    self.wrong.append(f"{what}, {index}: {key}: {left[key]} and {right[key]}"[:300])

    @property
    def line(self) -> str:
        fine = not self.wrong and self.difference < TOLERANCE
        sizes = [f"{size:.0f}" if size >= 10 else f"{size:.1f}" if size else "-" for size in self.sizes]
        kept = "-" if self.agreement is None else f"{self.agreement:.1%}"
        said = f"{self.heard} =" if fine else f"DIFFER: {len(self.wrong)}"
        return f"| {' | '.join((self.name, *sizes, f'{self.difference:.0e}', said, kept))} |"


def _numbers(value: Any) -> np.ndarray:
    """Of a list, an array or a tensor."""
    return np.asarray(value.tolist() if hasattr(value, "tolist") else value, dtype=np.float64)


# ---------------------------------------------------------------------------------------- what is heard


@dataclass(frozen=True, kw_only=True)
class Trial:
    """Inputs of one kind."""

    stretches: dict[str, Any]
    """By their length: recordings, texts, or pairs of both."""
    batch: list[Any]
    """Inputs of one call."""
    calls: list[dict[str, Any]]
    """Options."""


def trial_of(kind: str, directory: Path, clips: Sequence[Path], folder: Path) -> Trial:
    """The sounds are files in `folder`."""
    import soundfile

    calls = CALLS.get(kind, [{}])
    if kind.startswith("ct-punc"):
        tokens = json.loads((directory / "tokens.json").read_text(encoding="utf-8"))
        texts = {f"{count} words": made_up(tokens, count, seed) for seed, count in enumerate(WORDS)}
        return Trial(stretches=texts, batch=[made_up(tokens, 3 + 7 * n, n) for n in range(12)], calls=calls)
    saved = [np.load(path) for path in read_clips(clips, folder)]
    whole = np.concatenate(saved)
    sounds = {}
    for seconds in SECONDS:
        sounds[f"{seconds} s"] = path = folder / f"{seconds}.wav"
        # From where speech begins in most recordings.
        part = np.resize(np.roll(whole, -RATE // 2), int(seconds * RATE))
        soundfile.write(path, part, RATE, subtype="FLOAT")
    batch = []
    for number, clip in enumerate(saved):
        batch.append(folder / f"clip{number}.wav")
        soundfile.write(batch[-1], clip, RATE, subtype="FLOAT")
    if kind == "fa-zh":
        texts = [_spoken(directory, soundfile.info(path).duration) for path in (*sounds.values(), *batch)]
        pairs = list(zip((*map(str, sounds.values()), *map(str, batch)), texts, strict=True))
        named = dict(zip(sounds, pairs, strict=False))
        return Trial(stretches=named, batch=pairs[len(sounds) :], calls=[{"data_type": ("sound", "text")}])
    if kind in ("seaco-paraformer", "contextual-paraformer"):
        calls = [{}, {"hotword": " ".join(_spoken(directory, 4 * n + 1) for n in range(3))}]
    named = {length: str(path) for length, path in sounds.items()}
    return Trial(stretches=named, batch=[str(path) for path in batch], calls=calls)


def _spoken(directory: Path, seconds: float) -> str:
    """About three characters a second."""
    tokens = json.loads((directory / "tokens.json").read_text(encoding="utf-8"))
    listed = {line.split()[0] for line in (directory / "seg_dict").read_text("utf-8").splitlines()}
    characters = [one for one in tokens if one in listed and len(one) == 1 and one > "\u4e00"]
    rng = np.random.default_rng(int(seconds * 100))
    return "".join(rng.choice(characters, max(int(seconds * 3), 1)))


# ----------------------------------------------------------------------------------- how it is compared


def compare(kind: str, directory: Path, clips: Sequence[Path], threads: int) -> Row:
    """Export one model and try it out."""
    import torch

    from funasr import AutoModel
    from funasr.auto.export import export
    from funasr.auto.options import sort_options

    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory(prefix="parity-") as name:
        folder, out = Path(name), Path(name) / "out"
        trial = trial_of(kind, directory, clips, folder)
        given = trial.batch if kind.startswith("ct-punc") else list(map(str, clips[:TRIED]))
        how = {"quantize": True, "output_dir": out, "input": given}
        done = export(sort_options({"model": str(directory)}), how, tell=_tell)
        row = Row(name=directory.name, agreement=done.agreement)
        row.difference = max(file.difference or 0.0 for file in done.files)
        weights = next(path for path in directory.iterdir() if path.suffix in (".pt", ".bin", ".ckpt"))
        integers = [file.size for file in done.files if file.path.stem.endswith("_quant")]
        floats = sum(file.size for file in done.files) - sum(integers)
        row.sizes = [size / 1e6 for size in (weights.stat().st_size, floats, sum(integers))]

        row.difference = max(row.difference, compare_numbers(directory, out, trial, folder))
        common = {"device": "cpu", "ncpu": threads, "disable_pbar": True}
        network = AutoModel(model=str(directory), engine="torch", **common)
        wanted = list(answers(network, trial))
        del network
        graph = AutoModel(model=str(out), engine="onnx", **common)
        for (what, expected), (_, got) in zip(wanted, answers(graph, trial), strict=True):
            row.compare(what, expected, got)
            if what.startswith(BATCH):
                call = trial.calls[int(what.removeprefix(BATCH))]
                row.compare("alone", got, [_said(graph, [one], call)[0] for one in trial.batch])
    return row


def answers(model: Any, trial: Trial) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """(what was given, the records of one call)."""
    for number, call in enumerate(trial.calls):
        for length, given in trial.stretches.items():
            yield f"{length} {call or ''}", _said(model, [given], call)
        yield f"{BATCH}{number}", _said(model, trial.batch, call)


def _said(model: Any, given: Sequence[Any], call: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    """Of sounds, texts, or pairs of both; what is wrong with them is said in the same words."""
    from funasr.errors import InputError

    data = given if isinstance(given[0], str) else tuple(zip(*given, strict=True))
    try:
        return _unnamed(model.generate(input=data, **call, **more))
    except InputError as error:
        return [{"error": str(error)}] * len(given)


def _unnamed(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in record.items() if key != "key"} for record in records]


def compare_numbers(directory: Path, out: Path, trial: Trial, folder: Path) -> float:
    """The largest difference of a number that comes out of a graph, for each stretch."""
    from funasr.auto.options import LoadOptions
    from funasr.auto.torch_network import plain_network
    from funasr.errors import InputError
    from funasr.export.compare import Recorder, largest_difference
    from funasr.export.onnx import network_graphs
    from funasr.export.trials import Material
    from funasr.export.trials import trial_of as stage_of
    from funasr.modeldir import ModelDir
    from funasr_onnx.load import Graphs, load_network

    model = ModelDir.open(directory)
    stage, sizes = stage_of(model.model), []

    def opening(*widths: int) -> Any:
        sizes.append(widths)
        return load_network(ModelDir.open(out), graphs)

    largest_one = 0.0
    recorder = Recorder()
    graphs = Graphs(path=out, session=recorder.open, intra_op_num_threads=1)
    built = stage.build(model, opening)
    network = plain_network(model, LoadOptions(device="cpu"), *sizes[0]).eval()
    files = network_graphs(network)
    for length, given in trial.stretches.items():
        for calls in recorder.calls.values():
            calls.clear()
        sound, text = (given, "") if isinstance(given, str) else given
        texts = (sound,) if length.endswith("words") else (text,) if text else ()
        recordings = () if length.endswith("words") else (Path(sound),)
        with suppress(InputError):  # a tenth of a second has no voice
            stage.hear(built, Material(recordings=recordings, texts=texts))
        for graph in files:
            calls = recorder.calls.get(graph.name, [])
            if calls:  # a hotword encoder remembers what it has read, and too little sound is not looked at
                difference = largest_difference(graph, calls)
                _tell(f"{directory.name} {length}: {graph.name}.onnx {difference:.1e}, {len(calls)} calls")
                largest_one = max(largest_one, difference)
    return largest_one


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@contextmanager
def made(kind: str, models: Path, size: str) -> Iterator[Path]:
    """The directory of a kind, for as long as it takes."""
    makers: dict[str, Callable[[Path], Path]] = {
        "contextual-paraformer": partial(make_contextual, models / f"paraformer-{size}"),
        "eres2netv2": partial(make_eres2netv2, SEEDED_ERES[size]),
    }
    directory = models / f"{kind}-{size}"
    if directory.is_dir() or kind not in makers:
        yield directory
        return
    with tempfile.TemporaryDirectory(prefix="parity-") as folder:
        yield makers[kind](Path(folder) / directory.name)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--audio", type=Path, nargs="+", required=True)
    parser.add_argument("--size", action="append", choices=["tiny", "full"])
    parser.add_argument("--kind", action="append", help="others than those here are left to parity.py")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.ERROR)
    rows = []
    for size in options.size or ["tiny"]:
        for kind in [one for one in options.kind or KINDS if one in KINDS]:
            with made(kind, options.models, size) as directory:
                rows.append(compare(kind, directory, options.audio, options.threads))
            _tell(rows[-1].line)
    print("| model | weights, MB | model.onnx | int8 | largest difference | results | the same with int8 |")
    print("|---|---|---|---|---|---|---|")
    print("\n".join(row.line for row in rows))
    differing = [what for row in rows for what in row.wrong]
    print("\n".join(differing))
    far = [row.name for row in rows if not row.difference < TOLERANCE]
    print(f"{len(differing)} results differ; numbers differ by more than {TOLERANCE:g}: {far or 'none'}")
    return 1 if differing or far else 0


if __name__ == "__main__":
    sys.exit(main())
