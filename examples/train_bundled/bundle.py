"""What the recipes of the bundled models share: where their data is, and what comes into the package."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from funasr.config import load_yaml, merge, options, section
from funasr.errors import OptionError
from funasr.nn.weights import read_checkpoint
from funasr.train.trainer import Trainer

NETWORK = (
    "model",
    "model_conf",
    "encoder",
    "encoder_conf",
    "decoder",
    "decoder_conf",
    "predictor",
    "predictor_conf",
    "frontend",
    "frontend_conf",
    "specaug",
    "specaug_conf",
    "tokenizer",
    "tokenizer_conf",
    "spk_conf",
)
"""What of the settings of a run says how to use what came of it."""


@dataclass(frozen=True, kw_only=True)
class Setup:
    """The section `own` of a recipe, `++own.name=value` on the command line."""

    data: str = ""
    """The folder with asr/, speaker/, noise_rir/, text/ and models/, as far as the model needs them."""
    out: str = ""
    """The finished model directory; `model` in the output directory where nothing is said."""

    def __post_init__(self) -> None:
        if not Path(self.data).is_dir() or not self.data:
            raise OptionError(
                f"own.data is {self.data!r}: give the folder with the recordings, ++own.data=DIR"
            )


S = TypeVar("S", bound=Setup)


def setup_of(cls: type[S], settings: Mapping[str, Any]) -> S:
    return options(cls, section(settings, "own"), "own")


def made(path: Path, write: Callable[[Path], object]) -> Path:
    """What an earlier start of the run has made stays."""
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(path.name + ".part")
        write(draft)
        draft.replace(path)
    return path


def take_average(trainer: Trainer) -> nn.Module:
    """The trained module with the mean of the best checkpoints."""
    best = trainer.average()
    assert best is not None
    trainer.model.load_state_dict(read_checkpoint(best))
    return trainer.model.eval()


def write_model(
    setup: Setup,
    run: Path,
    state: Mapping[str, Tensor],
    changed: Mapping[str, Any] | None = None,
    weights: str = "model.pt",
) -> None:
    """The official layout, from the output directory of a run. `changed` are settings that it has found."""
    folder = Path(setup.out or run / "model")
    folder.mkdir(parents=True, exist_ok=True)
    settings = load_yaml(run / "config.yaml")
    kept = {name: settings[name] for name in NETWORK if name in settings}
    OmegaConf.save(OmegaConf.create(merge(kept, changed or {})), folder / "config.yaml")
    described = json.loads((run / "configuration.json").read_text(encoding="utf-8"))
    described["file_path_metas"]["init_param"] = weights
    (folder / "configuration.json").write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
    for part in described["file_path_metas"].values():
        for name in part.values() if isinstance(part, dict) else ():
            shutil.copyfile(run / name, folder / name)
    torch.save(
        {name: weight.detach().contiguous().clone() for name, weight in state.items()}, folder / weights
    )
