"""Learning-rate schedules against numbers worked out by hand or printed by upstream."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from funasr.errors import OptionError
from funasr.train.optim import OptimConfig, ScheduleConfig, build_optimizer, build_scheduler, schedule


@pytest.mark.parametrize(
    ("updates", "rate"),
    [
        (0, 6.667e-9),
        (1, 1.333e-8),
        (6990, 4.6607e-5),
        (29999, 2.0e-4),
        (30000, 1.99997e-4),
        (60000, 1.41420e-4),
    ],
)
def test_warmuplr_gives_the_rates_upstream_printed(updates: int, rate: float) -> None:
    factor = schedule(ScheduleConfig(scheduler="warmuplr", warmup_steps=30000))

    assert 2e-4 * factor(updates) == pytest.approx(rate, rel=1e-3 if updates < 2 else 1e-5)


def test_custom_lambdalr_rises_and_falls_in_straight_lines() -> None:
    factor = schedule(ScheduleConfig(scheduler="custom_lambdalr", warmup_steps=10, total_steps=110))

    assert [factor(n) for n in (0, 5, 10, 60, 110, 200)] == pytest.approx([0.0, 0.5, 1.0, 0.5, 0.0, 0.0])


def test_cosine_is_half_way_down_after_half_the_steps() -> None:
    factor = schedule(ScheduleConfig(scheduler="CosineAnnealingLR", total_steps=100, final=0.1))

    assert [factor(n) for n in (0, 50, 100, 130)] == pytest.approx([1.0, 0.55, 0.1, 0.1])


def test_warmup_cosine_reaches_the_full_rate_with_the_last_update_of_the_warm_up() -> None:
    factor = schedule(ScheduleConfig(scheduler="warmup_cosine", warmup_steps=4, total_steps=104))

    assert [factor(n) for n in (0, 3, 4, 54, 104)] == pytest.approx([0.25, 1.0, 1.0, 0.5, 0.0])


def test_noamlr_is_warmuplr_for_another_peak() -> None:
    factor = schedule(ScheduleConfig(scheduler="noamlr", warmup_steps=100, model_size=4))

    assert factor(99) == pytest.approx(0.5 / 10)
    assert factor(399) == pytest.approx(0.5 / 20)


def test_the_scheduler_steps_once_an_update() -> None:
    layer = nn.Linear(1, 1)
    optimizer = build_optimizer(OptimConfig(lr=1.0), layer.parameters())
    scheduler = build_scheduler(
        ScheduleConfig(scheduler="custom_lambdalr", warmup_steps=2, total_steps=4), optimizer
    )
    rates = []
    for _ in range(4):
        rates.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()

    assert rates == pytest.approx([0.0, 0.5, 1.0, 0.5])


def test_vectors_do_not_decay_and_frozen_parameters_do_not_learn() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[1].requires_grad_(False)

    optimizer = build_optimizer(OptimConfig(optim="adamw", weight_decay=0.1), model.parameters())

    decay = {
        tuple(p.shape): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]
    }
    assert decay == {(2, 2): 0.1, (2,): 0.0}
    assert isinstance(optimizer, torch.optim.AdamW)


def test_a_misspelt_name_is_answered() -> None:
    with pytest.raises(OptionError, match="Did you mean 'warmuplr'"):
        ScheduleConfig(scheduler="warmup_lr")
    with pytest.raises(OptionError, match="Did you mean 'adamw'"):
        OptimConfig(optim="adam_w")
    with pytest.raises(OptionError, match="total_steps"):
        ScheduleConfig(scheduler="custom_lambdalr")
