"""ModelDir.open: what is read from a directory, and what is said when something is wrong with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from funasr.errors import ModelFilesError
from funasr.modeldir import ModelDir

YAML = """
model: Paraformer
model_conf: {ctc_weight: 0.0, predictor_bias: 1}
frontend_conf: {fs: 16000, lfr_m: 7, lfr_n: 6}
tokenizer_conf: {unk_symbol: <unk>}
"""
METAS = {
    "init_param": "model.pt",
    "config": "config.yaml",
    "tokenizer_conf": {"token_list": "tokens.json", "seg_dict_file": "seg_dict"},
    "frontend_conf": {"cmvn_file": "am.mvn"},
}
FILES = ("model.pt", "tokens.json", "seg_dict", "am.mvn")


def make(folder: Path, *files: str, yaml: str = YAML, metas: dict[str, Any] | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.yaml").write_text(yaml)
    for name in files:
        (folder / name).touch()
    if metas is not None:
        (folder / "configuration.json").write_text(json.dumps({"file_path_metas": metas}))
    return folder


def test_the_paths_of_configuration_json_complete_the_settings_nested_key_by_key(tmp_path: Path) -> None:
    folder = make(tmp_path, *FILES, metas=METAS)

    model = ModelDir.open(folder)

    assert model.model == "Paraformer"
    assert (model.weights, model.tokens) == (folder / "model.pt", folder / "tokens.json")
    assert (model.seg_dict, model.cmvn) == (folder / "seg_dict", folder / "am.mvn")
    assert model.config["frontend_conf"] == {
        "fs": 16000,
        "lfr_m": 7,
        "lfr_n": 6,
        "cmvn_file": str(folder / "am.mvn"),
    }
    assert model.config["tokenizer_conf"]["unk_symbol"] == "<unk>"


def test_the_class_is_the_one_of_config_yaml_whatever_the_metas_say(tmp_path: Path) -> None:
    assert ModelDir.open(make(tmp_path, *FILES, metas={**METAS, "model": "other"})).model == "Paraformer"


def test_a_file_that_the_metas_name_and_nobody_shipped_is_left_out(tmp_path: Path) -> None:
    model = ModelDir.open(make(tmp_path, "model.pt", "am.mvn", metas={**METAS, "jieba_usr_dict": "jieba"}))

    assert model.tokens is None
    assert model.seg_dict is None
    assert "token_list" not in model.config["tokenizer_conf"]
    assert "jieba_usr_dict" not in model.config


def test_without_configuration_json_the_fixed_names_are_looked_for(tmp_path: Path) -> None:
    model = ModelDir.open(make(tmp_path, *FILES, "tokens.txt", "bpe.model", "jieba_usr_dict", "model.onnx"))

    assert model.tokens == tmp_path / "tokens.json", "json wins over txt"
    assert model.bpe_model == tmp_path / "bpe.model"
    assert model.jieba_usr_dict == tmp_path / "jieba_usr_dict"
    assert model.onnx == tmp_path / "model.onnx"
    assert model.config["frontend_conf"]["cmvn_file"] == str(tmp_path / "am.mvn")


def test_a_configuration_json_without_metas_counts_as_none(tmp_path: Path) -> None:
    folder = make(tmp_path, *FILES)
    (folder / "configuration.json").write_text('{"framework": "pytorch"}')

    assert ModelDir.open(folder).weights == folder / "model.pt"


def test_overrides_win_and_leave_the_other_keys_alone(tmp_path: Path) -> None:
    folder = make(tmp_path / "model", *FILES, metas=METAS)
    (tmp_path / "other.json").touch()

    model = ModelDir.open(
        folder,
        {"tokenizer_conf": {"token_list": str(tmp_path / "other.json")}, "frontend_conf": {"lfr_n": 1}},
    )

    assert model.tokens == tmp_path / "other.json"
    assert model.seg_dict == folder / "seg_dict"
    assert model.config["frontend_conf"]["lfr_n"] == 1
    assert model.cmvn == folder / "am.mvn"


def test_a_seg_dict_that_the_settings_do_not_name_is_found_beside_the_statistics(tmp_path: Path) -> None:
    metas = {**METAS, "tokenizer_conf": {"token_list": "tokens.json"}}

    assert ModelDir.open(make(tmp_path, *FILES, metas=metas)).seg_dict == tmp_path / "seg_dict"


def test_a_directory_with_nothing_but_an_onnx_graph_needs_no_class(tmp_path: Path) -> None:
    model = ModelDir.open(make(tmp_path, "model.onnx", yaml="frontend_conf: {fs: 16000}"))

    assert (model.model, model.weights) == ("", None)


@pytest.mark.parametrize(
    ("yaml", "files", "metas", "said"),
    [
        ("model: [", FILES, None, "as YAML"),
        ("- a list", FILES, None, "not a mapping"),
        ("frontend: WavFrontend", FILES, None, "does not say which `model`"),
        (YAML, ("model.pt", "tokens.json"), METAS, "has no 'am.mvn'"),
        (YAML + "\ncmvn: x\n", FILES, {"config": "missing.yaml"}, "no config.yaml"),
    ],
)
def test_a_broken_directory_is_named_with_its_fault(
    tmp_path: Path, yaml: str, files: tuple[str, ...], metas: dict[str, Any] | None, said: str
) -> None:
    with pytest.raises(ModelFilesError, match=said):
        ModelDir.open(make(tmp_path, *files, yaml=yaml, metas=metas))


@pytest.mark.parametrize("text", ["{", "[1, 2]", '{"file_path_metas": 3}', "\xff\xfe"])
def test_a_garbled_configuration_json_is_an_error_that_names_it(tmp_path: Path, text: str) -> None:
    folder = make(tmp_path, *FILES)
    (folder / "configuration.json").write_bytes(text.encode("latin-1"))

    with pytest.raises(ModelFilesError, match=r"configuration\.json"):
        ModelDir.open(folder)


def test_an_empty_and_a_missing_directory_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ModelFilesError, match="holds nothing"):
        ModelDir.open(tmp_path)
    with pytest.raises(ModelFilesError, match="no model directory"):
        ModelDir.open(tmp_path / "none")


def test_missing_weights_and_vocabulary_are_asked_for_by_name(tmp_path: Path) -> None:
    model = ModelDir.open(make(tmp_path, "am.mvn"))

    with pytest.raises(ModelFilesError, match=r"no weights \(model.pt or model.safetensors\)"):
        model.require_weights()
    with pytest.raises(ModelFilesError, match=r"no vocabulary \(tokens.json or tokens.txt\)"):
        model.require_tokens()
    with pytest.raises(ModelFilesError, match=r"no weights \('best.pt'\)"):
        ModelDir.open(tmp_path, {"init_param": "best.pt"}).require_weights()


def test_the_released_directory_opens(shared: Path) -> None:
    model = ModelDir.open(shared / "data" / "models" / "fsmn-vad-official")

    assert model.model == "FsmnVADStreaming"
    assert model.weights is not None
    assert model.weights.name == "model.pt"
    assert model.cmvn is not None
    assert model.config["frontend_conf"]["lfr_m"] == 5


POST = {"max_end_silence_time": 500, "input_size": None}
FEATURES = {"n_mels": 80, "lfr_m": 5, "lfr_n": 1, "dither": 0.0}


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        (
            "config.yaml",
            {
                "WavFrontend": {"cmvn_file": "elsewhere/am.mvn", "frontend_conf": FEATURES},
                "FSMN": {"online_model_path": "elsewhere/x.onnx", "encoder_conf": {"lorder": 20}},
                "vadPostArgs": POST,
            },
        ),
        (
            "vad.yaml",
            {
                "frontend": "wav_frontend",
                "frontend_conf": FEATURES,
                "model": "e2evad",
                "encoder": "fsmn",
                "encoder_conf": {"lorder": 20},
                "vad_post_conf": POST,
            },
        ),
    ],
)
def test_a_detector_that_was_published_under_other_names_opens_as_it_is(
    tmp_path: Path, name: str, settings: dict[str, Any]
) -> None:
    (tmp_path / name).write_text(json.dumps(settings))
    (tmp_path / "configuration.json").write_text('{"framework": "pytorch", "model": {"type": "generic-asr"}}')
    (tmp_path / "fsmnvad-online.onnx").touch()
    (tmp_path / "vad.mvn").touch()

    opened = ModelDir.open(tmp_path)

    assert opened.model == "FsmnVADStreaming"
    assert opened.config["model_conf"] == {"max_end_silence_time": 500}
    assert opened.config["encoder_conf"] == {"lorder": 20}
    assert opened.config["frontend"] == "WavFrontendOnline"
    assert opened.config["frontend_conf"] == {**FEATURES, "cmvn_file": str(tmp_path / "vad.mvn")}
    assert (opened.onnx, opened.cmvn) == (tmp_path / "fsmnvad-online.onnx", tmp_path / "vad.mvn")
