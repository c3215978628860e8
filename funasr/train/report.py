"""What a run made of a model: error rates before and after, what changed, learning curves. Torch-free.

`report.md`, `report.json` and `curves.png` in the output directory of the run.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from funasr.errors import InputError, MissingDependencyError, OptionError
from funasr.modeldir import ModelDir
from funasr.train.curves import Curves, draw, read_curves
from funasr.train.evaluation import Evaluation, Scored, write_json
from funasr.train.manifest import write_records

START = "start.json"
LOG = "log.txt"
EXAMPLES = 10
"""How many utterances of a kind are shown."""


@dataclass(frozen=True, kw_only=True)
class Start:
    """What a run began with, kept in its output directory for the report."""

    model: str
    """The directory of the model."""
    weights: str | None
    """Its weights; None where the network was trained from scratch."""
    valid_data_set_list: str
    folder: str
    """Where the command ran: relative paths in lists begin there."""


def note_start(output: Path, directory: ModelDir) -> None:
    """Write the note, unless this run goes on from an earlier one, whose note then counts."""
    if (output / START).is_file() and (output / "model.pt").is_file():
        return
    start = Start(
        model=str(directory.path),
        weights=None if directory.weights is None else str(directory.weights),
        valid_data_set_list=os.path.abspath(str(directory.config["valid_data_set_list"])),
        folder=os.getcwd(),
    )
    write_json(output / START, asdict(start))


def read_start(output: Path) -> Start:
    """Raises InputError for a directory that no run of funasr-train wrote."""
    try:
        return Start(**json.loads((output / START).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"{output} has no {START} that can be read ({error}): it is not the output directory of a run "
            "of funasr-train"
        ) from error


@dataclass(frozen=True, kw_only=True)
class Change:
    """One utterance before and after."""

    key: str
    reference: str
    before: Scored
    after: Scored

    @property
    def gained(self) -> int:
        """Errors that went; less than 0 where there are more."""
        return self.before.errors.total - self.after.errors.total

    def record(self) -> dict[str, Any]:
        return {
            "key": self.key,
            "ref": self.reference,
            "before": self.before.heard,
            "after": self.after.heard,
            "errors_before": self.before.errors.total,
            "errors_after": self.after.errors.total,
        }


def changes(before: Evaluation, after: Evaluation) -> list[Change]:
    """The utterances both of which could be heard, in order."""
    pairs = zip(before.utterances, after.utterances, strict=True)
    return [
        Change(key=old.reference.key, reference=old.reference.text, before=old, after=new)
        for old, new in pairs
        if old.error is None and new.error is None
    ]


def write_report(
    output: Path,
    start: Start,
    evaluations: Mapping[str, Evaluation],
    *,
    notes: tuple[str, ...] = (),
) -> Path:
    """`evaluations`: `before` (unless there was nothing), `after`, and others by the names of their weights.

    Returns the path of report.md. Raises OptionError where nothing can be written.
    """
    curves = read_curves(output / LOG)
    drawn = False
    try:
        drawn = draw(curves, output / "curves.png")
    except MissingDependencyError as error:
        notes = (*notes, str(error))
    after, before = evaluations["after"], evaluations.get("before")
    moved = changes(before, after) if before is not None else []
    better = sorted((c for c in moved if c.gained > 0), key=lambda c: -c.gained)
    worse = sorted((c for c in moved if c.gained < 0), key=lambda c: c.gained)
    write_json(
        output / "report.json",
        {
            **asdict(start),
            "notes": notes,
            "evaluations": {name: one.summary() for name, one in evaluations.items()},
            "better": [c.record() for c in better],
            "worse": [c.record() for c in worse],
            "curves": asdict(curves),
        },
    )
    for name, one in (("before", before), ("after", after)):
        if one is not None:
            write_records(output / f"utterances.{name}.jsonl", [scored.record() for scored in one.utterances])
    parts = [
        f"# {output.resolve().name}",
        f"Begun from `{start.model}`{'' if start.weights else ', from scratch'}; evaluated on "
        f"`{start.valid_data_set_list}`: {len(after.utterances)} utterances, {after.audio_s:.0f} s.",
        *notes,
        _rates(evaluations),
    ]
    if before is not None:
        parts += [_verdict(before, after), "## What got better", _shown(better), "## What got worse"]
        parts += [_shown(worse)]
    parts += ["## What is still wrong", _still_wrong(after)]
    if drawn:
        parts += ["## Learning", f"{_last(curves)}\n\n![loss, accuracy and learning rate](curves.png)"]
    path = output / "report.md"
    try:
        path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    except OSError as error:
        raise OptionError(f"cannot write {path}: {error.strerror}") from error
    return path


def _rates(evaluations: Mapping[str, Evaluation]) -> str:
    metric = evaluations["after"].metric
    head = ["", metric, "units", "substituted", "deleted", "inserted", "utterances without error", "RTF"]
    rows = [head, ["---", *["---:"] * (len(head) - 1)]]
    for name, one in evaluations.items():
        errors, summary = one.errors, one.summary()
        rows.append(
            [
                name,
                percent(errors.rate),
                str(errors.units),
                str(errors.substitutions),
                str(errors.deletions),
                str(errors.insertions),
                f"{summary['utterances_right']} of {summary['utterances']}",
                "-" if one.rtf is None else f"{one.rtf:.3f}",
            ]
        )
    return _table(rows)


def _verdict(before: Evaluation, after: Evaluation) -> str:
    old, new = before.errors.rate, after.errors.rate
    said = f"{after.metric} went from {percent(old)} to {percent(new)}"
    if old and new is not None:
        said += f", {abs(1 - new / old):.0%} {'fewer' if new <= old else 'more'} errors"
    return f"**{said}.**"


def _shown(some: list[Change]) -> str:
    if not some:
        return "Nothing."
    rows = [["key", "said", "before", "after"], ["---"] * 4]
    rows += [[c.key, c.reference, c.before.heard, c.after.heard] for c in some[:EXAMPLES]]
    more = f"\n\nand {len(some) - EXAMPLES} more" if len(some) > EXAMPLES else ""
    return _table(rows) + more


def _still_wrong(after: Evaluation) -> str:
    wrong = sorted((one for one in after.scored if one.errors.total), key=lambda one: -one.errors.total)
    failed = [f"{one.reference.key}: {one.error}" for one in after.failed]
    if not wrong and not failed:
        return "Nothing."
    parts = []
    if wrong:
        rows = [["key", "said", "heard"], ["---"] * 3]
        rows += [[one.reference.key, one.reference.text, one.heard] for one in wrong[:EXAMPLES]]
        frequent = ", ".join(
            f"{said or '-'} > {heard or '-'} ({n})" for said, heard, n in after.confusions(5)
        )
        parts += [_table(rows), f"Most frequent errors: {frequent}"]
    if failed:
        parts.append("Could not be used: " + "; ".join(failed[:EXAMPLES]))
    return "\n\n".join(parts)


def _last(curves: Curves) -> str:
    """Where the curves end, in words."""
    if not curves.val:
        return f"{curves.train[-1].step} batches."
    best = max(curves.val, key=lambda point: point.acc if point.acc is not None else float("-inf"))
    said = f"{curves.val[-1].step} batches."
    if best.acc is not None:
        said += f" Best accuracy in validation: {best.acc:.3f} after {best.step}."
    return said


def _table(rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)


def percent(rate: float | None) -> str:
    """A rate as a table shows it."""
    return "-" if rate is None else f"{rate:.2%}"
