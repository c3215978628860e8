"""A recognizer and a language that are learnt in a moment, for tests of the loop."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from funasr.models.paraformer.bicif import BiCifParaformer
from funasr.models.paraformer.loss import ParaformerLoss
from funasr.train.data import Batch, Example
from funasr.train.optim import OptimConfig, ScheduleConfig, build_optimizer, build_scheduler
from funasr.train.sampler import SamplerConfig
from funasr.train.trainer import TrainConfig, Trainer

TINY: dict[str, Any] = {
    "model_conf": {
        "lsm_weight": 0.1,
        "length_normalized_loss": True,
        "predictor_weight": 1.0,
        "predictor_bias": 1,
        "sampling_ratio": 0.75,
    },
    "encoder": "SANMEncoder",
    "encoder_conf": {
        "output_size": 16,
        "attention_heads": 2,
        "linear_units": 32,
        "num_blocks": 2,
        "dropout_rate": 0.1,
    },
    "decoder": "ParaformerSANMDecoder",
    "decoder_conf": {
        "attention_heads": 2,
        "linear_units": 32,
        "num_blocks": 1,
        "att_layer_num": 1,
        "kernel_size": 5,
    },
    "predictor": "CifPredictorV3",
    "predictor_conf": {
        "idim": 16,
        "tail_threshold": 0.45,
        "smooth_factor2": 0.25,
        "noise_threshold2": 0.01,
        "upsample_times": 3,
        "use_cif1_cnn": False,
        "upsample_type": "cnn_blstm",
    },
}


class Tones:
    """A language of four words: word w is four rows with a bump in columns 2w and 2w + 1."""

    def __init__(self, size: int) -> None:
        self.size = size

    def lengths(self, epoch: int) -> NDArray[np.int64]:
        return np.array([4 * len(self._words(index)) for index in range(self.size)], dtype=np.int64)

    def load(self, epoch: int, index: int) -> Example:
        words = self._words(index)
        rows = np.repeat(np.eye(4, dtype=np.float32)[words - 3], 4, axis=0).repeat(2, axis=1)
        noise = np.random.default_rng((epoch, index)).normal(0, 0.1, rows.shape)
        return Example(key=str(index), features=(rows + noise).astype(np.float32), target=words)

    def _words(self, index: int) -> NDArray[np.int64]:
        rng = np.random.default_rng(index)
        return rng.integers(3, 7, int(rng.integers(1, 5)))


class Criterion:
    """The loss of the network's own config, on a batch."""

    def __call__(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Mapping[str, Tensor]]:
        assert isinstance(model, BiCifParaformer)
        loss = ParaformerLoss(model.config)
        return loss(model, batch.features, batch.lengths, batch.targets, batch.target_lengths)


def trainer(output: Path, raw: Mapping[str, Any] = TINY, eps: float = 1e-8, **changes: object) -> Trainer:
    torch.manual_seed(1)
    model = BiCifParaformer.from_official(raw, 8, 8)
    optimizer = build_optimizer(OptimConfig(lr=0.005, eps=eps), model.parameters())
    scheduler = build_scheduler(ScheduleConfig(scheduler="warmuplr", warmup_steps=10), optimizer)
    config = dataclasses.replace(
        TrainConfig(max_epoch=2, log_interval=4, keep_nbest_models=2, avg_nbest_model=2, grad_clip=5.0),
        **changes,
    )
    sampler = SamplerConfig(batch_size=64, sort_size=32)
    return Trainer(model, Criterion(), optimizer, scheduler, config, sampler, output)


def quiet_trainer(output: Path, **changes: object) -> Trainer:
    """One in which nothing is left to chance, so that batches may be taken apart and put together."""
    raw = copy.deepcopy(TINY)
    raw["model_conf"]["sampling_ratio"] = 0.0
    raw["encoder_conf"] |= dict.fromkeys(
        ("dropout_rate", "positional_dropout_rate", "attention_dropout_rate"), 0.0
    )
    raw["decoder_conf"] |= dict.fromkeys(
        (
            "dropout_rate",
            "positional_dropout_rate",
            "self_attention_dropout_rate",
            "src_attention_dropout_rate",
        ),
        0.0,
    )
    # Without the glancing sampler nothing reads the embeddings of the true words. With a larger eps, Adam
    # does not take whole steps by the rounding in gradients that are nought, as the biases of keys have.
    return trainer(output, raw, 1e-4, find_unused_parameters=True, **changes)
