"""Many threads, one network: what each gets is what it gets alone, errors included."""

from __future__ import annotations

import contextlib
import linecache
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from funasr.errors import OptionError
from funasr.pipeline import engine
from funasr.pipeline.engine import StepEngine
from funasr.stages.protocols import Chunk, ChunkRow, ChunkShape


@dataclass(frozen=True)
class Sum:
    """A state: the sum of all features of a stream."""

    value: float = 0.0
    nbytes: int = 8


class Adder:
    """Says the sum of all it has heard of a stream. Fails on chunks of a negative first number."""

    def __init__(self, gate: threading.Event | None = None) -> None:
        self.batches: list[int] = []
        self.gate = gate
        self.entered = threading.Event()

    def initial_state(self, shape: ChunkShape) -> Any:
        return Sum()

    def step(self, chunks: Sequence[Chunk]) -> list[tuple[ChunkRow, Any]]:
        self.batches.append(len(chunks))
        self.entered.set()
        if self.gate is not None:
            self.gate.wait(10)
        for chunk in chunks:
            if chunk.features[0, 0] < 0:
                raise ValueError(f"bad chunk {chunk.features[0, 0]:.0f}")
        return [self._one(chunk) for chunk in chunks]

    def _one(self, chunk: Chunk) -> tuple[ChunkRow, Any]:
        total = chunk.state.value + float(chunk.features.sum())
        ids = np.array([int(total)], np.int64)
        return ChunkRow(ids=ids, confidences=np.ones(1, np.float32), ends=np.zeros(1, np.float32)), Sum(total)


def chunk(value: float, state: Any = None) -> Chunk:
    return Chunk(features=np.full((1, 1), value, np.float32), state=state or Sum())


def said(result: list[tuple[ChunkRow, Any]]) -> list[int]:
    return [int(row.ids[0]) for row, _ in result]


class Callers:
    """Calls from threads of their own, and what came of them."""

    def __init__(self, engine: StepEngine) -> None:
        self._engine = engine
        self.results: dict[int, Any] = {}
        self._threads: list[threading.Thread] = []

    def call(self, *values: float) -> None:
        """A call with a chunk for each value; its result is under the first one."""
        waiting = len(self._engine._waiting)
        first = bool(self._threads)

        def run() -> None:
            try:
                self.results[int(values[0])] = said(self._engine.step([chunk(value) for value in values]))
            except BaseException as error:
                self.results[int(values[0])] = error

        thread = threading.Thread(target=run, daemon=True)
        self._threads.append(thread)
        thread.start()
        if first:  # the others wait: in this order
            until(lambda: len(self._engine._waiting) == waiting + 1)

    def join(self) -> None:
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.fixture
def network() -> Adder:
    return Adder(threading.Event())


@pytest.fixture
def callers(network: Adder) -> Callers:
    """One call is in the network, which waits for its gate."""
    callers = Callers(StepEngine(network, most=4))
    callers.call(100)
    assert network.entered.wait(10)
    return callers


def test_a_call_alone_steps_at_once() -> None:
    network = Adder()

    assert said(StepEngine(network).step([chunk(1), chunk(2)])) == [1, 2]
    assert network.batches == [2]


def test_who_waits_meanwhile_shares_the_next_call(network: Adder, callers: Callers) -> None:
    callers.call(1)
    callers.call(2, 3)
    callers.call(4)
    network.gate.set()
    callers.join()

    assert callers.results == {100: [100], 1: [1], 2: [2, 3], 4: [4]}
    assert network.batches == [1, 4]


def test_a_batch_is_not_larger_than_allowed(network: Adder, callers: Callers) -> None:
    for value in (1, 2, 3, 4, 5, 6):
        callers.call(value)
    callers.call(10, 11, 12, 13, 14)
    network.gate.set()
    callers.join()

    assert network.batches == [1, 4, 2, 5]
    assert callers.results[10] == [10, 11, 12, 13, 14]


def test_an_error_reaches_the_caller_whose_chunk_it_is_and_no_other(network: Adder, callers: Callers) -> None:
    callers.call(1)
    callers.call(-2)
    callers.call(3, 4)
    network.gate.set()
    callers.join()

    assert str(callers.results.pop(-2)) == "bad chunk -2"
    assert callers.results == {100: [100], 1: [1], 3: [3, 4]}
    assert network.batches == [1, 4, 1, 1, 2]


