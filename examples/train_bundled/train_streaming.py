"""Train the bundled streaming recognizer of words, from the one that hears whole utterances, in one command.

    python examples/train_bundled/train_streaming.py --data ../shared/data \
        --out funasr/bundled/paraformer-words-en-streaming

One CPU thread and a process that prepares batches, about three quarters of an hour. The recordings, the
synthesized voices and the noises are those of train_asr.py; README.md beside this says what differs.
"""

from __future__ import annotations

import os

# One process trains, another prepares batches: numpy must not take every core for its small products.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import dataclasses
import logging
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import train_asr
from quick_layers import use_flat_convolutions
from streaming_loss import (
    FARTHEST,
    FORGETFUL,
    MARGIN,
    SHAPE,
    TAIL,
    StreamingLoss,
    answer,
    hear,
    listen,
    state_of_offline,
)
from torch import Tensor, nn
from words_augment import LAST_LESSONS, Augmenter, Plan, Recipe, WordSource
from words_data import RATE, TOKENS, UNKNOWN

from funasr.config import options, parse_overrides
from funasr.features.frontend import FrontendConfig, WavFrontend
from funasr.models.paraformer.network import Paraformer
from funasr.nn.weights import read_checkpoint
from funasr.stages.protocols import ChunkShape
from funasr.train.checkpoint import Progress, load_checkpoint
from funasr.train.data import collate
from funasr.train.optim import OptimConfig, ScheduleConfig, build_optimizer, build_scheduler
from funasr.train.sampler import SamplerConfig, plan_epoch
from funasr.train.trainer import TrainConfig, Trainer, seed_everything

logger = logging.getLogger("train_streaming")

