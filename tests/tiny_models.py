"""Model directories in the official layout with tiny random networks, the same every time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

WORDS = ["a", "b", "c", "好", "天", "今", "气", "很", "不", "错", "我", "们", "x", "y", "去", "来"]
TOKENS = ["<blank>", "<s>", "</s>", *WORDS, "<unk>"]


def paraformer_config(model: str = "BiCifParaformer", size: int = 32) -> dict[str, Any]:
    predictor: dict[str, Any] = {
        "idim": size,
        "threshold": 1.0,
        "l_order": 1,
        "r_order": 1,
        "tail_threshold": 0.45,
    }
    timed = model in ("BiCifParaformer", "SeacoParaformer")
    if timed:
        predictor |= {
            "smooth_factor2": 0.25,
            "noise_threshold2": 0.01,
            "upsample_times": 3,
            "use_cif1_cnn": False,
            "upsample_type": "cnn_blstm",
        }
    decoder = {
        "attention_heads": 4,
        "linear_units": 64,
        "num_blocks": 2,
        "att_layer_num": 2,
        "kernel_size": 11,
    }
    config: dict[str, Any] = {
        "model": model,
        "model_conf": {"predictor_bias": 1, "sampling_ratio": 0.75},
        "encoder": "SANMEncoder",
        "encoder_conf": {
            "output_size": size,
            "attention_heads": 4,
            "linear_units": 64,
            "num_blocks": 2,
            "input_layer": "pe",
            "kernel_size": 11,
            "sanm_shfit": 0,
            "selfattention_layer_type": "sanm",
        },
        "decoder": "ContextualParaformerDecoder"
        if model == "ContextualParaformer"
        else "ParaformerSANMDecoder",
        "decoder_conf": decoder,
        "predictor": "CifPredictorV3" if timed else "CifPredictorV2",
        "predictor_conf": predictor,
        "frontend": "WavFrontend",
        "frontend_conf": {"fs": 16000, "n_mels": 80, "dither": 0.0, "lfr_m": 7, "lfr_n": 6},
        "tokenizer": "CharTokenizer",
        "tokenizer_conf": {"unk_symbol": "<unk>", "split_with_space": True},
    }
    if model == "SeacoParaformer":
        config["model_conf"] |= {"inner_dim": size, "bias_encoder_type": "lstm", "NO_BIAS": len(TOKENS) - 2}
        config["seaco_decoder"] = "ParaformerSANMDecoder"
        config["seaco_decoder_conf"] = {
            "attention_heads": 4,
            "linear_units": 48,
            "num_blocks": 2,
            "kernel_size": 21,
            "use_output_layer": False,
            "wo_input_layer": True,
        }
    if model == "ContextualParaformer":
        config["model_conf"]["inner_dim"] = size
    return config


def make_paraformer(folder: Path, model: str = "BiCifParaformer", seed: int = 0) -> Path:
    """A recognizer that fires about 4 tokens a second, whatever it hears."""
    import torch

    from funasr import registry

    config = paraformer_config(model)
    _write_settings(folder, config)
    (folder / "tokens.json").write_text(json.dumps(TOKENS, ensure_ascii=False), encoding="utf-8")
    (folder / "seg_dict").write_text("".join(f"{w} {w}\n" for w in WORDS), encoding="utf-8")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = registry.lookup(registry.MODELS, model).from_official(config, len(TOKENS), 560)
    state = network.state_dict()
    rng = np.random.default_rng(seed)
    for value in state.values():
        if value.ndim > 1:
            value.copy_(torch.from_numpy(rng.normal(0, value[0].numel() ** -0.5, value.shape)))
    for name in ("predictor.cif_output", "predictor.cif_output2"):
        if f"{name}.weight" in state:
            state[f"{name}.weight"] *= 0.3
            state[f"{name}.bias"].fill_(-1.0)
    state["decoder.output_layer.weight"] *= 4.0  # so that words differ
    state["decoder.output_layer.bias"][[0, 1, 2, len(TOKENS) - 1]] = -30.0
    torch.save(state, folder / "model.pt")
    return folder


def make_vad(folder: Path) -> Path:
    """A detector whose first output follows the energy of the sound: loud is speech."""
    import torch

    from funasr import registry

    encoder = {
        "input_dim": 400,
        "input_affine_dim": 4,
        "fsmn_layers": 1,
        "linear_dim": 4,
        "proj_dim": 4,
        "lorder": 20,
        "rorder": 0,
        "lstride": 1,
        "rstride": 0,
        "output_affine_dim": 4,
        "output_dim": 2,
    }
    config = {
        "model": "FsmnVADStreaming",
        "model_conf": {"sample_rate": 16000, "max_end_silence_time": 800, "sil_pdf_ids": [0]},
        "encoder": "FSMN",
        "encoder_conf": encoder,
        "frontend": "WavFrontendOnline",
        "frontend_conf": {"fs": 16000, "n_mels": 80, "dither": 0.0, "lfr_m": 5, "lfr_n": 1},
    }
    _write_settings(folder, config)
    network = registry.lookup(registry.MODELS, "FsmnVADStreaming").from_official(config, 0, 400)
    state = {name: torch.zeros_like(value) for name, value in network.state_dict().items()}
    state["encoder.in_linear1.linear.weight"][0] = 1 / 400  # mean log-mel energy
    for name in ("in_linear2", "fsmn.0.linear", "fsmn.0.affine", "out_linear1"):
        state[f"encoder.{name}.linear.weight"][0, 0] = 1.0
    state["encoder.out_linear2.linear.weight"][0, 0] = -4.0
    state["encoder.out_linear2.linear.bias"][0] = 4.0 * 2 * 8.0  # the memory adds its input: twice the energy
    state["encoder.fsmn.0.fsmn_block.conv_left.weight"][0, 0, -1, 0] = 1.0
    torch.save(state, folder / "model.pt")
    return folder


PUNC_WORDS = ["<unk>", *WORDS, "hello", "world", "ok", "今天", "天气", "不错", "我们"]


def make_ct_punc(folder: Path, model: str = "CTTransformer", seed: int = 0) -> Path:
    """A punctuation model that sets a mark after about every sixth word, whatever the text."""
    import torch

    from funasr import registry

    live = model == "CTTransformerStreaming"
    config: dict[str, Any] = {
        "model": model,
        "model_conf": {
            "embed_unit": 32,
            "att_unit": 32,
            "punc_list": ["<unk>", "_", "，", "。", "？", "、"],
            "sentence_end_id": 3,
        },
        "encoder": "SANMVadEncoder" if live else "SANMEncoder",
        "encoder_conf": {
            "output_size": 32,
            "attention_heads": 4,
            "linear_units": 64,
            "num_blocks": 3,
            "kernel_size": 11,
            "sanm_shfit": 5 if live else 0,
        },
        "tokenizer": "CharTokenizer",
        "tokenizer_conf": {"unk_symbol": "<unk>"},
    }
    _write_settings(folder, config)
    (folder / "tokens.json").write_text(json.dumps(PUNC_WORDS, ensure_ascii=False), encoding="utf-8")
    network = registry.lookup(registry.MODELS, model).from_official(config, len(PUNC_WORDS))
    state = network.state_dict()
    rng = np.random.default_rng(seed)
    for name, value in state.items():
        if value.ndim > 1:
            value.copy_(torch.from_numpy(rng.normal(0, value[0].numel() ** -0.5, value.shape)))
        elif "norm" not in name:
            value.zero_()
    state["decoder.weight"] *= 1.5
    state["decoder.bias"].copy_(torch.tensor([-30.0, 2.0, 0.5, 0.0, -0.5, -0.5]))
    torch.save(state, folder / "model.pt")
    return folder


def _write_settings(folder: Path, config: dict[str, Any]) -> None:
    from omegaconf import OmegaConf

    folder.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(OmegaConf.create(config), folder / "config.yaml")


def talk(*pieces: tuple[str, float], rate: int = 16000, seed: int = 0) -> Any:
    """`("loud", seconds)` and `("quiet", seconds)` pieces of noise -> float32 samples."""
    rng = np.random.default_rng(seed)
    level = {"loud": 0.2, "quiet": 1e-4}
    return np.concatenate(
        [rng.normal(0, level[kind], int(seconds * rate)) for kind, seconds in pieces]
    ).astype(np.float32)


def make_campplus(folder: Path) -> Path:
    """A small CAM++ under the file name of the released one. Its voices of noise mean nothing, and differ."""
    import torch

    from funasr import registry
    from tests.speakers.golden import seeded

    config = {
        "model": "CAMPPlus",
        "model_conf": dict(seeded.CAMPPLUS),
        "frontend": "WavFrontend",
        "frontend_conf": {"fs": 16000},
    }
    _write_settings(folder, config)
    metas = {"file_path_metas": {"init_param": "campplus_cn_common.bin", "config": "config.yaml"}}
    (folder / "configuration.json").write_text(json.dumps(metas), encoding="utf-8")
    network = registry.lookup(registry.MODELS, "CAMPPlus").from_official(config)
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    state = {name: torch.from_numpy(np.asarray(v)) for name, v in seeded.weights(shapes).items()}
    torch.save(state, folder / "campplus_cn_common.bin")
    return folder
