"""Train the bundled recognizer of twenty English words, from recordings to a model directory, in one command.

    python examples/train_bundled/train_asr.py --data ../shared/data --out funasr/bundled/paraformer-words-en

Two CPU cores, under 90 minutes; README.md beside this says what it does. A run that was stopped goes on where
it stood; `--only-export` makes the model directory from what there is.
"""

from __future__ import annotations

import os

# One process trains, another prepares batches: numpy must not take every core for its small products.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import dataclasses
import json
import logging
import pickle
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import words_data
import words_synth
from numpy.typing import NDArray
from quick_layers import use_flat_convolutions, use_pooled_dropout
from torch import Tensor, nn
from words_augment import FINISH, FIRST_LESSONS, LAST_LESSONS, REFUSALS, Augmenter, Recipe, WordSource
from words_data import TOKENS, UNKNOWN, Clip, Utterance
from words_loss import TimesLoss, WordsLoss

from funasr.config import options, parse_overrides
from funasr.features.cmvn import compute_cmvn, write_cmvn
from funasr.features.frontend import FrontendConfig, WavFrontend
from funasr.models.paraformer.bicif import BiCifParaformer
from funasr.models.paraformer.loss import with_end
from funasr.train.checkpoint import Progress, load_checkpoint
from funasr.train.data import Example, collate
from funasr.train.optim import OptimConfig, ScheduleConfig, build_optimizer, build_scheduler
from funasr.train.sampler import SamplerConfig, plan_epoch
from funasr.train.trainer import Criterion, TrainConfig, Trainer, seed_everything

logger = logging.getLogger("train_asr")


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What a run consists of. `++name=value` on the command line changes it."""

    seed: int = 20
    epochs: int = 21
    first_epochs: int = 4
    """Epochs of mostly single words with little in their way; what follows is harder."""
    last_epochs: int = 12
    """Over these the learning rate falls to nothing, nothing is masked, and there is less noise."""
    refusal_epochs: int = 4
    """Of those, the ones with many phrases that must give no words."""
    epoch_size: int = 9600
    """Utterances made up for one epoch."""
    batch_rows: int = 1400
    """Feature rows (60 ms each) in a batch."""
    lr: float = 0.0015
    warmup: int = 300
    weight_decay: float = 0.03
    width: int = 160
    layers: int = 5
    decoder_layers: int = 2
    hidden: int = 512
    dropout: float = 0.1
    smoothing: float = 0.05
    takes: int = 60
    """Synthesized recordings of each word; `other_takes` of other words and sentences."""
    other_takes: int = 2
    average: int = 5
    threads: int = 2
    workers: int = 2
    bf16: bool = True
    """Matrix products in bfloat16: three times as fast where the CPU has AMX, slower where it has nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """All sound a run uses, in memory."""

    train: list[Clip]
    dev: list[Clip]
    foreign: list[Clip]
    noises: list[np.ndarray[Any, np.dtype[np.float32]]]
    rooms: list[np.ndarray[Any, np.dtype[np.float32]]]


class FixedSource:
    """Development utterances by condition; their features are computed once."""

    def __init__(self, sets: Mapping[str, Sequence[Utterance]], frontend: WavFrontend) -> None:
        self.conditions = [name for name, some in sets.items() for _ in some]
        self.examples = [
            Example(
                key=one.key,
                features=frontend(one.samples),
                target=np.array([words_data.IDS[word] for word in one.words], dtype=np.int64),
            )
            for some in sets.values()
            for one in some
        ]

    def lengths(self, epoch: int) -> NDArray[np.int64]:
        return np.array([len(one.features) for one in self.examples], dtype=np.int64)

    def load(self, epoch: int, index: int) -> Example:
        return self.examples[index]

    def word_error_rates(self, model: BiCifParaformer) -> dict[str, float]:
        """Errors over words by condition, with `<unk>` dropped as the recognizer drops it."""
        model.eval()
        errors, words = Counter[str](), Counter[str]()
        order = np.argsort(self.lengths(0), kind="stable").tolist()
        for start in range(0, len(order), 64):
            batch = collate([self.examples[place] for place in order[start : start + 64]])
            rows = model.infer(batch.features.numpy(), batch.lengths.numpy())
            for place, row in zip(order[start : start + 64], rows, strict=True):
                heard = [token for token in row.ids.tolist() if 2 < token < UNKNOWN]
                truth = self.examples[place].target.tolist()
                errors[self.conditions[place]] += edit_distance(truth, heard)
                words[self.conditions[place]] += len(truth)
        return {name: errors[name] / words[name] for name in words}


