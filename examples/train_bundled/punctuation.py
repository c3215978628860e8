"""The bundled punctuation model: the data of punctuation.yaml, and its word vectors.

`punc_data.py` says what is a word and what a mark, `punc_words.py` what the model knows of a word.
"""

from __future__ import annotations

import ctypes
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bundle import Setup, made, setup_of, take_average, write_model
from punc_data import LABELS, NONE, Block, read_blocks
from punc_windows import Windows
from punc_words import ComposedEmbedding, Words
from quick_layers import use_quick_encoder
from torch.utils.data import DataLoader

from funasr.models.ct_transformer.loss import mark_f1
from funasr.models.ct_transformer.network import CTTransformer
from funasr.train.criteria import Parts
from funasr.train.data import EpochBatches
from funasr.train.own import OwnTraining, Sources
from funasr.train.recipe import Recipe
from funasr.train.sampler import SamplerConfig, plan_epoch

logger = logging.getLogger(__name__)

SHARES = {"zh": 0.5, "mixed": 0.4, "en": 0.8}
"""How much of the text of a language is read in an epoch: there is least of English, so it is read more."""


@dataclass(frozen=True, kw_only=True)
class PunctuationSetup(Setup):
    text: float = 1.0
    """Share of the training text, for learning curves."""


class Punctuation(OwnTraining):
    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__(settings)
        self.setup = setup_of(PunctuationSetup, settings)
        self.seed = int(settings["seed"])

    @cached_property
    def blocks(self) -> list[Block]:
        return list(read_blocks(Path(self.setup.data) / "text"))

    @cached_property
    def training(self) -> list[Block]:
        training = [block for block in self.blocks if block.part == "train"]
        if self.setup.text < 1:
            order = np.random.default_rng(self.seed).permutation(len(training))
            training = [training[place] for place in sorted(order[: round(self.setup.text * len(training))])]
        return training

    @cached_property
    def words(self) -> Words:
        return Words.of(self.training)

    @cached_property
    def valid(self) -> Windows:
        kept = [block for block in self.blocks if block.part == "dev"][::3]
        return Windows(kept, self.words, seed=self.seed, fixed=True)

    def prepare(self) -> Mapping[str, Any]:
        tokens = made(Path(str(self.settings["output_dir"])) / "tokens.json", self._write_tokens)
        return {"tokenizer_conf": {"token_list": str(tokens)}}

    def _write_tokens(self, path: Path) -> None:
        path.write_text(json.dumps(self.words.tokens, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")

    def data(self, recipe: Recipe, parts: Parts) -> Sources:
        train = Windows(self.training, self.words, seed=self.seed, shares=SHARES, unknown=0.005)
        return train, self.valid

    def network(self, recipe: Recipe, parts: Parts) -> CTTransformer:
        keep_memory()
        network = CTTransformer.from_official(parts.config, self.words.size)
        width = network.embed.embedding_dim
        network.embed = ComposedEmbedding(self.words, width, own_dropout=0.05)  # type: ignore[assignment]
        use_quick_encoder(network)
        return network

    def finish(self) -> None:
        """Weights are stored in 16 bits; both we and upstream compute with 32."""
        if not self.trainer.ranks.first:
            return
        network = take_average(self.trainer)
        assert isinstance(network, CTTransformer)
        balance(network, self.valid, self.trainer.sampler)
        embedding = network.embed
        assert isinstance(embedding, ComposedEmbedding)
        state = {name: one for name, one in network.state_dict().items() if not name.startswith("embed.")}
        state = {"embed.weight": embedding.fold(self.words.owners), **state}
        half = {name: weight.half() for name, weight in state.items()}
        write_model(self.setup, self.trainer.output, half)


lesson = Punctuation


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
