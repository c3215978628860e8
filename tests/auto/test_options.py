from __future__ import annotations

import pytest

from funasr.auto.options import CallOptions, call_options, sort_options
from funasr.errors import OptionError


def test_names_go_where_they_belong() -> None:
    options = sort_options(
        {
            "model": "paraformer-zh",
            "device": "cpu",
            "batch_size_s": 60,
            "frontend_conf": {"dither": 0.0},
            "vad_model": "fsmn-vad",
            "vad_kwargs": {"max_single_segment_time": 30000},
            "disable_update": True,
        }
    )

    assert options.load.device == "cpu"
    assert options.call.batch_size_s == 60
    assert options.overrides == {"frontend_conf": {"dither": 0.0}}
    assert options.sub_models["vad_model"].name == "fsmn-vad"
    assert options.sub_models["vad_model"].kwargs == {"device": "cpu", "max_single_segment_time": 30000}


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("vda_model", "vad_model"),
        ("devise", "device"),
        ("batch_size_sec", "batch_size_s"),
        ("hotwrod", "hotword"),
    ],
)
def test_a_misspelt_option_is_answered_with_the_right_one(name: str, suggestion: str) -> None:
    with pytest.raises(OptionError, match=f"no option '{name}'. Did you mean '{suggestion}'"):
        sort_options({"model": "m", name: 1})


def test_a_misspelt_option_of_a_sub_model_is_answered_too() -> None:
    with pytest.raises(OptionError, match=r"vad_kwargs has no option 'max_single_segment_tme'. Did you mean"):
        sort_options({"model": "m", "max_single_segment_tme": 1}, where="vad_kwargs")


def test_options_of_a_call_replace_the_defaults_and_leave_them_alone() -> None:
    defaults = sort_options({"model": "m", "batch_size_s": 60, "max_end_silence_time": 500}).call

    call = call_options(defaults, {"batch_size_s": 30, "speech_noise_thres": 0.7})

    assert (call.batch_size_s, defaults.batch_size_s) == (30, 60)
    assert call.vad == {"max_end_silence_time": 500, "speech_noise_thres": 0.7}
    assert defaults.vad == {"max_end_silence_time": 500}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"channels": "left"}, "channels is 'left'"),
        ({"on_error": "ignore"}, "on_error is 'ignore'"),
        ({"batch_size_s": 0}, "batch_size_s is 0"),
        ({"batch_size": "many"}, "batch_size is 'many'"),
        ({"text_norm": "itn"}, "text_norm is 'itn'"),
        ({"batch_size_sec": 1}, "generate has no option 'batch_size_sec'. Did you mean 'batch_size_s'"),
    ],
)
def test_bad_values_are_named_with_their_option(given: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        call_options(CallOptions(), given)


@pytest.mark.parametrize("model", [None, "", 3])
def test_a_model_must_be_named(model: object) -> None:
    with pytest.raises(OptionError, match="model is"):
        sort_options({"model": model})


def test_remote_code_is_refused() -> None:
    with pytest.raises(OptionError, match="trust_remote_code"):
        sort_options({"model": "m", "trust_remote_code": True})
