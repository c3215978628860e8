"""Work in several parts on a CPU: a part for each thread at a time, instead of all threads for each part.

Threads that share every operator wait for one another at the end of each, and what one of them alone does is
done while the others wait. Here each has its own part, and what it works on stays in its own cache.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

import torch

Part = TypeVar("Part")
Result = TypeVar("Result")


def spread(work: Callable[[Part], Result], parts: Sequence[Part]) -> list[Result]:
    """`work` of each part, in order, by as many threads as torch uses. A single part is done by all of them.

    What torch keeps for each thread, such as inference mode, `work` has to set itself. Raises what it raises.
    """
    allowed = torch.get_num_threads()
    threads = min(allowed, len(parts))
    if threads < 2 or not torch.backends.openmp.is_available():  # type: ignore[no-untyped-call]
        return [work(part) for part in parts]
    begun = Barrier(threads + 1)

    def begin() -> None:
        torch.get_num_threads()  # sets up what torch knows of this thread, which would undo the next line
        torch.set_num_threads(1)
        begun.wait()

    with ThreadPoolExecutor(threads, initializer=begin) as pool:
        try:
            results = pool.map(work, parts)
            begun.wait()
        except BaseException:
            begun.abort()
            raise
        finally:
            # The number just set also counts for threads that begin later.
            torch.set_num_threads(allowed)
        return list(results)
