"""Train the bundled speaker model: one command, one CPU thread and one process that prepares, about an hour.

    python examples/train_bundled/train_speakers.py --data ../shared/data --out funasr/bundled/campplus-small

A CAM++ of half the usual width learns to tell 1,348 people from one another, in pieces of 1 to 3 s that come
through rooms, telephones, microphones and noise. `speaker_data` says who they are, and who is kept out.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
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
from speaker_projection import discriminants, gather, project
from speaker_trials import equal_error_rate, trial_scores
from torch import Tensor, nn

from funasr.config import options, parse_overrides
from funasr.features.config import FrontendConfig
from funasr.features.fbank import Fbank
from funasr.models.campplus.config import CampplusConfig
from funasr.models.campplus.loss import PairLoss
from funasr.models.campplus.network import Campplus
from funasr.nn.weights import read_checkpoint
from funasr.stages.speaker import SpeakerEncoder
from funasr.train.checkpoint import Progress
from funasr.train.data import Batch
from funasr.train.optim import OptimConfig, ScheduleConfig, build_optimizer, build_scheduler
from funasr.train.sampler import SamplerConfig
from funasr.train.trainer import TrainConfig, Trainer, seed_everything

logger = logging.getLogger(__name__)

RATE = 16000
WEIGHTS = "campplus_small.bin"
SPK_CONF = {"merge_thr": 0.78, "split_thr": 0.2, "same_thr": 0.5, "enrolled_thr": 0.6, "context": 1}
"""As tune_speakers.py finds them; settings of ours, which other programs leave alone."""
BATCHES = 50
"""In an epoch."""
LESSONS = {
    # Short, mostly clean pieces with words in common are quick to compute and to learn from.
    0: Lesson(frames=98, pairs=36, batches=BATCHES, clean=0.6, short=0.0, mixed=True, apart=False),
    2: Lesson(frames=98, pairs=36, batches=BATCHES, clean=0.4, short=0.0, apart=False),
    # 1.5 s is what diarization looks at.
    4: Lesson(frames=148, pairs=24, batches=BATCHES, clean=0.2, apart=False),
    5: Lesson(frames=148, pairs=24, batches=BATCHES, clean=0.3, short=0.1),
}
BATCH_FRAMES = 7130
"""Just so many that every batch is full, whatever the lesson."""


@dataclass(frozen=True, kw_only=True)
class Round:
    """A run of the trainer; it begins with the mean of the best checkpoints of the one before."""

    name: str
    epochs: int
    last_epochs: int
    """In which the learning rate falls."""
    lr: float
    lessons: Mapping[int, Lesson]


ROUNDS = (
    Round(name="first", epochs=9, last_epochs=4, lr=1.5e-3, lessons=LESSONS),
    Round(
        name="second",
        epochs=12,
        last_epochs=6,
        lr=1e-3,
        lessons={
            0: Lesson(frames=98, pairs=36, batches=BATCHES, clean=0.5, short=0.1),
            7: Lesson(frames=148, pairs=24, batches=BATCHES, clean=0.5, short=0.1),
        },
    ),
)
FBANK = FrontendConfig(fs=RATE, window="povey", n_mels=80, dither=0.0, upsacle_samples=False)


@dataclass(frozen=True, kw_only=True)
class Setup:
    """`++name=value` on the command line."""

    growth_rate: int = 16
    init_channels: int = 64
    embedding_size: int = 128
    rounds: int = 1
    """The bundled weights are of the first; the second has not been run to its end yet."""
    weight_decay: float = 0.05
    warmup: int = 40
    average: int = 3
    pieces: int = 1
    """Pairs of pieces of a speaker that the last layer is computed from; readers' twice as many."""
    bf16: bool = True
    workers: int = 1
    seed: int = 2026


