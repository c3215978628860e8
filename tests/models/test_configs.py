"""What config.yaml says about a network is checked before the network is built."""

from __future__ import annotations

from typing import Any

import pytest

from funasr.config import merge
from funasr.errors import ModelFilesError
from funasr.models.aligner.config import AlignerConfig
from funasr.models.campplus.config import CampplusConfig
from funasr.models.eres2net.config import Eres2NetV2Config
from funasr.models.fsmn_vad.config import FsmnVadConfig
from funasr.models.paraformer.config import ParaformerConfig
from funasr.models.sense_voice.config import SenseVoiceConfig

ENCODER = {"output_size": 32, "attention_heads": 4, "linear_units": 48, "num_blocks": 2}
PARAFORMER: dict[str, Any] = {
    "encoder_conf": ENCODER,
    "decoder_conf": {"attention_heads": 4},
    "predictor_conf": {"idim": 32},
    "model_conf": {"ctc_weight": 0.0, "predictor_bias": 1},
}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"encoder_conf": {"output_size": "abc"}}, "encoder_conf: output_size is 'abc'; it must be a whole"),
        ({"encoder_conf": {"output_size": 64}}, "output_size is 64 and predictor_conf.idim 32"),
        ({"encoder_conf": {"attention_heads": 0}}, "attention_heads is 0; it must be 1 or more"),
        ({"encoder_conf": {"num_blocks": -1}}, "num_blocks is -1; it must be 1 or more"),
        ({"encoder_conf": 5}, "encoder_conf is 5, not a mapping"),
        ({"encoder": "Conformer"}, "encoder is 'Conformer'"),
        ({"decoder_conf": {"use_output_layer": "no"}}, "decoder_conf: use_output_layer is 'no'"),
        ({"predictor_conf": {"tail_threshold": "x"}}, "predictor_conf: tail_threshold is 'x'"),
        ({"model_conf": {"sampling_ratio": "x"}}, "model_conf: sampling_ratio is 'x'"),
        ({"model_conf": {"sos": True}}, "model_conf: sos is True"),
        ({"model_conf": {"ctc_weight": "x"}}, "ctc_weight is 'x'"),
    ],
)
def test_a_paraformer_is_not_built_from_settings_that_do_not_fit(given: dict[str, Any], message: str) -> None:
    assert ParaformerConfig.from_official(PARAFORMER, 10, 560).predictor_bias == 1

    with pytest.raises(ModelFilesError, match=message):
        ParaformerConfig.from_official(merge(PARAFORMER, given), 10, 560)


def test_the_other_networks_are_not_either() -> None:
    with pytest.raises(ModelFilesError, match="they must be equal"):
        AlignerConfig.from_official({"encoder_conf": ENCODER, "predictor_conf": {"idim": 16}}, 560)
    with pytest.raises(ModelFilesError, match="tp_blocks is 'x'"):
        SenseVoiceConfig.from_official({"encoder_conf": {"tp_blocks": "x"}}, 10, 560)
    with pytest.raises(ModelFilesError, match="sil_pdf_ids is 'x'"):
        FsmnVadConfig.from_official({"model_conf": {"sil_pdf_ids": "x"}})
    with pytest.raises(ModelFilesError, match="lorder is None"):
        FsmnVadConfig.from_official({"encoder_conf": {"lorder": None}})
    with pytest.raises(ModelFilesError, match="model_conf is 5, not a mapping"):
        CampplusConfig.from_official({"model_conf": 5})
    with pytest.raises(ModelFilesError, match="num_blocks is 5; it must be a list of whole numbers"):
        Eres2NetV2Config.from_official({"model_conf": {"num_blocks": 5}})


def test_whole_floats_of_yaml_are_whole_numbers() -> None:
    config = ParaformerConfig.from_official(merge(PARAFORMER, {"encoder_conf": {"num_blocks": 2.0}}), 10, 560)

    assert repr(config.encoder.num_blocks) == "2"
