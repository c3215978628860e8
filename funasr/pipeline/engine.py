"""Chunks of streams in many threads -> one call of the network for all that wait at a time."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from funasr.errors import OptionError
from funasr.stages.protocols import Chunk, ChunkRow, ChunkShape, StreamingAcousticNetwork

Stepped = list[tuple[ChunkRow, Any]]


class StepEngine:
    """A StreamingAcousticNetwork over another one: `step` calls that come at the same time share a batch.

    There is no thread of its own. A caller that finds the network idle steps at once, and alone; whoever
    comes meanwhile waits, and when the network is free the first of them steps for all who wait. So nobody
    waits for a batch to fill, and the busier it is the larger batches grow. A call that fails in company is
    tried again alone, so an error reaches the caller whose chunks it is about, and no other.
    """

    def __init__(self, network: StreamingAcousticNetwork, *, most: int = 64) -> None:
        """`most`: chunks in a batch; a call that has more of its own goes alone."""
        if most < 1:
            raise OptionError(f"most is {most}: a batch holds 1 chunk or more")
        self.network = network
        self._most = most
        self._lock = threading.Lock()
        self._waiting: list[_Call] = []
        self._busy = False
        """Somebody steps, or has been told to."""

    def initial_state(self, shape: ChunkShape) -> Any:
        return self.network.initial_state(shape)

    def step(self, chunks: Sequence[Chunk]) -> Stepped:
        """As the network's; raises what the network raises for these chunks."""
        call = _Call(chunks)
        try:
            with self._lock:
                self._waiting.append(call)
                if not self._busy:
                    # In this order: whoever is interrupted between the two still hands the lead on.
                    call.leads = self._busy = True
                    call.woken.set()
            call.woken.wait()
            if call.leads:
                self._lead(call)
        finally:
            # Also after an interrupt, which may come at any line: nobody may wait for one who has left.
            self._leave(call)
        if call.error is not None:
            raise call.error
        assert call.result is not None
        return call.result

    def _lead(self, own: _Call) -> None:
        """Step for the first who wait, `own` among them."""
        with self._lock:
            batch, count = [own], len(own.chunks)
            for call in self._waiting:
                if call is not own and count + len(call.chunks) <= self._most:
                    batch.append(call)
                    count += len(call.chunks)
            own.batch = batch  # first: whom an interrupt now finds in neither place would wait for ever
            self._waiting = [call for call in self._waiting if call not in batch]
        self._run(batch)

    def _run(self, batch: Sequence[_Call]) -> None:
        try:
            found = self.network.step([chunk for call in batch for chunk in call.chunks])
        except Exception as error:
            if len(batch) == 1:
                batch[0].end(error=error)
                return
            failed = True
        else:
            failed = False
        if failed:  # outside the handler, so that the memory of a batch that did not fit is free
            for call in batch:
                self._run([call])
            return
        first = 0
        for call in batch:
            call.end(result=found[first : first + len(call.chunks)])
            first += len(call.chunks)

    def _leave(self, own: _Call) -> None:
        with self._lock:
            own.done = True
            if own in self._waiting:
                self._waiting.remove(own)
            if not own.leads:
                return
            # Those whom an interrupted leader had taken, and not served, wait again.
            undone = [call for call in own.batch if call is not own and not call.done]
            self._waiting = [*undone, *(call for call in self._waiting if call not in undone)]
            self._busy = bool(self._waiting)
            if self._busy:
                self._waiting[0].leads = True
                self._waiting[0].woken.set()


class _Call:
    """One caller on its way; compared by identity."""

    def __init__(self, chunks: Sequence[Chunk]) -> None:
        self.chunks = chunks
        self.woken = threading.Event()
        """It has its result, or leads."""
        self.leads = False
        self.batch: list[_Call] = []
        self.result: Stepped | None = None
        self.error: Exception | None = None
        self.done = False
        """It needs nothing more: it has been served, or has left."""

    def end(self, *, result: Stepped | None = None, error: Exception | None = None) -> None:
        self.result, self.error, self.done = result, error, True
        self.woken.set()
