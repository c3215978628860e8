from __future__ import annotations

import logging

import pytest

from funasr.errors import OptionError
from funasr.vad.options import VadOptions


def test_the_official_model_conf_is_understood_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    official = {
        "max_end_silence_time": 500,
        "snr_mode": 0,
        "nn_eval_block_size": 8,
        "fe_prior_thres": 0.0001,
        "sil_pdf_ids": [0],
    }

    options = VadOptions.from_official(official)

    assert options.max_end_silence_time == 500
    assert options.sil_pdf_ids == (0,)
    assert not caplog.records


def test_an_unknown_key_of_a_config_is_logged_and_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert VadOptions.from_official({"max_end_silence_tim": 500}) == VadOptions()
    assert "max_end_silence_time" in caplog.text


def test_a_misspelt_option_of_a_call_is_answered() -> None:
    with pytest.raises(OptionError, match="Did you mean 'max_single_segment_time'"):
        VadOptions().override({"max_single_segment_tme": 10})


def test_overriding_changes_nothing_in_place() -> None:
    options = VadOptions()

    other = options.override({"max_end_silence_time": 300, "silence_schedule": [[5000, 700], [9000, 100]]})

    assert (options.max_end_silence_time, other.max_end_silence_time) == (800, 300)
    assert other.silence_schedule == ((5000, 700), (9000, 100))


@pytest.mark.parametrize(
    "wrong",
    [
        {"detect_mode": 2},
        {"max_end_silence_time": -1},
        {"window_size_ms": 5},
        {"sample_rate": 0},
        {"silence_schedule": []},
        {"silence_schedule": [[5000, 100], [4000, 100]]},
        {"silence_schedule": 3},
    ],
)
def test_values_that_make_no_sense_are_refused_with_the_value(wrong: dict[str, object]) -> None:
    with pytest.raises(OptionError, match=next(iter(wrong))):
        VadOptions().override(wrong)


def test_energy_is_needed_only_where_a_gate_was_raised() -> None:
    assert not VadOptions().needs_energy
    assert VadOptions(snr_thres=5).needs_energy
    assert VadOptions(decibel_thres=-20).needs_energy