START = Path(__file__).parents[2] / "funasr" / "bundled" / "paraformer-words-en"


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What a run consists of. `++name=value` on the command line changes it."""

    seed: int = 20
    epochs: int = 13
    last_epochs: int = 9
    """Over these the learning rate falls to nothing, nothing is masked, and there is less noise."""
    epoch_size: int = 4800
    batch_rows: int = 1400
    """Feature rows (60 ms each) in a batch, before they are written down in blocks."""
    lr: float = 0.0008
    warmup: int = 200
    weight_decay: float = 0.03
    takes: int = 60
    other_takes: int = 2
    average: int = 4
    threads: int = 1
    workers: int = 1
    bf16: bool = True


USUAL = Recipe(single=0.34, string=0.48, foreign=0.13)
LAST = dataclasses.replace(LAST_LESSONS, single=0.36, string=0.46, foreign=0.13, mixed_foreign=0.04)


class Streamer(Augmenter):
    """Words anywhere between the borders of chunks: 0 to 600 ms of silence at either end, and long pauses."""

    def plan(self, rng: np.random.Generator) -> Plan:
        plan = super().plan(rng)
        if not plan.pieces:
            return plan
        pieces = [dataclasses.replace(plan.pieces[0], gap=_silence(rng)), *plan.pieces[1:]]
        if len(pieces) > 1 and rng.random() < 0.15:
            place = int(rng.integers(1, len(pieces)))
            pieces[place] = dataclasses.replace(pieces[place], gap=int(rng.uniform(0.5, 3.0) * RATE))
        return Plan(pieces=tuple(pieces), tail=_silence(rng))


def _silence(rng: np.random.Generator) -> int:
    """At either end of an utterance, in samples: people press the button, or their telephone, in mid-word."""
    return int(rng.uniform(0.0, 0.6) * RATE) if rng.random() < 0.5 else 0


class FixedSource(train_asr.FixedSource):
    """Development utterances, heard as streams."""

    def heard(self, model: nn.Module, start: int, shape: ChunkShape) -> list[list[int]]:
        assert isinstance(model, Paraformer)
        model.eval()
        found: dict[int, list[int]] = {}
        order = np.argsort(self.lengths(0), kind="stable").tolist()
        for first in range(0, len(order), 64):
            places = order[first : first + 64]
            batch = collate([self.examples[place] for place in places])
            found |= zip(places, hear(model, batch.features, batch.lengths, start, shape), strict=True)
        return [found[place] for place in range(len(order))]

    def errors(self, model: nn.Module, start: int = 1, shape: ChunkShape = SHAPE) -> Counter[str]:
        """Word errors by condition, with `<unk>` dropped as the recognizer drops it."""
        errors = Counter[str]()
        heard = self.heard(model, start, shape)
        for name, example, ids in zip(self.conditions, self.examples, heard, strict=True):
            known = [token for token in ids if 2 < token < UNKNOWN]
            errors[name] += train_asr.edit_distance(example.target.tolist(), known)
        return errors

    def rates(self, model: nn.Module, start: int = 1, shape: ChunkShape = SHAPE) -> str:
        """The same over the number of words."""
        words = Counter[str]()
        for name, example in zip(self.conditions, self.examples, strict=True):
            words[name] += len(example.target)
        errors = self.errors(model, start, shape)
        return ", ".join(f"{name} {errors[name] / words[name]:.2%}" for name in words)


def main(argv: Sequence[str] | None = None) -> int:
    arguments, setup = parse(sys.argv[1:] if argv is None else argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stdout)
    seed_everything(setup.seed)
    torch.set_num_threads(setup.threads)
    work: Path = arguments.work
    work.mkdir(parents=True, exist_ok=True)

    corpus_setup = train_asr.Setup(seed=setup.seed, takes=setup.takes, other_takes=setup.other_takes)
    corpus = train_asr.read_corpus(arguments.data, corpus_setup, work)
    phrases = train_asr.read_phrases(corpus_setup, work)
    last_from = setup.epochs - setup.last_epochs
    foreign = corpus.foreign + 2 * phrases
    lessons: dict[int, Augmenter] = {
        epoch: Streamer(corpus.train, foreign, corpus.noises, corpus.rooms, recipe)
        for epoch, recipe in ((0, USUAL), (last_from, LAST))
    }
    cmvn = arguments.start / "am.mvn"
    frontend = WavFrontend(FrontendConfig(dither=0.0, lfr_m=7, lfr_n=6, cmvn_file=cmvn))

    raw = official_config()
    model = Paraformer.from_official(raw, len(TOKENS), frontend.output_size)
    model.load_state_dict(state_of_offline(read_checkpoint(arguments.start / "model.pt"), model))
    use_flat_convolutions(model)
    without_dropout(model)
    criterion = StreamingLoss(
        model.config.encoder.output_size, len(TOKENS), masked=lambda: trainer.progress.epoch < last_from
    )
    count = sum(parameter.numel() for parameter in model.parameters())
    logger.info("%d clips, %d foreign, %.2f M parameters", len(corpus.train), len(foreign), count / 1e6)
    valid = FixedSource(train_asr.dev_sets(corpus.dev), frontend)
    train = WordSource(lessons, frontend, size=setup.epoch_size, seed=setup.seed)
    sampler = SamplerConfig(batch_size=setup.batch_rows, batch_size_sample_max=64, sort_size=1600)
    steps = [
        len(plan_epoch(train.lengths(epoch), sampler, epoch=epoch, seed=setup.seed))
        for epoch in (0, last_from)
    ]
    decay_steps = setup.last_epochs * steps[1]
    optimizer = build_optimizer(
        OptimConfig(optim="adamw", lr=setup.lr, betas=(0.9, 0.98), weight_decay=setup.weight_decay),
        [*model.parameters(), *criterion.parameters()],
    )
    schedule = ScheduleConfig(
        scheduler="warmup_stable_decay",
        warmup_steps=setup.warmup,
        total_steps=last_from * steps[0] + decay_steps,
        decay_steps=decay_steps,
        final=0.01,
    )
    config = TrainConfig(
        max_epoch=setup.epochs,
        log_interval=50,
        validate_interval=10**9,
        save_checkpoint_interval=10**9,
        keep_nbest_models=setup.average + 3,
        avg_nbest_model=setup.average,
        grad_clip=5.0,
        use_bf16=setup.bf16,
        seed=setup.seed,
        num_workers=setup.workers,
    )

    def report(progress: Progress) -> None:
        logger.info("dev word error rate as streams: %s", valid.rates(model))

    scheduler = build_scheduler(schedule, optimizer)
    folder = work / "streaming"
    trainer = Trainer(model, criterion, optimizer, scheduler, config, sampler, folder, on_validated=report)
    if arguments.only_export:
        trainer.load(folder / "model.pt")
    else:
        trainer.run(train, valid)
    averaged = trainer.average() or folder / "model.pt"
    model.load_state_dict(load_checkpoint(averaged)["state_dict"])
    raw["predictor_conf"] |= fit_weights(model, valid)
    scale = sharpen(model, valid)
    logger.info("the scores are scaled by %.2f, which fits the development words best", scale)
    report(trainer.progress)
    logger.info("after an hour: %s", valid.rates(model, start=FARTHEST))
    logger.info("with no look back: %s", valid.rates(model, shape=FORGETFUL))
    if arguments.out is not None:
        export(model, raw, arguments.start, arguments.out)
    return 0


def without_dropout(model: nn.Module) -> None:
    """No utterance comes twice, and the run is short: what dropout takes in time it does not give back."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0