def main(argv: Sequence[str] | None = None) -> int:
    arguments, setup = parse(sys.argv[1:] if argv is None else argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stdout)
    seed_everything(setup.seed)
    torch.set_num_threads(setup.threads)
    work: Path = arguments.work
    work.mkdir(parents=True, exist_ok=True)

    corpus = read_corpus(arguments.data, setup, work)
    frontend_config = FrontendConfig(dither=0.0, lfr_m=7, lfr_n=6)
    last_from = setup.epochs - setup.last_epochs
    recipes = {0: FIRST_LESSONS, setup.first_epochs: Recipe(), last_from: LAST_LESSONS}
    lessons = {
        epoch: Augmenter(corpus.train, corpus.foreign, corpus.noises, corpus.rooms, recipe)
        for epoch, recipe in recipes.items()
    }
    phrases = read_phrases(setup, work)
    # Four times, so that they are a good part of what is refused.
    lessons[setup.epochs - setup.refusal_epochs] = Augmenter(
        corpus.train, corpus.foreign + 4 * phrases, corpus.noises, corpus.rooms, REFUSALS
    )
    cmvn = work / "am.mvn"
    if not cmvn.is_file():
        write_cmvn(cmvn, *measure_cmvn(lessons[setup.first_epochs], frontend_config, setup.seed))
    frontend = WavFrontend(dataclasses.replace(frontend_config, cmvn_file=cmvn))

    raw = official_config(setup)
    model = BiCifParaformer.from_official(raw, len(TOKENS), frontend.output_size)
    use_flat_convolutions(model)
    use_pooled_dropout(model, torch.bfloat16 if setup.bf16 else torch.float32, setup.seed)
    criterion = WordsLoss(setup.width, len(TOKENS), masked=lambda: trainer.progress.epoch < last_from)
    count = sum(parameter.numel() for parameter in model.parameters())
    logger.info(
        "%d clips, %d foreign, %.2f M parameters", len(corpus.train), len(corpus.foreign), count / 1e6
    )
    valid = FixedSource(dev_sets(corpus.dev), frontend)
    sampler = SamplerConfig(batch_size=setup.batch_rows, batch_size_sample_max=128, sort_size=1600)
    train = WordSource(lessons, frontend, size=setup.epoch_size, seed=setup.seed)
    steps, decay_steps = estimate_steps(train, sampler, setup)
    optimizer = build_optimizer(
        OptimConfig(optim="adamw", lr=setup.lr, betas=(0.9, 0.98), weight_decay=setup.weight_decay),
        [*model.parameters(), *criterion.parameters()],
    )
    schedule = ScheduleConfig(
        scheduler="warmup_stable_decay",
        warmup_steps=setup.warmup,
        total_steps=steps,
        decay_steps=decay_steps,
        final=0.01,
    )
    config = TrainConfig(
        max_epoch=setup.epochs,
        log_interval=100,
        validate_interval=10**9,
        save_checkpoint_interval=10**9,
        keep_nbest_models=setup.average + 3,
        avg_nbest_model=setup.average,
        grad_clip=5.0,
        use_bf16=setup.bf16,
        seed=setup.seed,
        num_workers=setup.workers,
        max_seconds=arguments.max_seconds,
    )

    def report(progress: Progress) -> None:
        rates = valid.word_error_rates(model)
        logger.info(
            "dev word error rate: %s", ", ".join(f"{name} {rate:.2%}" for name, rate in rates.items())
        )

    trainer = Trainer(
        model,
        criterion,
        optimizer,
        build_scheduler(schedule, optimizer),
        config,
        sampler,
        work / "checkpoints",
        on_validated=report,
    )
    if arguments.only_export:
        trainer.load(work / "checkpoints" / "model.pt")
    else:
        trainer.run(train, valid)
    averaged = trainer.average() or work / "checkpoints" / "model.pt"
    model.load_state_dict(load_checkpoint(averaged)["state_dict"])
    report(trainer.progress)
    finish(model, criterion, corpus, phrases, frontend, valid, setup, config, work)
    scale = sharpen(model, valid)
    logger.info("the scores are scaled by %.2f, which fits the development words best", scale)
    report(trainer.progress)
    if arguments.out is not None:
        export(model, raw, cmvn, arguments.out)
    return 0


