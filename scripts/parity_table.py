"""What the parts of scripts/parity.py share: asking upstream, and one table of what was compared."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

TOLERANCE = 1e-4
"""float32 sums in another order; relative where a value is above 1."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of the table: largest differences by name, and whether the decisions are the same."""

    model: str
    given: str
    """What both were given."""
    decisions: str
    """`=` at the end where all ids, labels or marks are equal."""
    numbers: Mapping[str, float] = field(default_factory=dict)
    results: str = ""
    """What AutoModel returned on both sides, key by key."""

    @property
    def fine(self) -> bool:
        close = all(value < TOLERANCE for value in self.numbers.values())
        return (
            close and (not self.decisions or self.decisions.endswith("=")) and "DIFFERS" not in self.results
        )


def same(name: str, ours: Any, theirs: Any) -> str:
    """`text =` or `text DIFFERS`."""
    return f"{name} {'=' if ours == theirs else 'DIFFERS'}"


def count_equal(ours: Sequence[Any], theirs: Sequence[Any]) -> str:
    """`17 =` or `2 of 17 differ`."""
    if len(ours) != len(theirs):
        return f"{len(ours)} for {len(theirs)}"
    wrong = sum(bool(a != b) for a, b in zip(ours, theirs, strict=True))
    return f"{len(theirs)} =" if not wrong else f"{wrong} of {len(theirs)} differ"


def largest(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Largest difference, as a share of values above 1; infinite where the shapes differ."""
    if ours.shape != theirs.shape:
        return float("inf")
    return float((np.abs(ours - theirs) / np.maximum(np.abs(theirs), 1)).max(initial=0))


def print_table(lines: Sequence[Line]) -> bool:
    """Print all lines and what to make of them -> whether everything is equal, and there was something."""
    if not lines:
        print("nothing was compared: give recordings with --audio")
        return False
    cells = [("model", "given", "decisions", "largest differences", "end to end")]
    for line in lines:
        numbers = " ".join(f"{name} {value:.0e}" for name, value in line.numbers.items())
        cells.append((line.model, line.given, line.decisions, numbers, line.results))
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    for row in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    worst = max((value for line in lines for value in line.numbers.values()), default=0.0)
    differing = [line for line in lines if not line.fine]
    said = (
        f"{len(differing)} of {len(lines)} lines DIFFER"
        if differing
        else f"all {len(lines)} lines equal everywhere"
    )
    print(f"\nlargest difference {worst:.1e}; {said}")
    return not differing


def ask_reference(
    worker: str, job: dict[str, Any], folder: Path
) -> Iterator[tuple[dict[str, np.ndarray], Any]]:
    """Upstream's arrays and results, one pair an item that the worker `module:function` gave.

    The worker runs under the reference's Python: it takes the job and yields (arrays, results).
    """
    python = os.environ.get("FUNASR_REFERENCE_PYTHON")
    if not python:
        raise SystemExit("set FUNASR_REFERENCE_PYTHON to a Python that has upstream funasr installed")
    path = folder / "job.json"
    path.write_text(json.dumps({**job, "worker": worker}))
    script = Path(__file__).with_name("parity.py")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}  # of ours
    done = subprocess.run(
        [python, str(script), "--worker", str(path)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"the reference failed at {worker}:\n{done.stderr[-2000:]}")
    for number in range(int((folder / "count").read_text())):
        with np.load(folder / f"{number}.npz") as arrays:
            yield dict(arrays), json.loads((folder / f"{number}.json").read_text())


def work(path: Path) -> None:
    """The other half of `ask_reference`, in the process that it started."""
    import importlib

    import torch

    job = json.loads(path.read_text())
    torch.set_num_threads(job["threads"])
    module, name = job["worker"].split(":")
    sys.path.insert(0, str(Path(__file__).parent))
    number = 0
    for arrays, results in getattr(importlib.import_module(module), name)(job):
        np.savez(path.parent / f"{number}.npz", **{key: np.asarray(value) for key, value in arrays.items()})
        (path.parent / f"{number}.json").write_text(json.dumps(results, default=_plain))
        number += 1
    (path.parent / "count").write_text(str(number))


def _plain(value: Any) -> Any:
    return value.tolist()


def upstream(model: str, **more: Any) -> Any:
    """Upstream's AutoModel, quiet. What `funasr` is depends on the interpreter."""
    import torch

    from funasr import AutoModel

    quiet = {"disable_update": True, "disable_pbar": True, "log_level": "ERROR"}
    return AutoModel(model=model, device="cpu", ncpu=torch.get_num_threads(), **quiet, **more)


def ours(model: Path | str, job: Mapping[str, Any], **more: Any) -> Any:
    """Our AutoModel, in as many threads as upstream's."""
    from funasr import AutoModel

    return AutoModel(model=str(model), device="cpu", ncpu=job["threads"], disable_pbar=True, **more)


def read_clips(clips: Sequence[Path], folder: Path) -> list[str]:
    """Recordings as 16 kHz arrays in files that both sides read."""
    import soundfile
    import soxr

    saved = []
    for number, clip in enumerate(clips):
        sound, rate = soundfile.read(clip, dtype="float32")
        sound = soxr.resample(sound if sound.ndim == 1 else sound.mean(axis=1), rate, 16000)
        np.save(folder / f"clip{number}.npy", sound)
        saved.append(str(folder / f"clip{number}.npy"))
    return saved
