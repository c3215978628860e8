"""Logs -> curves -> a picture."""

from __future__ import annotations

from pathlib import Path

import pytest

from funasr.train.curves import Curves, Point, draw, parse_log, read_curves

TIMES = "{'data_load': '0.000', 'forward_time': '0.315', 'total_time': '0.947'}"


def said(tag: str, step: int, loss: float, acc: float, *, rank: int = 0, mean: float = 9.0) -> str:
    """The documented line."""
    return (
        f"[2026-01-01 00:00:00,000][root][INFO] - {tag}, rank: {rank}, epoch: 1/3, data_slice: 0/1, "
        f"step_in_slice: 4/9, step_in_epoch: 4, total step: {step}, (loss_avg_rank: {loss:.3f}), "
        f"(loss_avg_slice: {mean:.3f}), (ppl_avg_slice: 1.506e+00), (acc_avg_slice: {mean / 10:.3f}), "
        f"(lr: 2.000e-04), [('loss_att', 0.259), ('acc', {acc}), ('loss_pre', 0.04), ('loss', {loss}), "
        f"('batch_size', 40)], {TIMES}, GPU, memory: usage: 1.2 GB"
    )


def test_a_batch_has_its_own_figures_and_a_validation_its_means() -> None:
    curves = parse_log([said("train", 10, 0.5, 0.8), said("val", 20, 0.4, 0.9, mean=6.0)])

    assert curves.train == (Point(step=10, loss=0.5, acc=0.8, lr=0.0002),)
    assert curves.val == (Point(step=20, loss=6.0, acc=0.6, lr=0.0002),)


def test_other_lines_and_other_processes_are_passed_over() -> None:
    lines = ["", "train: 130 of 130 utterances can be learnt from", said("train", 1, 1.0, 0.1, rank=1)]

    assert parse_log(lines) == Curves()


def test_steps_that_were_done_again_count_once() -> None:
    curves = parse_log([said("train", n, loss, 0.5) for n, loss in ((1, 3.0), (2, 2.0), (2, 1.5), (3, 1.0))])

    assert [(p.step, p.loss) for p in curves.train] == [(1, 3.0), (2, 1.5), (3, 1.0)]


def test_a_loss_that_is_not_finite_is_a_gap() -> None:
    [point] = parse_log([said("train", 1, 1.0, 0.5).replace("1.0)", "nan)").replace("1.000)", "nan)")]).train

    assert point.loss == 9.0  # the mean of the slice, which is next


def test_the_older_wording_is_read() -> None:
    line = (
        "[2024-03-21 15:55:52,137][root][INFO] - train, rank: 0, epoch: 0/50, "
        "step: 6990/1, total step: 6990, "
        "(loss_avg_rank: 0.327), (loss_avg_epoch: 0.409), (ppl_avg_epoch: 1.506), (acc_avg_epoch: 0.795), "
        "(lr: 1.165e-04), [('loss_att', 0.259), ('acc', 0.825), ('loss_pre', 0.04), ('loss', 0.299), "
        f"('batch_size', 40)], {TIMES}"
    )

    assert parse_log([line]).train == (Point(step=6990, loss=0.299, acc=0.825, lr=1.165e-4),)


def test_a_picture_is_drawn_where_there_is_something_to_draw(tmp_path: Path) -> None:
    assert read_curves(tmp_path / "none.txt") == Curves()
    assert not draw(Curves(), tmp_path / "none.png")
    log = tmp_path / "log.txt"
    log.write_text("\n".join(said(tag, n, 1 / n, 0.5) for n in (1, 2, 3) for tag in ("train", "val")))

    assert draw(read_curves(log), tmp_path / "new" / "curves.png")

    picture = (tmp_path / "new" / "curves.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) == pytest.approx(40_000, rel=0.9)
