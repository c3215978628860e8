"""A test list and a recognizer -> what was heard in each utterance, error rates, and the time it took.

Torch-free: the recognizer is whatever turns items into transcripts, such as `AutoModel.transcribe`.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from funasr.audio.inputs import Item
from funasr.download import is_url
from funasr.errors import InputError, OptionError
from funasr.result import Transcript
from funasr.text.scoring import (
    Errors,
    Normalization,
    Step,
    Unit,
    align,
    count,
    is_character,
    metric_of,
    split_units,
)
from funasr.train.check import manifest_paths
from funasr.train.manifest import join_lists, read_records, write_records

Transcribe: TypeAlias = Callable[[list[Item]], Iterable[Transcript]]
"""One transcript an item, in order; a sound that cannot be used gives one with `error`."""

SHORT = {"equal": "=", "substitute": "S", "delete": "D", "insert": "I"}
"""Operations as the per-utterance file writes them."""
CONFUSIONS = 10
"""How many of the most frequent errors a summary names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """One utterance to hear, and its true text."""

    key: str
    source: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """What test lists hold."""

    references: tuple[Reference, ...]
    faults: tuple[str, ...] = ()
    """A sentence for each line that cannot be used."""


def read_test_set(
    data: Sequence[str | Path], *, text: str | Path | None = None, beside: Path | None = None
) -> Listed:
    """`["test.jsonl", ...]` (or files that list some), or `["wav.scp"]` and a `text` with the same keys.

    A relative path of a sound starts at the working directory or, where there is no such file, at `beside`
    or beside its list. Raises InputError for a list that cannot be read, and for one without any utterance.
    """
    references: list[Reference] = []
    faults: list[str] = []
    if text is None and len(data) == 1 and Path(data[0]).suffix == ".scp":
        raise OptionError(f"{data[0]} is a list of sounds: their texts are missing. Add ++text=text.txt")
    if text is not None:
        if len(data) != 1:
            raise OptionError(f"text= goes with one list of sounds, not with {len(data)}")
        joined = join_lists({"source": Path(data[0]), "target": Path(text)})
        faults += joined.left_out
        references += [
            Reference(
                key=r["key"], source=_found(r["source"], beside, Path(data[0]).parent), text=r["target"]
            )
            for r in joined.records
            if "target" in r
        ]
    for path in [] if text is not None else [path for given in data for path in manifest_paths(given)]:
        for number, record in read_records(path):
            source, target = record.get("source"), record.get("target")
            where = f"{path}, line {number}"
            if not isinstance(source, str) or not source:
                faults.append(f"{where}: no 'source'")
            elif not isinstance(target, str):
                faults.append(f"{where}: no 'target'")
            else:
                key = str(record.get("key") or f"utt_{number}")
                references.append(Reference(key=key, source=_found(source, beside, path.parent), text=target))
    if not references:
        said = "; ".join(faults[:3]) or "there are no lines"
        raise InputError(f"{', '.join(map(str, data))}: nothing to evaluate with: {said}")
    return Listed(references=tuple(references), faults=tuple(faults))


