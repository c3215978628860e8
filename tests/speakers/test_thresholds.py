"""How alike voices have to be is a matter of the network, so its settings may say it."""

from __future__ import annotations

import pytest

from funasr.errors import ModelFilesError
from funasr.speakers.cluster import ClusterOptions
from funasr.speakers.thresholds import Thresholds
from funasr.stages.live_speaker import LiveSpeakerOptions
from funasr.stages.speaker import SpeakerOptions


def test_a_model_whose_settings_name_none_has_those_of_the_released_models() -> None:
    assert Thresholds.from_config({"model": "CAMPPlus"}) == Thresholds()
    assert Thresholds().merge_thr == ClusterOptions().merge_thr
    assert Thresholds().split_thr == ClusterOptions().split_thr
    assert Thresholds().same_thr == LiveSpeakerOptions().same_thr
    assert Thresholds().enrolled_thr == SpeakerOptions().enrolled_thr


def test_a_model_says_its_own() -> None:
    told = Thresholds.from_config({"spk_conf": {"merge_thr": 0.5, "enrolled_thr": 0.4}})

    assert told == Thresholds(merge_thr=0.5, enrolled_thr=0.4)


def test_a_context_is_a_number_of_windows() -> None:
    assert Thresholds.from_config({"spk_conf": {"context": 1}}).context == 1
    with pytest.raises(ModelFilesError, match="context"):
        Thresholds.from_config({"spk_conf": {"context": -1}})


@pytest.mark.parametrize("value", [1.5, "much", None])
def test_what_is_no_cosine_is_an_error_in_the_files(value: object) -> None:
    with pytest.raises(ModelFilesError, match="split_thr"):
        Thresholds.from_config({"spk_conf": {"split_thr": value}})
