"""The bundled voice activity detector: the data and the loss of vad.yaml.

The released fsmn-vad is the teacher: what it says of clean speech is what the student learns to say of the
same speech in noise, rooms and telephones. `vad_data.SOURCES` says on what.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch.nn.functional as F
from bundle import Setup, made, setup_of, take_average, write_model
from numpy.typing import NDArray
from torch import Tensor, nn
from vad_data import SCALE, Corpus, Recordings, Teacher, read_corpora

from funasr.arrays import Samples
from funasr.config import load_yaml, section
from funasr.features.cmvn import compute_cmvn, write_cmvn
from funasr.features.frontend import WavFrontend
from funasr.models.fsmn_vad.network import FsmnVad
from funasr.nn.weights import load_weights
from funasr.train.criteria import Parts
from funasr.train.data import Batch
from funasr.train.own import OwnTraining, Sources
from funasr.train.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class VadSetup(Setup):
    recordings: int = 1200
    """Made up anew in each epoch."""
    held_out: int = 100
    """Made up of clips that are in no training."""
    measured: int = 400
    """Feature statistics are made of so many."""


class Distillation:
    """Cross entropy of each frame with the teacher's probability."""

    def __call__(self, model: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        assert isinstance(model, FsmnVad)
        logits, _ = model(batch.features, model.initial_state(len(batch.keys)))
        known = batch.targets >= 0
        silence = batch.targets[known].float() / SCALE
        scores = F.log_softmax(logits[known], dim=-1)
        loss = -(silence * scores[:, 0] + (1 - silence) * scores[:, 1]).mean()
        # Where the two agree on what the endpointer asks: is silence less likely than 0.2?
        same = (scores[:, 0].exp() <= 0.2) == (silence <= 0.2)
        return loss, {"loss": loss.detach(), "acc": same.float().mean()}


class Vad(OwnTraining):
    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__(settings)
        self.setup = setup_of(VadSetup, settings)
        self.teacher_folder = Path(self.setup.data) / "models" / "fsmn-vad-official"

    @cached_property
    def corpora(self) -> tuple[Corpus, Corpus]:
        return read_corpora(Path(self.setup.data))

    def prepare(self) -> Mapping[str, Any]:
        cmvn = made(Path(str(self.settings["output_dir"])) / "am.mvn", self._write_statistics)
        return {"frontend_conf": {"cmvn_file": str(cmvn)}}

    def _write_statistics(self, path: Path) -> None:
        frontend = WavFrontend.from_official(section(self.settings, "frontend_conf"), None)
        teacher, seed = load_teacher(self.teacher_folder), int(self.settings["seed"])
        count = self.setup.measured
        heard = Recordings(self.corpora[0], teacher, frontend, count, seed=seed)
        write_cmvn(path, *compute_cmvn(heard.features(0, index) for index in range(count)))

    def data(self, recipe: Recipe, parts: Parts) -> Sources:
        teacher, setup, seed = load_teacher(self.teacher_folder), self.setup, parts.seed
        train, valid = self.corpora
        return (
            Recordings(train, teacher, parts.frontend, setup.recordings, seed=seed + 1),
            Recordings(valid, teacher, parts.frontend, setup.held_out, seed=seed + 2),
        )

    def criterion(self, network: nn.Module, parts: Parts) -> Distillation:
        return Distillation()

    def finish(self) -> None:
        if self.trainer.ranks.first:
            write_model(self.setup, self.trainer.output, take_average(self.trainer).state_dict())


lesson = Vad


def load_teacher(folder: Path) -> Teacher:
    raw = load_yaml(folder / "config.yaml")
    network = FsmnVad.from_official(raw)
    load_weights(network, folder / "model.pt")
    network.eval()
    frontend = WavFrontend.from_official(raw["frontend_conf"], folder / "am.mvn")

    def score(samples: Samples) -> NDArray[np.float32]:
        scores: NDArray[np.float32] = network.score(frontend(samples)[None], network.initial_state())[0][0]
        return scores

    return score
