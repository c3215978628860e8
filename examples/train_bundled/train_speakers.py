"""Train the bundled speaker model: one command, one CPU thread and one process that prepares, about an hour.

    python examples/train_bundled/train_speakers.py --data ../shared/data --out funasr/bundled/campplus-small

A CAM++ of half the usual width learns to tell 1,521 people from one another, in pieces of 1 to 1.5 s, most of
which come through rooms, telephones, microphones and noise. `speaker_data` says who is kept out.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from muon import Muon
from omegaconf import OmegaConf
from quick_campplus import QuickCampplus
from speaker_data import (
    Lesson,
    Pairs,
    Person,
    halves,
    read_readers,
    read_speakers_of_words,
    read_surroundings,
    take,
)
from speaker_spread import directions, gather, rotate, variances
from speaker_trials import equal_error_rate, trial_scores
from torch import Tensor, nn

from funasr.config import options, parse_overrides
from funasr.features.config import FrontendConfig
from funasr.features.fbank import Fbank
from funasr.models.campplus.config import CampplusConfig
from funasr.models.campplus.loss import AngularMarginLoss, PairLoss
from funasr.models.campplus.network import Campplus
from funasr.nn.weights import read_checkpoint
from funasr.stages.speaker import SpeakerEncoder
from funasr.train.checkpoint import Progress
from funasr.train.data import Batch
from funasr.train.optim import ScheduleConfig, build_scheduler
from funasr.train.sampler import SamplerConfig
from funasr.train.trainer import TrainConfig, Trainer, seed_everything

logger = logging.getLogger(__name__)

RATE = 16000
WEIGHTS = "campplus_small.bin"
SPK_CONF = {
    "same_thr": 0.45,
    "enrolled_thr": 0.5,
    "repeat": True,
    "weight": 0.4,
    "stay": 0.5,
}
"""As tune_speakers.py finds them; settings of ours, which other programs leave alone."""
DIRECTIONS = 15
"""Whose variances are told beside them: the others hardly differ between people."""
LESSONS = {
    0: Lesson(frames=98, pairs=36, clean=(0.8, 0.5), short=0.0, masked=0.0),
    3: Lesson(frames=98, pairs=36),
    # By then the network knows these people better than others.
    12: Lesson(frames=98, pairs=36, clean=(0.6, 0.2), masked=0.4, readers=0.6),
    # 1.5 s is what diarization looks at.
    15: Lesson(frames=148, pairs=24, clean=(0.6, 0.2), masked=0.4, readers=0.6),
}
VALIDATION = Lesson(frames=148, pairs=24, batches=4)
BATCH_FRAMES = 7110
"""Just so many that every batch is full, whatever the lesson."""
FBANK = FrontendConfig(fs=RATE, window="povey", n_mels=80, dither=0.0, upsacle_samples=False)


@dataclass(frozen=True, kw_only=True)
class Setup:
    """`++name=value` on the command line."""

    growth_rate: int = 16
    init_channels: int = 64
    embedding_size: int = 128
    epochs: int = 19
    """Of 100 updates."""
    last_epochs: int = 7
    """In which the learning rate falls."""
    lr: float = 0.02
    other_lr: float = 2e-3
    warmup: int = 50
    average: int = 5
    bf16: bool = True
    workers: int = 1
    seed: int = 2026


class Naming(nn.Module):
    """The `Criterion`: which piece is of the same speaker as this one, and which speaker is it?

    Pairs teach from the first batch on, names more in the long run. At first names only follow: their
    directions are learnt, and the network learns nothing from them. Then their say grows, and their margin.
    """

    margin, begin, end = 0.2, 400, 1200
    """They grow between these updates."""

    def __init__(self, size: int, speakers: int) -> None:
        super().__init__()
        self.pairs = PairLoss()
        self.names = AngularMarginLoss(size, speakers, margin=0.0, scale=30.0)
        self.updates: Tensor
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    def forward(self, model: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        if torch.is_grad_enabled():
            self.updates += 1
        say = min(max((int(self.updates) - self.begin) / (self.end - self.begin), 0.0), 1.0)
        self.names.margin = say * self.margin
        speakers = batch.targets[:, 0]
        voices = model(torch.cat(batch.features.chunk(2, dim=1))).float()
        paired, stats = self.pairs(*voices.chunk(2), speakers)
        still = voices.detach()
        named, more = self.names(still + say * (voices - still), speakers.repeat(2))
        return paired + named, {**stats, "named": more["loss"], "named_acc": more["acc"]}


class Development:
    """People in no training: how often pieces of 1.5 s, with no word in common, are taken for another's."""

    def __init__(self, readers: Sequence[Person], callers: Sequence[Person]) -> None:
        rng = np.random.default_rng(1)
        size = 3 * RATE // 2
        self._sets = [
            (
                [
                    clip / np.float32(32768)
                    for one in readers
                    for clip in np.split(one.clips[0][: 4 * size], 4)
                ],
                [one.name for one in readers for _ in range(4)],
            ),
            (
                [take(part, size, 1.0, rng) for one in callers for part in halves(one, rng)],
                [one.name for one in callers for _ in range(2)],
            ),
        ]

    def error(self, model: Campplus) -> float:
        """Mean of readers and callers."""
        model.eval()
        encoder = SpeakerEncoder(model)
        trials = [trial_scores(encoder.embed(pieces), names) for pieces, names in self._sets]
        rates = [equal_error_rate(*scores)[0] for scores in trials]
        logger.info("equal error rates of development people, %%: %s", [round(100 * x, 2) for x in rates])
        return float(np.mean(rates))