class Pairing(nn.Module):
    """The loss of pairs as a `Criterion` of the trainer."""

    def __init__(self) -> None:
        super().__init__()
        self.pairs = PairLoss()

    def forward(self, model: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        first, second = model(torch.cat(batch.features.chunk(2, dim=1))).chunk(2)
        loss: Tensor
        loss, stats = self.pairs(first, second, batch.targets[:, 0])
        return loss, stats


class Development:
    """People in no training: how often their pieces, with no word in common, are taken for another's."""

    def __init__(self, people: Sequence[Person], seconds: float = 1.5) -> None:
        rng = np.random.default_rng(1)
        size = int(seconds * RATE)
        self._names = [person.name for person in people for _ in range(2)]
        self._pieces = [take(part, size, 1.0, rng) for person in people for part in halves(person, rng)]

    def error(self, model: Campplus) -> float:
        model.eval()
        voices = SpeakerEncoder(model).embed(self._pieces)
        return equal_error_rate(*trial_scores(voices, self._names))[0]


def main(argv: Sequence[str] | None = None) -> int:
    arguments, setup = parse(sys.argv[1:] if argv is None else argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    seed_everything(setup.seed)

    readers, _ = read_readers(arguments.data)
    speakers = read_speakers_of_words(arguments.data, "train")
    dev_people = read_speakers_of_words(arguments.data, "dev")
    surroundings, fbank = read_surroundings(arguments.data), Fbank(FBANK)
    people = readers + speakers
    few = {0: replace(LESSONS[5], batches=4)}
    valid = Pairs(people, surroundings, fbank, few, seed=setup.seed + 1)
    development = Development(dev_people)

    model = Campplus(
        CampplusConfig(
            growth_rate=setup.growth_rate,
            init_channels=setup.init_channels,
            embedding_size=setup.embedding_size,
        )
    )
    quick = QuickCampplus(model)
    criterion = Pairing()
    logger.info(
        "%d readers, %d speakers of words, %d kept for development; %.2f M parameters",
        len(readers),
        len(speakers),
        len(dev_people),
        sum(parameter.numel() for parameter in model.parameters()) / 1e6,
    )

    def rank(progress: Progress) -> None:
        """Checkpoints are ranked by people nobody trained on."""
        error = development.error(model)
        progress.val_acc[progress.name()] = 1 - error
        logger.info("equal error rate of the development speakers in 1.5 s: %.2f %%", 100 * error)

    for number, one in enumerate(ROUNDS[: setup.rounds]):
        train = Pairs(people, surroundings, fbank, one.lessons, seed=setup.seed + 10 * number)
        trainer = build_trainer(quick, criterion, one, setup, arguments.work / one.name, rank)
        trainer.run(train, valid)
        averaged = trainer.average()
        assert averaged is not None
        quick.load_state_dict(read_checkpoint(averaged))
        logger.info("the mean of the best: %.2f %%", 100 * development.error(model))
    rows, whose, words = gather(model, people, surroundings, fbank, seed=setup.seed, rounds=setup.pieces)
    centre = (rows[words].mean(axis=0) + rows[~words].mean(axis=0)) / 2
    project(model, discriminants(rows, whose, words, model.size), centre)
    logger.info("with the projection: %.2f %%", 100 * development.error(model))
    if arguments.out is not None:
        write_model(arguments.out, model)
    return 0


def build_trainer(
    model: nn.Module,
    criterion: Pairing,
    one: Round,
    setup: Setup,
    work: Path,
    on_validated: Callable[[Progress], None],
) -> Trainer:
    optim = OptimConfig(optim="adamw", lr=one.lr, weight_decay=setup.weight_decay)
    schedule = ScheduleConfig(
        scheduler="warmup_stable_decay",
        warmup_steps=setup.warmup,
        total_steps=BATCHES * one.epochs,
        decay_steps=BATCHES * one.last_epochs,
        final=0.01,
    )
    config = TrainConfig(
        max_epoch=one.epochs,
        log_interval=10,
        keep_nbest_models=setup.average,
        avg_nbest_model=setup.average,
        grad_clip=5.0,
        use_bf16=setup.bf16,
        seed=setup.seed,
        num_workers=setup.workers,
    )
    optimizer = build_optimizer(optim, [*model.parameters(), *criterion.parameters()])
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


def write_model(folder: Path, model: Campplus) -> None:
    """The official layout."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        "model": "CAMPPlus",
        "model_conf": asdict(model.config),
        "frontend": "WavFrontend",
        "frontend_conf": {"fs": RATE},
        "spk_conf": SPK_CONF,
    }
    OmegaConf.save(OmegaConf.create(settings), folder / "config.yaml")
    described = {
        "framework": "pytorch",
        "task": "speaker-verification",
        "model": {"type": "pytorch"},
        "file_path_metas": {"init_param": WEIGHTS, "config": "config.yaml"},
    }
    (folder / "configuration.json").write_text(json.dumps(described, indent=2) + "\n")
    state = {name: weight.detach().clone().contiguous() for name, weight in model.state_dict().items()}
    torch.save(state, folder / WEIGHTS)


if __name__ == "__main__":
    raise SystemExit(main())