def fit_weights(model: Paraformer, valid: FixedSource) -> dict[str, float]:
    """The `smooth_factor` of the predictor with the fewest word errors: weights may add up to too little."""
    predictor = model.predictor
    tried: dict[float, int] = {}
    for factor in (0.95, 0.975, 1.0, 1.025, 1.05, 1.075, 1.1):
        predictor.config = dataclasses.replace(predictor.config, smooth_factor=factor)
        tried[factor] = sum(valid.errors(model).values())
    best = min(tried, key=lambda factor: (tried[factor], abs(factor - 1.0)))
    logger.info("word errors by smooth_factor: %s", tried)
    predictor.config = dataclasses.replace(predictor.config, smooth_factor=best)
    return {"smooth_factor": best}


@torch.no_grad()
def sharpen(model: Paraformer, valid: FixedSource) -> float:
    """Scale the output layer so that confidences fit: smoothed labels leave them too low. No word changes."""
    model.eval()
    output = model.decoder.output_layer
    assert output is not None
    scores: list[Tensor] = []
    truth: list[Tensor] = []
    for start in range(0, len(valid.examples), 64):
        batch = collate(valid.examples[start : start + 64])
        layout, memory, rows, alphas = listen(model, batch.features, batch.lengths)
        alphas = alphas * ((batch.target_lengths + MARGIN) / alphas.sum(dim=1).clamp(min=1e-3))[:, None]
        logits = output(answer(model, layout, memory, rows, alphas, batch.target_lengths))
        scores.append(logits[batch.targets > 2])
        truth.append(batch.targets[batch.targets > 2])
    scales = [0.8 + 0.05 * step for step in range(25)]
    losses = [
        float(nn.functional.cross_entropy(scale * torch.cat(scores), torch.cat(truth))) for scale in scales
    ]
    best = scales[int(np.argmin(losses))]
    output.weight.mul_(best)
    output.bias.mul_(best)
    return best


def parse(argv: Sequence[str]) -> tuple[argparse.Namespace, Setup]:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with asr/, speaker/, noise_rir/")
    parser.add_argument("--out", type=Path, help="model directory to write")
    parser.add_argument("--start", type=Path, default=START, help="model directory to begin with")
    parser.add_argument(
        "--work",
        type=Path,
        default=Path(tempfile.gettempdir()) / "train-words",
        help="folder for checkpoints and synthesized speech; a run found there is continued",
    )
    parser.add_argument(
        "--only-export", action="store_true", help="average and export the checkpoints there are"
    )
    known, rest = parser.parse_known_args(argv)
    return known, options(Setup, parse_overrides(rest), "train_streaming.py")


def official_config() -> dict[str, Any]:
    """config.yaml as a mapping, in the official layout of ParaformerStreaming."""
    raw = train_asr.official_config(train_asr.Setup())
    chunks = {
        "chunk_size": [15],
        "stride": [10],
        "pad_left": [0],
        "encoder_att_look_back_factor": [4],
        "decoder_att_look_back_factor": [1],
    }
    kept = ("idim", "threshold", "l_order", "r_order")
    return raw | {
        "model": "ParaformerStreaming",
        "model_conf": raw["model_conf"] | {"predictor_bias": 0},
        "encoder": "SANMEncoderChunkOpt",
        "encoder_conf": raw["encoder_conf"] | {"input_layer": "pe_online"} | chunks,
        # The convolution over tokens ends at its own: a stream has no tokens ahead.
        "decoder_conf": raw["decoder_conf"] | {"sanm_shfit": 5},
        "predictor": "CifPredictorV2",
        "predictor_conf": {name: raw["predictor_conf"][name] for name in kept} | {"tail_threshold": TAIL},
        "frontend": "WavFrontendOnline",
    }


def export(model: Paraformer, raw: dict[str, Any], start: Path, out: Path) -> None:
    """Write the model directory in the official layout; the card (README.md) is written by hand."""
    from omegaconf import OmegaConf

    out.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(OmegaConf.create(raw), out / "config.yaml")
    for name in ("configuration.json", "tokens.json", "seg_dict", "am.mvn"):
        (out / name).write_bytes((start / name).read_bytes())
    torch.save({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, out / "model.pt")
    size = sum(path.stat().st_size for path in out.iterdir())
    logger.info("%s: %.1f MB", out, size / 1e6)


if __name__ == "__main__":
    sys.exit(main())
