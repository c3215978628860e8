"""Parts of a work, a thread each: in order, with one thread inside, and nothing is left changed."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from funasr.nn.spread import spread


@pytest.fixture(autouse=True)
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_results_are_in_the_order_of_the_parts() -> None:
    assert spread(lambda part: part * part, range(50)) == [part * part for part in range(50)]


@pytest.mark.skipif(not torch.backends.openmp.is_available(), reason="this torch has other threads")
def test_three_parts_at_once_have_a_thread_each() -> None:
    together = threading.Barrier(3, timeout=20)

    def work(part: int) -> tuple[int, int]:
        together.wait()
        return threading.get_ident(), torch.get_num_threads()

    done = spread(work, range(3))

    assert len({thread for thread, _ in done}) == 3
    assert [allowed for _, allowed in done] == [1, 1, 1]


def test_a_single_part_has_all_threads() -> None:
    assert spread(lambda part: (part, torch.get_num_threads(), threading.get_ident()), ["all"]) == [
        ("all", 3, threading.get_ident())
    ]


def test_afterwards_everybody_has_the_threads_of_before() -> None:
    spread(str, range(9))
    later: list[int] = []
    thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
    thread.start()
    thread.join()

    assert [torch.get_num_threads(), *later] == [3, 3]


def test_the_first_error_comes_out_and_the_threads_are_given_back() -> None:
    def work(part: int) -> int:
        if part >= 4:
            raise ValueError(f"part {part}")
        return part

    with pytest.raises(ValueError, match="part 4"):
        spread(work, range(9))

    assert torch.get_num_threads() == 3


def test_no_parts_are_no_work() -> None:
    assert spread(str, []) == []
