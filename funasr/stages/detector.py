"""What any voice activity detector offers: `SpeechDetector` and `SileroDetector` are two."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

from funasr.arrays import Samples
from funasr.result import Segment
from funasr.vad.endpoint import Event


@runtime_checkable
class DetectorStream(Protocol):
    """One stream: sound in, events out. A call that raises leaves it as it was."""

    @property
    def state(self) -> Any:
        """All that is remembered: frozen, picklable, with `nbytes`. `Detector.stream(state=)` takes it."""
        ...

    @property
    def earliest_start_ms(self) -> int:
        """No segment that is still to end starts before this: sound older than it can be forgotten."""
        ...

    def accept(self, samples: Samples) -> list[Event]: ...

    def flush(self) -> list[Event]: ...

    def restore(self, state: Any) -> None:
        """Go back to a state that this stream was in."""
        ...


@contextmanager
def all_or_nothing(stream: DetectorStream) -> Iterator[None]:
    """What is done to the stream inside happens as a whole, or, where something raises, not at all."""
    before = stream.state
    try:
        yield
    except BaseException:
        stream.restore(before)
        raise


class DetectorOptions(Protocol):
    """Settings of one kind of detector; frozen."""

    def override(self, given: Mapping[str, Any]) -> Any:
        """The same with some replaced. Raises OptionError for a name that this kind does not have."""
        ...


class Detector(Protocol):
    """A detector ready for use, shared by any number of threads. Its options come from its own `options`."""

    @property
    def fs(self) -> int:
        """Samples per second that it expects."""
        ...

    @property
    def options(self) -> DetectorOptions: ...

    def segments(self, sound: Samples | Iterable[Samples], options: Any = None) -> list[Segment]: ...

    def file_stream(self, options: Any = None) -> DetectorStream: ...

    def stream(
        self, options: Any = None, *, chunk_ms: int | None = None, state: Any = None
    ) -> DetectorStream:
        """A live stream; with `state`, the one that left it goes on, here or in another process.

        A state brings the options it was left with. Raises InputError for the state of another model, of
        another back end, or of options other than those given beside it.
        """
        ...
