from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from funasr.auto.options import CONFIG_KEYS, CallOptions, LoadOptions, call_options, sort_options
from funasr.errors import FunASRError, ModelFilesError, OptionError
from funasr.features.frontend import WavFrontend
from funasr.vad.options import VadOptions


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


@pytest.mark.parametrize("model", [None, "", 3, b"m", True])
def test_a_model_must_be_named(model: object) -> None:
    with pytest.raises(OptionError, match="model is"):
        sort_options({"model": model})


def test_remote_code_is_refused() -> None:
    with pytest.raises(OptionError, match="trust_remote_code"):
        sort_options({"model": "m", "trust_remote_code": True})


@pytest.mark.parametrize(
    "given",
    [
        {"device": None},
        {"ncpu": "2"},
        {"ncpu": 2.5},
        {"ncpu": True},
        {"ncpu": "abc"},
        {"ncpu": 0},
        {"ngpu": "a"},
        {"ngpu": -1},
        {"hub": None},
        {"hub": ["ms"]},
        {"excludes": 5},
        {"scope_map": ["a"]},
        {"scope_map": "a,b,c"},
        {"model_revision": 5},
        {"model_path": 5},
        {"engine": "tensorrt"},
        {"fp16": "yes"},
        {"fp16": True, "bf16": True},
        {"frontend_conf": 5},
        {"frontend_conf": "fs"},
        {"frontend": 5},
        {"encoder": ["SANMEncoder"]},
        {"vad_model": 5},
        {"vad_model": "fsmn-vad", "vad_kwargs": 5},
        {"vad_model": "fsmn-vad", "vad_kwargs": {"vad_model": "x"}},
        {"vad_model": "fsmn-vad", "vad_kwargs": {"model": "x"}},
        {"punc_model": "ct-punc", "punc_kwargs": {"vad_kwargs": {}}},
        {"fs": "a"},
        {"key": 5},
        {"output_dir": 5},
        {"progress_callback": 5},
        {"cache": 5},
        {"batch_size": True},
        {"batch_size": 1.5},
        {"batch_size_s": math.nan},
        {"merge_vad": "x"},
        {"language": 5},
        {"channels": "left"},
        {"on_error": ["record"]},
    ],
)
def test_a_value_of_another_type_is_refused_by_name_before_anything_is_loaded(
    given: dict[str, object],
) -> None:
    with pytest.raises(OptionError) as caught:
        sort_options({"model": "m", **given})

    assert any(name in str(caught.value) for name in given)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_end_silence_time", "x"),
        ("max_end_silence_time", None),
        ("max_end_silence_time", math.nan),
        ("max_end_silence_time", 1.5),
        ("max_single_segment_time", "abc"),
        ("max_single_segment_time", math.inf),
        ("speech_noise_thres", "x"),
        ("speech_noise_thres", math.nan),
        ("sil_pdf_ids", "0"),
        ("silence_schedule", 5),
        ("silence_schedule", [[1000, "x"]]),
        ("silence_schedule", [[math.nan, 500]]),
        ("silence_schedule", [[1000, math.nan]]),
        ("dynamic_silence", "x"),
    ],
)
def test_a_detectors_options_are_checked_too(name: str, value: object) -> None:
    with pytest.raises(OptionError, match=f"^{name} is "):
        VadOptions().override({name: value})
    with pytest.raises(ModelFilesError, match=f"{name} is "):
        VadOptions.from_official({name: value})


@pytest.mark.parametrize(
    "conf", [{"fs": "x"}, {"fs": True}, {"n_mels": None}, {"window": 5}, {"dither": "no"}]
)
def test_settings_of_a_front_end_are_checked_too(conf: dict[str, object]) -> None:
    with pytest.raises(FunASRError, match=f"{next(iter(conf))} is "):
        WavFrontend.from_official(conf)


def test_paths_may_be_path_objects_and_prefixes_a_string_with_commas() -> None:
    options = sort_options(
        {
            "model": Path("some") / "model",
            "vad_model": Path("vad"),
            "output_dir": Path("out"),
            "excludes": "decoder., ctc.",
            "scope_map": "a.,none",
            "batch_size_s": 60,
            "ncpu": 2.0,
        }
    )

    assert options.model == str(Path("some") / "model")
    assert options.sub_models["vad_model"].name == "vad"
    assert options.call.output_dir == Path("out")
    assert (options.load.excludes, options.load.scope_map) == (("decoder.", "ctc."), ("a.", "none"))
    assert (options.load.ncpu, options.call.batch_size_s) == (2, 60.0)


NAMES = [
    *LoadOptions.__dataclass_fields__,
    *CallOptions.__dataclass_fields__,
    *CONFIG_KEYS,
    *("model", "vad_model", "vad_kwargs", "vad_model_revision", "spk_kwargs"),
]
VALUES: list[object] = [None, True, False, 0, -1, 5, 2.5, math.nan, math.inf, "", "x", b"x", [], ["a"], [1]]
VALUES += [{}, {"a": 1}, {"fs": "x"}, print, object(), Path("x"), np.zeros(3), np.float32(1), np.int64(2)]


@drawn(st.dictionaries(st.sampled_from(NAMES), st.sampled_from(VALUES), max_size=3))
def test_any_values_are_sorted_or_refused_with_an_error_of_ours(given: dict[str, object]) -> None:
    try:
        options = sort_options({"model": "m", **given})
    except OptionError:
        return
    assert isinstance(options.model, str)
    assert isinstance(options.load.fp16, bool)