def _found(source: str, *folders: Path | None) -> str:
    if not is_url(source) and not Path(source).exists():
        for folder in folders:
            if folder is not None and (folder / source).exists():
                return str(folder / source)
    return source


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """What was heard in one utterance."""

    reference: Reference
    heard: str
    steps: tuple[Step, ...] = ()
    """Empty where the sound could not be used."""
    audio_ms: int = 0
    error: str | None = None
    """Why the sound could not be used, or not all of it."""

    @property
    def errors(self) -> Errors:
        return count(self.steps)

    def record(self) -> dict[str, Any]:
        """A line of the per-utterance file."""
        errors = self.errors
        line: dict[str, Any] = {
            "key": self.reference.key,
            "ref": self.reference.text,
            "hyp": self.heard,
            "errors": errors.total,
            "units": errors.units,
            "substitutions": errors.substitutions,
            "deletions": errors.deletions,
            "insertions": errors.insertions,
            "alignment": [[SHORT[step.operation], step.reference, step.heard] for step in self.steps],
            "audio_s": self.audio_ms / 1000,
            "source": self.reference.source,
        }
        return line if self.error is None else line | {"error": self.error}


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The results for a test set."""

    utterances: tuple[Scored, ...]
    """In the order of the set; those with `error` are in no count."""
    processing_s: float
    unit: Unit = "auto"
    normalization: Normalization = field(default_factory=Normalization)

    @property
    def scored(self) -> tuple[Scored, ...]:
        return tuple(one for one in self.utterances if one.error is None)

    @property
    def failed(self) -> tuple[Scored, ...]:
        return tuple(one for one in self.utterances if one.error is not None)

    @property
    def steps(self) -> tuple[Step, ...]:
        return tuple(step for one in self.scored for step in one.steps)

    @property
    def errors(self) -> Errors:
        return count(self.steps)

    @property
    def metric(self) -> str:
        """CER, WER or MER."""
        return metric_of(self.steps, self.unit)

    @property
    def audio_s(self) -> float:
        return sum(one.audio_ms for one in self.utterances) / 1000

    @property
    def rtf(self) -> float | None:
        """Seconds of work for a second of sound; loading the model is not in it."""
        return self.processing_s / self.audio_s if self.audio_s else None

    @property
    def by_kind(self) -> dict[str, Errors]:
        """The errors of a mixed text, those in characters and in words apart."""
        groups: dict[str, list[Step]] = {"characters": [], "words": []}
        for step in self.steps:
            groups["characters" if is_character(step.reference or step.heard) else "words"].append(step)
        return {kind: count(steps) for kind, steps in groups.items()}

    def confusions(self, most: int = CONFUSIONS) -> list[tuple[str, str, int]]:
        """(said, heard, how often) of the most frequent errors; what was inserted or deleted is ""."""
        wrong = Counter((s.reference, s.heard) for s in self.steps if s.operation != "equal")
        return [(said, heard, times) for (said, heard), times in wrong.most_common(most)]

    def summary(self) -> dict[str, Any]:
        """The totals, as JSON has them."""
        right = sum(one.errors.total == 0 for one in self.scored)
        totals: dict[str, Any] = {
            "metric": self.metric,
            "error_rate": self.errors.rate,
            **_counts(self.errors),
            "utterances": len(self.scored),
            "utterances_right": right,
            "failed": len(self.failed),
            "audio_s": round(self.audio_s, 3),
            "processing_s": round(self.processing_s, 3),
            "rtf": None if self.rtf is None else round(self.rtf, 5),
            "unit": self.unit,
            "normalization": asdict(self.normalization),
            "confusions": [list(one) for one in self.confusions()],
        }
        if totals["metric"] == "MER":
            totals["by_kind"] = {
                kind: {"error_rate": errors.rate, **_counts(errors)} for kind, errors in self.by_kind.items()
            }
        return totals


def _counts(errors: Errors) -> dict[str, int]:
    return {"units": errors.units, **asdict(errors)}


def evaluate(
    references: Sequence[Reference],
    transcribe: Transcribe,
    *,
    unit: Unit = "auto",
    normalization: Normalization | None = None,
) -> Evaluation:
    """Hear every utterance and count what is wrong. Raises MissingDependencyError without jiwer."""
    align((), ())  # what is missing is said now, and not after an hour of recognition
    normalization = normalization or Normalization()
    items = [Item(key=reference.key, source=reference.source) for reference in references]
    began = time.perf_counter()
    transcripts = list(transcribe(items))
    seconds = time.perf_counter() - began
    scored: list[Scored] = []
    for reference, transcript in zip(references, transcripts, strict=True):
        heard = transcript.text_of(0, len(transcript.tokens))  # without tags
        steps: tuple[Step, ...] = ()
        if transcript.error is None:
            said = split_units(reference.text, normalization, unit=unit)
            steps = align(said, split_units(heard, normalization, unit=unit))
        scored.append(
            Scored(
                reference=reference,
                heard=heard,
                steps=steps,
                audio_ms=transcript.duration_ms,
                error=transcript.error,
            )
        )
    return Evaluation(utterances=tuple(scored), processing_s=seconds, unit=unit, normalization=normalization)


def write_evaluation(evaluation: Evaluation, folder: Path, about: dict[str, Any]) -> None:
    """`utterances.jsonl`, a line each in the order of the list, and `summary.json`: `about` and the totals.

    Raises OptionError where nothing can be written.
    """
    write_records(folder / "utterances.jsonl", [one.record() for one in evaluation.utterances])
    write_json(folder / "summary.json", {**about, **evaluation.summary()})


def write_json(path: Path, value: Any) -> None:
    """Raises OptionError where nothing can be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise OptionError(f"cannot write {path}: {error.strerror}") from error