def test_after_an_error_the_engine_is_as_before() -> None:
    one = StepEngine(Adder())

    with pytest.raises(ValueError, match="bad chunk -1"):
        one.step([chunk(-1)])

    assert said(one.step([chunk(5)])) == [5]


def test_an_interrupted_leader_leaves_nobody_waiting(network: Adder) -> None:
    """An interrupt that ends the network's call does not end those of the others."""
    step = network.step

    def interrupted(chunks: Sequence[Chunk]) -> Any:
        result = step(chunks)
        if any(c.features[0, 0] == 1 for c in chunks):
            raise KeyboardInterrupt
        return result

    network.step = interrupted  # type: ignore[method-assign]
    callers = Callers(StepEngine(network))
    callers.call(100)
    assert network.entered.wait(10)
    for value in (1, 2, 3):
        callers.call(value)
    network.gate.set()
    callers.join()

    assert isinstance(callers.results.pop(1), KeyboardInterrupt)
    assert callers.results == {100: [100], 2: [2], 3: [3]}


def test_whoever_leaves_while_waiting_is_not_waited_for(
    network: Adder, callers: Callers, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            raise KeyboardInterrupt

    class Leaving(engine._Call):
        def __init__(self, chunks: Sequence[Chunk]) -> None:
            super().__init__(chunks)
            self.woken = Interrupted()

    with monkeypatch.context() as patch:
        patch.setattr(engine, "_Call", Leaving)
        with pytest.raises(KeyboardInterrupt):
            callers._engine.step([chunk(7)])
    assert callers._engine._waiting == []

    callers.call(1)
    network.gate.set()
    callers.join()
    assert callers.results == {100: [100], 1: [1]}


def test_64_streams_in_8_threads_get_what_each_gets_alone() -> None:
    network = Adder()
    shared = StepEngine(network, most=16)
    rng = np.random.default_rng(0)
    sounds = rng.integers(1, 100, (64, 30)).astype(float)
    heard: dict[int, list[int]] = {}

    def serve(streams: Sequence[int]) -> None:
        states: dict[int, Any] = {number: shared.initial_state(ChunkShape()) for number in streams}
        for place in range(sounds.shape[1]):
            for number in streams:
                [(row, states[number])] = shared.step([chunk(sounds[number, place], states[number])])
                heard.setdefault(number, []).append(int(row.ids[0]))

    threads = [threading.Thread(target=serve, args=(range(first, 64, 8),)) for first in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    for number in range(64):
        assert heard[number] == np.cumsum(sounds[number]).astype(int).tolist()
    assert sum(network.batches) == sounds.size
    assert max(network.batches) <= 16


def test_a_batch_holds_something() -> None:
    with pytest.raises(OptionError, match="most is 0"):
        StepEngine(Adder(), most=0)


@pytest.mark.parametrize("line", range(24))
def test_a_leader_that_is_interrupted_at_any_line_leaves_nobody_waiting(line: int) -> None:
    """Lines of `step` and `_lead`, counted from the moment at which two others wait."""
    network = Adder()
    shared = StepEngine(network)
    callers = Callers(shared)
    shared._busy = True  # by a caller of our own making, whose part this thread takes
    callers.call(0)
    until(lambda: len(shared._waiting) == 1)
    callers.call(1)
    shared._busy = False
    lines = 0

    def trace(frame: Any, event: str, argument: Any) -> Any:
        nonlocal lines
        if frame.f_code.co_name in ("step", "_lead") and "engine.py" in frame.f_code.co_filename:
            source = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
            # Nothing interrupts between the end of a `with` block and the release of its lock.
            if event == "line" and not source.strip().startswith("with "):
                lines += 1
                if lines == line + 1:
                    raise KeyboardInterrupt
            return trace
        return None

    sys.settrace(trace)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            shared.step([chunk(2)])
    finally:
        sys.settrace(None)

    shared.step([chunk(3)])
    callers.join()
    assert callers.results == {0: [0], 1: [1]}
