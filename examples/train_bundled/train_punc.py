"""Train the bundled punctuation model, Chinese and English: one command, one CPU thread, about an hour.

    python examples/train_bundled/train_punc.py --data ../shared/data

`punc_data.py` says what is a word and what a mark, `punc_words.py` what the model knows of a word.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf
from punc_data import LABELS, LANGUAGES, NONE, read_blocks
from punc_windows import Windows
from punc_words import UNKNOWN, ComposedEmbedding, Words
from quick_layers import use_quick_encoder
from torch import Tensor, nn
from torch.utils.data import DataLoader

from funasr.models.ct_transformer.loss import CtTransformerLoss, mark_f1
from funasr.models.ct_transformer.network import CTTransformer
from funasr.nn.weights import read_checkpoint
from funasr.train.data import Batch, EpochBatches
from funasr.train.optim import OptimConfig, ScheduleConfig, build_optimizer, build_scheduler
from funasr.train.sampler import SamplerConfig, plan_epoch
from funasr.train.trainer import TrainConfig, Trainer, seed_everything

logger = logging.getLogger(__name__)

SEED = 2026
SHARES = {"zh": 0.5, "mixed": 0.4, "en": 0.8}
"""How much of the text of a language is read in an epoch: there is least of English, so it is read more."""
NETWORK: dict[str, Any] = {
    "input_size": 96,
    "output_size": 192,
    "attention_heads": 4,
    "linear_units": 768,
    "num_blocks": 3,
    "dropout_rate": 0.0,
    "positional_dropout_rate": 0.0,
    "attention_dropout_rate": 0.0,
    "input_layer": "pe",
    "pos_enc_class": "SinusoidalPositionEncoder",
    "normalize_before": True,
    "kernel_size": 11,
    "sanm_shfit": 0,
    "selfattention_layer_type": "sanm",
    "padding_idx": 0,
}
SETTINGS: dict[str, Any] = {
    "model": "CTTransformer",
    "model_conf": {
        "ignore_id": 0,
        "embed_unit": NETWORK["input_size"],
        "att_unit": NETWORK["output_size"],
        "dropout_rate": 0.0,
        "punc_list": list(LABELS),
        "punc_weight": [1.0] * len(LABELS),
        "sentence_end_id": 3,
    },
    "encoder": "SANMEncoder",
    "encoder_conf": NETWORK,
    "tokenizer": "CharTokenizer",
    "tokenizer_conf": {"unk_symbol": UNKNOWN},
}


class MarkLoss(CtTransformerLoss):
    """`features` of a batch are word ids."""

    def of_batch(self, model: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        assert isinstance(model, CTTransformer)
        ids = batch.features[:, :, 0].long()
        return self(model, ids, batch.lengths, batch.targets, batch.target_lengths)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the folder with text/")
    parser.add_argument("--out", type=Path, default=Path("funasr/bundled/ct-punc-small"))
    parser.add_argument("--work", type=Path, default=Path(gettempdir()) / "bundled-punc", help="checkpoints")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument(
        "--text", type=float, default=1.0, help="share of the training text, for learning curves"
    )
    parser.add_argument("--fp32", action="store_true", help="for a CPU without bfloat16 products")
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    keep_memory()
    seed_everything(SEED)

    blocks = read_blocks(options.data / "text")
    training = [block for block in blocks if block.part == "train"]
    if options.text < 1:
        order = np.random.default_rng(SEED).permutation(len(training))
        training = [training[place] for place in sorted(order[: round(options.text * len(training))])]
    words = Words.of(training)
    train = Windows(training, words, seed=SEED, shares=SHARES, unknown=0.005)
    valid = Windows([block for block in blocks if block.part == "dev"][::3], words, seed=SEED, fixed=True)

    model = CTTransformer.from_official(SETTINGS, words.size)
    model.embed = ComposedEmbedding(words, NETWORK["input_size"], own_dropout=0.05)  # type: ignore[assignment]
    use_quick_encoder(model)
    sampler = SamplerConfig(batch_size=2560, batch_size_sample_max=256, sort_size=4096, max_token_length=1000)
    updates = sum(
        len(plan_epoch(train.lengths(epoch), sampler, epoch=epoch)) for epoch in range(options.epochs)
    )
    logger.info(
        "%s words of %s, %d tokens, %d updates, %.2f M parameters without words",
        f"{sum(len(line.words) for block in training for line in block.lines):,}",
        ", ".join(LANGUAGES),
        len(words.tokens),
        updates,
        sum(p.numel() for name, p in model.named_parameters() if not name.startswith("embed")) / 1e6,
    )
    optimizer = build_optimizer(
        OptimConfig(optim="adamw", lr=1.5e-3, betas=(0.9, 0.98), weight_decay=0.01), model.parameters()
    )
    # A run can be made longer without changing what it has done.
    schedule = ScheduleConfig(
        scheduler="warmup_stable_decay",
        warmup_steps=300,
        total_steps=updates,
        decay_steps=2 * updates // 5,
        final=0.01,
    )
    trainer = Trainer(
        model,
        MarkLoss.from_official(SETTINGS, model.config).of_batch,
        optimizer,
        build_scheduler(schedule, optimizer),
        TrainConfig(
            max_epoch=options.epochs,
            log_interval=200,
            validate_interval=10**9,
            save_checkpoint_interval=500,
            grad_clip=2.0,
            keep_nbest_models=1,
            avg_keep_nbest_models_type="loss",
            avg_nbest_model=1,  # the last one: the rate was high before it
            use_bf16=not options.fp32,
            seed=SEED,
        ),
        sampler,
        options.work,
    )
    trainer.run(train, valid)
    best = trainer.average()
    assert best is not None
    model.load_state_dict(read_checkpoint(best))
    balance(model.eval(), valid, sampler)
    write_model(options.out, model, words)
    return 0


@torch.no_grad()
def balance(model: CTTransformer, source: Windows, sampler: SamplerConfig) -> None:
    """Shift the scores of the marks so that F1 over all of them is best on `source`.

    Cross entropy has a label said when it is likelier than not having a mark, which misses more marks than it
    invents; F1 is best where both are alike.
    """
    logits, labels = [], []
    for batch in DataLoader(
        EpochBatches(source, 0, plan_epoch(source.lengths(0), sampler, epoch=0)), batch_size=None
    ):
        known = batch.targets > 0
        logits.append(model(batch.features[:, :, 0].long(), batch.lengths)[known])
        labels.append(batch.targets[known])
    scores, there = torch.cat(logits)[None], torch.cat(labels)[None]
    shift = torch.zeros(len(LABELS))
    for _ in range(2):
        for label in range(NONE + 1, len(LABELS)):
            tried = [
                (shift * (torch.arange(len(LABELS)) != label)).index_fill(0, torch.tensor(label), step / 8)
                for step in range(-4, 17)
            ]
            shift = max(tried, key=lambda one: float(mark_f1(scores + one, there)))
    logger.info(
        "f1 %.3f -> %.3f by %s", mark_f1(scores, there), mark_f1(scores + shift, there), shift.tolist()
    )
    model.decoder.bias += shift


def keep_memory() -> None:
    """Have freed memory kept by the process: fetching it anew for each batch takes a quarter of the time."""
    try:
        allocator = ctypes.CDLL("libc.so.6")
        allocator.mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
        allocator.mallopt(-1, (1 << 31) - 1)  # M_TRIM_THRESHOLD
    except (OSError, AttributeError):
        logger.info("not the GNU C library: memory is fetched anew for each batch")


def write_model(folder: Path, model: CTTransformer, words: Words) -> None:
    """The official layout. Weights are stored in 16 bits; both we and upstream compute with 32."""
    folder.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(OmegaConf.create(SETTINGS), folder / "config.yaml")
    metas = {
        "init_param": "model.pt",
        "config": "config.yaml",
        "tokenizer_conf": {"token_list": "tokens.json"},
    }
    described = {
        "framework": "pytorch",
        "task": "punctuation",
        "model": {"type": "funasr"},
        "file_path_metas": metas,
    }
    (folder / "configuration.json").write_text(json.dumps(described, indent=2) + "\n")
    tokens = json.dumps(words.tokens, ensure_ascii=False, indent=0)
    (folder / "tokens.json").write_text(tokens + "\n", encoding="utf-8")
    embedding = model.embed
    assert isinstance(embedding, ComposedEmbedding)
    state = {name: weight for name, weight in model.state_dict().items() if not name.startswith("embed.")}
    state = {"embed.weight": embedding.fold(words.owners), **state}
    torch.save({name: weight.detach().half().clone() for name, weight in state.items()}, folder / "model.pt")


if __name__ == "__main__":
    raise SystemExit(main())
