"""Hotwords as both back ends hand them to a network, and a memory of what it made of the last few lists."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeAlias, TypeVar

from funasr.stages.protocols import Hotwords

Ids: TypeAlias = tuple[tuple[int, ...], ...]
"""Phrases as token ids."""

V = TypeVar("V")


def listed(hotwords: Hotwords | None, sos: int) -> tuple[Ids, tuple[float, ...]]:
    """-> the phrases with the "no hotword" entry, `(sos,)`, behind them, and what to add to their scores.

    That is the logarithm of the user's weight, 0 where it is 1. Phrases without ids are skipped.
    """
    given = [] if hotwords is None else zip(hotwords.ids, hotwords.weights, strict=True)
    kept = [(ids, weight) for ids, weight in given if ids]
    return (*(ids for ids, _ in kept), (sos,)), (*(math.log(weight) for _, weight in kept), 0.0)


class Recent(Generic[V]):
    """The last few values, by key. Safe to share between threads; bounded. A copy starts empty."""

    def __init__(self, size: int = 16) -> None:
        self._size = size
        self._known: OrderedDict[Hashable, V] = OrderedDict()
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[object, ...]:
        return Recent, (self._size,)  # locks cannot be copied

    def get(self, key: Hashable, make: Callable[[], V]) -> V:
        """The value of `key`, made now if it is not remembered."""
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key]
        value = make()
        with self._lock:
            self._known[key] = value
            while len(self._known) > self._size:
                self._known.popitem(last=False)
        return value
