"""`funasr-train --report DIR`: the models before and after a run, heard on its validation set."""

from __future__ import annotations

import logging
from pathlib import Path

from funasr.errors import FunASRError
from funasr.text.scoring import align
from funasr.train.evaluation import Evaluation, Transcribe, evaluate, read_test_set
from funasr.train.report import Start, percent, read_start, write_report

logger = logging.getLogger(__name__)


def require_report() -> None:
    """Raises MissingDependencyError now for what a report at the end of a run would miss."""
    align((), ())


def make_report(output: Path, *, device: str = "auto") -> Path:
    """Evaluate what the run began with, what it wrote, and the mean of its best; returns the report's path.

    Raises InputError for a directory that is not a run's.
    """
    start = read_start(output)
    test_set = read_test_set([start.valid_data_set_list], beside=Path(start.folder))
    notes = [f"Left out: {fault}" for fault in test_set.faults]
    evaluations: dict[str, Evaluation] = {}
    for name, (model, weights) in _models(output, start).items():
        try:
            evaluations[name] = evaluate(test_set.references, _transcriber(model, weights, device))
        except FunASRError as error:
            if name == "after":
                raise
            # What a run began with may be gone, or of another vocabulary.
            notes.append(f"No figures for {name}: {error}")
            continue
        one = evaluations[name]
        logger.info("%s: %s %s on %s", name, one.metric, percent(one.errors.rate), start.valid_data_set_list)
    return write_report(output, start, evaluations, notes=tuple(notes))


def _models(output: Path, start: Start) -> dict[str, tuple[Path, Path | None]]:
    """(directory, weights) by the name that the report gives them."""
    models: dict[str, tuple[Path, Path | None]] = {}
    if start.weights is not None:
        models["before"] = (Path(start.model), Path(start.weights))
    models["after"] = (output, None)
    for path in sorted(output.glob("model.pt.avg*")):
        if path.suffix.removeprefix(".avg").isdigit():
            models[path.name] = (output, path)
    return models


def _transcriber(model: Path, weights: Path | None, device: str) -> Transcribe:
    from funasr.auto.auto_model import AutoModel

    chosen = {} if weights is None else {"init_param": str(weights)}
    return AutoModel(model=str(model), device=device, disable_pbar=True, **chosen).transcribe
