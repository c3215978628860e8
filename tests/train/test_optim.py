"""Learning-rate schedules against numbers worked out by hand or printed by upstream."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from funasr.config import options
from funasr.errors import OptionError
from funasr.train.optim import (
    OPTIMIZERS,
    OptimConfig,
    ScheduleConfig,
    advance,
    build_optimizer,
    build_scheduler,
    schedule,
)


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


def test_tri_stage_rises_holds_and_falls() -> None:
    config = ScheduleConfig(scheduler="tri_stage", warmup_steps=10, hold_steps=20, decay_steps=40)
    factor = schedule(config)

    assert [factor(n) for n in (0, 5, 10, 29, 30)] == pytest.approx([0.01, 0.505, 1.0, 1.0, 1.0])
    assert [factor(n) for n in (50, 70, 100)] == pytest.approx(
        [0.1, 0.01, 0.01]
    )  # 0.01 to the power 1/2, 1, 1
    by_share = ScheduleConfig(scheduler="tri_stage", phase_ratio=(0.1, 0.2, 0.7), total_steps=100)
    assert schedule(by_share)(65) == pytest.approx(0.1)


OFFICIAL = {
    "warmuplr": {},
    "noamlr": {},
    "tri_stage": {"decay_steps": 10},
    "custom_lambdalr": {"total_steps": 10},
    "steplr": {"step_size": 2},
    "multisteplr": {"milestones": (2, 5)},
    "exponentiallr": {"gamma": 0.9},
    "CosineAnnealingLR": {"T_max": 10, "eta_min": 0.01},
    "CosineAnnealingWarmRestarts": {"T_0": 3},
    "ReduceLROnPlateau": {"factor": 0.5, "patience": 0},
    "cycliclr": {"base_lr": 0.1, "max_lr": 1.0, "step_size_up": 2},
    "onecyclelr": {"max_lr": 1.0, "total_steps": 6},
}


@pytest.mark.parametrize("name", OFFICIAL)
def test_a_schedule_goes_on_from_a_checkpoint_as_if_it_had_never_stopped(name: str, tmp_path: Path) -> None:
    def build() -> tuple[torch.optim.Optimizer, LRScheduler]:
        optimizer = build_optimizer(OptimConfig(lr=0.5), nn.Linear(1, 1).parameters())
        return optimizer, build_scheduler(
            options(ScheduleConfig, {"scheduler": name, **given}, ""), optimizer
        )

    def rates(count: int) -> list[float]:
        found = []
        for _ in range(count):
            optimizer.step()
            advance(scheduler)
            if isinstance(scheduler, ReduceLROnPlateau):
                scheduler.step(1.0)
            found.append(optimizer.param_groups[0]["lr"])
        return found

    given = OFFICIAL[name]
    optimizer, scheduler = build()
    rates(3)
    torch.save([optimizer.state_dict(), scheduler.state_dict()], tmp_path / "state")
    straight = rates(6)
    optimizer, scheduler = build()
    saved = torch.load(tmp_path / "state", weights_only=True)
    optimizer.load_state_dict(saved[0])
    scheduler.load_state_dict(saved[1])

    assert rates(6) == straight
    assert len(set(straight)) > 1


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimiser_goes_down_a_hill(name: str) -> None:
    layer = nn.Linear(2, 2)
    with torch.no_grad():
        layer.weight.fill_(1.0)
    optimizer = build_optimizer(OptimConfig(optim=name, lr=0.05, weight_decay=0.01), layer.parameters())

    def loss() -> torch.Tensor:
        return layer(torch.ones(1, 2)).square().sum()

    first = loss().item()
    for _ in range(10):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

    assert loss().item() < first


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"scheduler": "steplr"}, "step_size"),
        ({"scheduler": "onecyclelr", "max_lr": 1.0}, "total_steps"),
        ({"scheduler": "tri_stage"}, "decay_steps"),
        ({"scheduler": "CosineAnnealingLR"}, "T_max"),
        ({"scheduler": "lambdalr"}, "custom_lambdalr"),
    ],
)
def test_what_a_schedule_needs_is_named(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        ScheduleConfig(**settings)


def test_an_optimiser_that_cannot_be_used_here_says_why_and_which_can() -> None:
    with pytest.raises(OptionError, match=r"several times an update.*adamw"):
        OptimConfig(optim="lbfgs")
    with pytest.raises(OptionError, match="freeze_param"):
        build_optimizer(OptimConfig(), [nn.Parameter(torch.ones(1), requires_grad=False)])


def test_a_misspelt_name_is_answered() -> None:
    with pytest.raises(OptionError, match="Did you mean 'warmuplr'"):
        ScheduleConfig(scheduler="warmup_lr")
    with pytest.raises(OptionError, match="Did you mean 'adamw'"):
        OptimConfig(optim="adam_w")
    with pytest.raises(OptionError, match="total_steps"):
        ScheduleConfig(scheduler="custom_lambdalr")
