"""The vocabulary of the bundled punctuation model, and word vectors put together from parts of words.

The released layout has one vector a word, found by its exact spelling, and one for all others. A small
corpus knows most English words from a few places only. So in training a vector is the sum of one of the
word's own and of those of its beginnings, endings and trigrams, and the word's own is left out now and then:
the fewer its occurrences, the oftener. `fold` adds them up into the plain table.

A word with capitals has the vector of its lower-case form: marks do not depend on case.

V words, P parts, E width, B batch, T places.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from punc_data import Block
from torch import Tensor, nn

UNKNOWN = "<unk>"
_ALPHABETIC = re.compile(r"[a-z]+(?:'[a-z]+)*")
_MOST_PARTS = 24


@dataclass(frozen=True, kw_only=True)
class Words:
    """What the model knows."""

    tokens: tuple[str, ...]
    """tokens.json: `<unk>`, lower-case words, then words with capitals."""
    counts: NDArray[np.int64]
    """(V,) occurrences in the training part."""
    owners: NDArray[np.int64]
    """(V,) the word whose vector each shares; itself, but for words with capitals."""

    @property
    def size(self) -> int:
        """Words with a vector of their own; they come first."""
        return int((self.owners == np.arange(len(self.owners))).sum())

    @classmethod
    def of(cls, blocks: Iterable[Block], *, capitals: int = 5) -> Words:
        """Characters and words that occur twice, English ones once, with capitals `capitals` times."""
        counts: Counter[str] = Counter()
        cased: Counter[str] = Counter()
        english: set[str] = set()
        for block in blocks:
            for line in block.lines:
                small = [word.lower() for word in line.words]
                counts.update(small)
                cased.update(word for word, lower in zip(line.words, small, strict=True) if word != lower)
                if block.language == "en":
                    english.update(small)
        plain = sorted(
            (w for w, n in counts.items() if n > 1 or (w in english and _ALPHABETIC.fullmatch(w))),
            key=lambda word: (-counts[word], word),
        )
        tokens = ["<blank>", UNKNOWN, *plain]
        ids = {token: number for number, token in enumerate(tokens)}
        with_capitals = sorted(
            w for w, n in cased.items() if n >= capitals and w.lower() in ids and w not in ids
        )
        return cls(
            tokens=(*tokens, *with_capitals),
            counts=np.array([counts[t] for t in tokens] + [0] * len(with_capitals)),
            owners=np.array([*range(len(tokens)), *(ids[word.lower()] for word in with_capitals)]),
        )


def parts_of(word: str) -> list[str]:
    """Beginnings, endings and trigrams of an ASCII word, digits all alike; a character has none.

    >>> parts_of("in2")
    ['<in0>', '<i', '0>', '<in', 'n0>', 'in0']
    """
    if not word[0].isascii():
        return []
    shape = re.sub(r"\d", "0", word)
    framed = f"<{shape}>"
    parts = [framed] if len(framed) <= 6 else []
    for size in (2, 3, 4, 5):
        if len(framed) > size:
            parts += [framed[:size], framed[-size:]]
    parts += [framed[i : i + 3] for i in range(1, len(framed) - 3)]
    return list(dict.fromkeys(parts))[:_MOST_PARTS]


class ComposedEmbedding(nn.Module):
    """Stands in for the network's `embed` in training."""

    def __init__(self, words: Words, width: int, *, own_dropout: float) -> None:
        super().__init__()
        count, scale = words.size, width**-0.5
        spelled = [parts_of(token) if number > 1 else [] for number, token in enumerate(words.tokens[:count])]
        often = Counter(part for parts in spelled for part in parts)
        ids = {part: number for number, part in enumerate((p for p, n in often.items() if n >= 3), 1)}
        table = np.zeros((count, _MOST_PARTS), dtype=np.int64)
        for row, parts in zip(table, spelled, strict=True):
            known = [ids[part] for part in parts if part in ids]
            row[: len(known)] = known
        self.own = nn.Parameter(torch.randn(count, width) * scale)
        self.parts = nn.Parameter(torch.randn(len(ids) + 1, width) * scale)
        self.register_buffer("table", torch.from_numpy(table), persistent=False)
        has_parts = torch.from_numpy((table > 0).sum(axis=1))
        self.register_buffer("share", has_parts.clamp(min=1).float().rsqrt()[:, None], persistent=False)
        # Own vectors of words that have parts: always there for the very frequent, mostly not for the rare.
        dropout = (
            own_dropout + (1 - own_dropout) * torch.from_numpy(words.counts[:count]).clamp(min=1).rsqrt()
        )
        dropout = torch.where(has_parts > 0, dropout.float(), torch.zeros(()))
        self.register_buffer("dropout", dropout, persistent=False)

    def vectors(self, ids: Tensor, keep: Tensor | None = None) -> Tensor:
        """ids (N,) -> (N, E); `keep` (N, 1) is 0 for words whose own vector is left out."""
        own = self.own[ids]
        parts = nn.functional.embedding_bag(self.table[ids], self.parts, mode="sum", padding_idx=0)
        return (own if keep is None else own * keep) + parts * self.share[ids]

    def forward(self, ids: Tensor) -> Tensor:
        """ids (B, T) -> (B, T, E)."""
        distinct, places = ids.unique(return_inverse=True)
        keep = None
        if self.training:
            keep = (torch.rand(len(distinct)) >= self.dropout[distinct]).float()[:, None]
        return nn.functional.embedding(places, self.vectors(distinct, keep))

    @torch.no_grad()
    def fold(self, owners: Sequence[int] | NDArray[np.int64]) -> Tensor:
        """(V, E) the plain table, a row for each token of the vocabulary."""
        return self.vectors(torch.arange(len(self.own)))[torch.as_tensor(np.asarray(owners))]