def finish(
    model: BiCifParaformer,
    criterion: WordsLoss,
    corpus: Corpus,
    phrases: list[Clip],
    frontend: WavFrontend,
    valid: FixedSource,
    setup: Setup,
    config: TrainConfig,
    work: Path,
) -> None:
    """Short runs from the averaged model: words beside foreign speech are refused; times get exact."""
    foreign = corpus.foreign + 4 * phrases
    maker = Augmenter(corpus.train, foreign, corpus.noises, corpus.rooms, FINISH)
    predictor = model.predictor
    times = [predictor.upsample_cnn, predictor.blstm, predictor.cif_output2]
    everything = [*model.parameters(), *criterion.parameters()]
    head = [parameter for part in times for parameter in part.parameters()]
    runs: list[tuple[str, Criterion, list[nn.Parameter], float, int, int]] = [
        ("refuse", criterion, everything, 3e-4, 2, setup.epoch_size),
        ("times", TimesLoss(), head, 2e-3, 1, setup.epoch_size),
        ("margin", TimesLoss(margin=0.3), head, 2e-3, 1, setup.epoch_size // 4),
    ]
    sampler = SamplerConfig(batch_size=setup.batch_rows, batch_size_sample_max=128, sort_size=1600)
    for name, loss, parameters, rate, epochs, size in runs:
        source = WordSource({0: maker}, frontend, size=size, seed=setup.seed + len(name))
        steps = epochs * len(plan_epoch(source.lengths(0), sampler, epoch=0, seed=setup.seed))
        optimizer = build_optimizer(OptimConfig(optim="adamw", lr=rate, betas=(0.9, 0.98)), parameters)
        schedule = ScheduleConfig(
            scheduler="warmup_stable_decay", warmup_steps=20, total_steps=steps, decay_steps=steps
        )
        changed = dataclasses.replace(config, max_epoch=epochs, avg_nbest_model=1, max_seconds=None)
        scheduler = build_scheduler(schedule, optimizer)
        Trainer(model, loss, optimizer, scheduler, changed, sampler, work / name).run(source, valid)


@torch.no_grad()
def sharpen(model: BiCifParaformer, valid: FixedSource) -> float:
    """Scale the output layer so that confidences fit: smoothed labels leave them too low. No word changes."""
    model.eval()
    output = model.decoder.output_layer
    assert output is not None
    scores: list[Tensor] = []
    truth: list[Tensor] = []
    for start in range(0, len(valid.examples), 64):
        batch = collate(valid.examples[start : start + 64])
        labels, counts = with_end(batch.targets, batch.target_lengths, model.config)
        encoded = model.encode(batch.features, batch.lengths)
        predicted = model.predictor(encoded.memory, batch.lengths, counts)
        logits = output(model.decode(predicted.embeds, counts, encoded))
        scores.append(logits[labels > 2])
        truth.append(labels[labels > 2])
    scales = [1.0 + 0.05 * step for step in range(21)]
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
    parser.add_argument(
        "--work",
        type=Path,
        default=Path(tempfile.gettempdir()) / "train-words",
        help="folder for checkpoints and synthesized speech; a run found there is continued",
    )
    parser.add_argument("--max-seconds", type=float, help="stop training after so long (not repeatable)")
    parser.add_argument(
        "--only-export", action="store_true", help="average and export the checkpoints there are"
    )
    known, rest = parser.parse_known_args(argv)
    return known, options(Setup, parse_overrides(rest), "train_asr.py")


def read_corpus(data: Path, setup: Setup, work: Path) -> Corpus:
    """Read, or take from `work` what an earlier run read and synthesized with the same seed."""
    cached = work / f"corpus-{setup.seed}-{setup.takes}-{setup.other_takes}.pickle"
    if cached.is_file():
        with cached.open("rb") as file:
            return Corpus(**pickle.load(file))
    synthetic = words_synth.synthesize(words_synth.plan(setup.seed, setup.takes, setup.other_takes))
    noises, rooms = words_data.read_noises(data)
    corpus = Corpus(
        train=words_data.read_words(data, "train") + [clip for clip in synthetic if clip.token != UNKNOWN],
        dev=words_data.read_words(data, "dev"),
        foreign=words_data.read_foreign(data) + [clip for clip in synthetic if clip.token == UNKNOWN],
        noises=noises,
        rooms=rooms,
    )
    with cached.open("wb") as file:
        pickle.dump({field.name: getattr(corpus, field.name) for field in dataclasses.fields(corpus)}, file)
    return corpus


def read_phrases(setup: Setup, work: Path) -> list[Clip]:
    """Running speech, synthesized once."""
    cached = work / f"phrases-{setup.seed}.pickle"
    if not cached.is_file():
        clips = words_synth.synthesize(words_synth.plan_running_speech(setup.seed, 6))
        with cached.open("wb") as file:
            pickle.dump(clips, file)
    with cached.open("rb") as file:
        loaded: list[Clip] = pickle.load(file)
    return loaded


def measure_cmvn(augmenter: Augmenter, config: FrontendConfig, seed: int) -> tuple[Any, Any]:
    """(shift, scale) over 2,000 training utterances, the same for each of the stacked frames as usual."""
    plain = WavFrontend(dataclasses.replace(config, lfr_m=1, lfr_n=1))
    source = WordSource({0: augmenter}, plain, size=2000, seed=seed + 1)
    shift, scale = compute_cmvn(source.load(0, index).features for index in range(2000))
    return np.tile(shift, config.lfr_m), np.tile(scale, config.lfr_m)


def estimate_steps(train: WordSource, sampler: SamplerConfig, setup: Setup) -> tuple[int, int]:
    """Updates in the whole run and in its last epochs, from one epoch of each kind."""
    usual_epochs = setup.epochs - setup.first_epochs - setup.last_epochs
    first, usual, last = (
        len(plan_epoch(train.lengths(epoch), sampler, epoch=epoch, seed=setup.seed))
        for epoch in (0, setup.first_epochs, setup.epochs - setup.last_epochs)
    )
    total = setup.first_epochs * first + usual_epochs * usual + setup.last_epochs * last
    return total, setup.last_epochs * last


def dev_sets(clips: Sequence[Clip]) -> dict[str, list[Utterance]]:
    """Development utterances by condition; their speakers are neither in training nor in the tests."""
    single = words_data.single_words(clips)
    joined = words_data.joined_words(clips, 60, seed=1)
    return {
        "words": single,
        "words, telephone": [_over_telephone(one) for one in single[::2]],
        "strings": joined,
        "strings, telephone": [_over_telephone(one) for one in joined[::2]],
    }


def _over_telephone(utterance: Utterance) -> Utterance:
    return dataclasses.replace(utterance, samples=words_data.telephone(utterance.samples))


def edit_distance(a: Sequence[object], b: Sequence[object]) -> int:
    """Insertions, deletions and substitutions that turn a into b."""
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, right in enumerate(b, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (left != right))
    return row[-1]


def official_config(setup: Setup) -> dict[str, Any]:
    """config.yaml as a mapping, in the official layout."""
    dropout = setup.dropout
    return {
        "model": "BiCifParaformer",
        "model_conf": {
            "ctc_weight": 0.0,
            "lsm_weight": setup.smoothing,
            "length_normalized_loss": True,
            "predictor_weight": 1.0,
            "predictor_bias": 1,
            # Words follow one another at random: there is nothing to learn from glancing at the others.
            "sampling_ratio": 0.0,
        },
        "encoder": "SANMEncoder",
        "encoder_conf": {
            "output_size": setup.width,
            "attention_heads": 4,
            "linear_units": setup.hidden,
            "num_blocks": setup.layers,
            "dropout_rate": dropout,
            "positional_dropout_rate": dropout,
            "attention_dropout_rate": 0.0,
            "input_layer": "pe",
            "pos_enc_class": "SinusoidalPositionEncoder",
            "normalize_before": True,
            "kernel_size": 11,
            "sanm_shfit": 0,
            "selfattention_layer_type": "sanm",
        },
        "decoder": "ParaformerSANMDecoder",
        "decoder_conf": {
            "attention_heads": 4,
            "linear_units": setup.hidden,
            "num_blocks": setup.decoder_layers,
            "att_layer_num": setup.decoder_layers,
            "dropout_rate": dropout,
            "positional_dropout_rate": dropout,
            "self_attention_dropout_rate": dropout,
            "src_attention_dropout_rate": 0.0,
            "kernel_size": 11,
            "sanm_shfit": 0,
        },
        "predictor": "CifPredictorV3",
        "predictor_conf": {
            "idim": setup.width,
            "threshold": 1.0,
            "l_order": 1,
            "r_order": 1,
            "tail_threshold": 0.45,
            "smooth_factor2": 0.25,
            "noise_threshold2": 0.01,
            "upsample_times": 3,
            "use_cif1_cnn": False,
            "upsample_type": "cnn_blstm",
        },
        "frontend": "WavFrontend",
        "frontend_conf": {
            "fs": 16000,
            "window": "hamming",
            "n_mels": 80,
            "frame_length": 25,
            "frame_shift": 10,
            "dither": 0.0,
            "lfr_m": 7,
            "lfr_n": 6,
        },
        "specaug": "SpecAugLFR",
        "specaug_conf": {
            "apply_time_warp": False,
            "apply_freq_mask": True,
            "freq_mask_width_range": [0, 11],
            "lfr_rate": 6,
            "num_freq_mask": 2,
            "apply_time_mask": True,
            "time_mask_width_range": [0, 3],
            "num_time_mask": 1,
        },
        "tokenizer": "CharTokenizer",
        "tokenizer_conf": {"unk_symbol": "<unk>", "split_with_space": True},
    }


def export(model: BiCifParaformer, raw: dict[str, Any], cmvn: Path, out: Path) -> None:
    """Write the model directory in the official layout; the card (README.md) is written by hand."""
    from omegaconf import OmegaConf

    out.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(OmegaConf.create(raw), out / "config.yaml")
    metas = {
        "init_param": "model.pt",
        "config": "config.yaml",
        "tokenizer_conf": {"token_list": "tokens.json", "seg_dict_file": "seg_dict"},
        "frontend_conf": {"cmvn_file": "am.mvn"},
    }
    described = {
        "framework": "pytorch",
        "task": "auto-speech-recognition",
        "model": {"type": "funasr"},
        "pipeline": {"type": "funasr-pipeline"},
        "file_path_metas": metas,
    }
    (out / "configuration.json").write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
    (out / "tokens.json").write_text(json.dumps(list(TOKENS), indent=0) + "\n", encoding="utf-8")
    words = [token for token in TOKENS if not token.startswith("<")]
    (out / "seg_dict").write_text("".join(f"{word} {word}\n" for word in words), encoding="utf-8")
    (out / "am.mvn").write_bytes(cmvn.read_bytes())
    torch.save({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, out / "model.pt")
    size = sum(path.stat().st_size for path in out.iterdir())
    logger.info("%s: %.1f MB", out, size / 1e6)


if __name__ == "__main__":
    sys.exit(main())