def main(argv: Sequence[str] | None = None) -> int:
    arguments, setup = parse(sys.argv[1:] if argv is None else argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    seed_everything(setup.seed)

    readers, few_readers, _ = read_readers(arguments.data)
    people = readers + read_speakers_of_words(arguments.data, "train", fewest=2)
    development = Development(few_readers, read_speakers_of_words(arguments.data, "dev"))
    surroundings, fbank = read_surroundings(arguments.data), Fbank(FBANK)
    model = Campplus(
        CampplusConfig(
            growth_rate=setup.growth_rate,
            init_channels=setup.init_channels,
            embedding_size=setup.embedding_size,
        )
    )
    train = Pairs(people, surroundings, fbank, LESSONS, seed=setup.seed)
    valid = Pairs(people, surroundings, fbank, {0: VALIDATION}, seed=setup.seed + 1)
    logger.info("%d readers, %d people in all, %d voices", len(readers), len(people), train.speakers)

    def rank(progress: Progress) -> None:
        """Checkpoints are ranked by people nobody trained on."""
        progress.val_acc[progress.name()] = 1 - development.error(model)

    quick, criterion = QuickCampplus(model), Naming(setup.embedding_size, train.speakers)
    trainer = build_trainer(quick, criterion, setup, arguments.work, rank)
    trainer.run(train, valid)
    averaged = trainer.average()
    assert averaged is not None
    quick.load_state_dict(read_checkpoint(averaged))
    logger.info("the mean of the best: %.2f %%", 100 * development.error(model))
    # How people in no training lie apart: those in training it has drawn further apart than any others.
    rotate(model, directions(*gather(model, readers, surroundings, fbank, seed=setup.seed)))
    between, within = variances(*gather(model, few_readers, surroundings, fbank, seed=setup.seed))
    if arguments.out is not None:
        spread = {"between": between[:DIRECTIONS], "within": within[:DIRECTIONS]}
        write_model(arguments.out, model, {name: np.round(row, 5).tolist() for name, row in spread.items()})
    return 0


def build_trainer(
    model: nn.Module, criterion: Naming, setup: Setup, work: Path, on_validated: Callable[[Progress], None]
) -> Trainer:
    matrices = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    vectors = [parameter for parameter in model.parameters() if parameter.ndim == 1]
    optimizer = Muon(matrices, [*vectors, *criterion.parameters()], lr=setup.lr, other_lr=setup.other_lr)
    schedule = ScheduleConfig(
        scheduler="warmup_stable_decay",
        warmup_steps=setup.warmup,
        total_steps=LESSONS[0].batches * setup.epochs,
        decay_steps=LESSONS[0].batches * setup.last_epochs,
        final=0.01,
    )
    config = TrainConfig(
        max_epoch=setup.epochs,
        log_interval=50,
        keep_nbest_models=100,
        avg_nbest_model=setup.average,
        grad_clip=5.0,
        use_bf16=setup.bf16,
        seed=setup.seed,
        num_workers=setup.workers,
    )
    sampler = SamplerConfig(batch_size=BATCH_FRAMES, sort_size=1_000_000)
    scheduler = build_scheduler(schedule, optimizer)
    return Trainer(model, criterion, optimizer, scheduler, config, sampler, work, on_validated=on_validated)


def parse(argv: Sequence[str]) -> tuple[argparse.Namespace, Setup]:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with asr/, speaker/, noise_rir/")
    parser.add_argument("--out", type=Path, help="model directory to write")
    parser.add_argument(
        "--work",
        type=Path,
        default=Path(tempfile.gettempdir()) / "train-speakers",
        help="folder for checkpoints; a run found there is continued",
    )
    known, rest = parser.parse_known_args(argv)
    return known, options(Setup, parse_overrides(rest), "train_speakers.py")


def write_model(folder: Path, model: Campplus, spread: dict[str, list[float]]) -> None:
    """The official layout. Matrices are stored in 16 bits, and computed with in 32."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        "model": "CAMPPlus",
        "model_conf": asdict(model.config),
        "frontend": "WavFrontend",
        "frontend_conf": {"fs": RATE},
        "spk_conf": {**SPK_CONF, **spread},
    }
    OmegaConf.save(OmegaConf.create(settings), folder / "config.yaml")
    described = {
        "framework": "pytorch",
        "task": "speaker-verification",
        "model": {"type": "pytorch"},
        "file_path_metas": {"init_param": WEIGHTS, "config": "config.yaml"},
    }
    (folder / "configuration.json").write_text(json.dumps(described, indent=2) + "\n")
    state = {
        name: weight.detach().to(torch.float16 if weight.ndim > 1 else weight.dtype, copy=True).contiguous()
        for name, weight in model.state_dict().items()
    }
    torch.save(state, folder / WEIGHTS)


if __name__ == "__main__":
    raise SystemExit(main())
