"""The pipeline around a recognizer of a few lines: order, batches, faults, memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from funasr.arrays import Samples
from funasr.audio.inputs import Item
from funasr.audio.load import open_audio
from funasr.errors import AudioDecodeError
from funasr.pipeline.batching import BatchLimits
from funasr.pipeline.offline import OfflinePipeline, PipelineOptions
from funasr.result import Token, Transcript
from funasr.stages.paraformer import DecodeOptions


class Counter:
    """Says how many tenths of a second it heard; fails on sound that begins with a 1."""

    rate, timed, spaced, verbatim = 16000, False, True, False

    def __init__(self, error: Exception | None = None) -> None:
        self.batches: list[int] = []
        self._error = error or MemoryError("cannot allocate")

    def recognize(self, batch: Sequence[Samples], options: DecodeOptions) -> list[Transcript]:
        self.batches.append(len(batch))
        if any(len(samples) and samples[0] == 1 for samples in batch):
            raise self._error
        return [Transcript(key="", tokens=(Token(text=str(len(s) // 1600)),)) for s in batch]


def sound(tenths: int, first: float = 0.0) -> Samples:
    samples = np.zeros(tenths * 1600, np.float32)
    samples[0] = first
    return samples


def run(recognizer: Counter, sources: Sequence[Any], **options: Any) -> list[Transcript]:
    items = [Item(key=f"k{i}", source=source) for i, source in enumerate(sources)]
    how = PipelineOptions(**options)
    return list(OfflinePipeline(recognizer).run(items, lambda i: open_audio(i.source), DecodeOptions(), how))


def test_results_come_in_the_order_of_the_inputs_though_batches_mix_them() -> None:
    recognizer = Counter()

    results = run(recognizer, [sound(9), sound(3), sound(9), sound(3)])

    assert [(t.key, t.text) for t in results] == [("k0", "9"), ("k1", "3"), ("k2", "9"), ("k3", "3")]
    assert recognizer.batches == [2, 2]


@pytest.mark.parametrize("pool_s", [0.01, 600.0])
@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("kernel"), AudioDecodeError("inner")])
def test_an_utterance_that_fails_costs_only_its_own_file(pool_s: float, error: Exception) -> None:
    results = run(Counter(error), [sound(3), sound(3, first=1), sound(3), "absent.wav"], pool_s=pool_s)

    assert [t.key for t in results] == ["k0", "k1", "k2", "k3"]
    assert [t.text for t in results] == ["3", "", "3", ""]
    assert [bool(t.error) for t in results] == [False, True, False, True]


def test_the_first_fault_stops_the_call_when_asked_to() -> None:
    with pytest.raises(MemoryError):
        run(Counter(), [sound(3), sound(3, first=1)], raise_errors=True)


def test_sound_waiting_to_be_batched_is_bounded_and_results_come_early() -> None:
    recognizer = Counter()
    items = [Item(key=str(i), source=sound(10)) for i in range(10)]
    opened: list[str] = []

    def open_sound(item: Item) -> Any:
        opened.append(item.key)
        return open_audio(item.source)

    options = PipelineOptions(pool_s=3, limits=BatchLimits(batch_size=2))
    results: Iterator[Transcript] = OfflinePipeline(recognizer).run(
        items, open_sound, DecodeOptions(), options
    )

    assert next(results).key == "0"
    assert len(opened) == 3
    assert [t.key for t in results] == [str(i) for i in range(1, 10)]
