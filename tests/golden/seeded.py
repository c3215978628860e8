"""Small networks with reproducible weights, the same for the reference and for us. Needs numpy alone.

Each tensor's numbers depend on its name and shape only, so nothing but results has to be stored.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

VOCAB, SIZE, INPUT, FRAMES = 60, 32, 560, 23
NO_BIAS = 55

ENCODER = {
    "output_size": SIZE,
    "attention_heads": 4,
    "linear_units": 48,
    "num_blocks": 3,
    "dropout_rate": 0.1,
    "positional_dropout_rate": 0.1,
    "attention_dropout_rate": 0.1,
    "input_layer": "pe",
    "pos_enc_class": "SinusoidalPositionEncoder",
    "normalize_before": True,
    "kernel_size": 11,
    "sanm_shfit": 0,
    "selfattention_layer_type": "sanm",
}
DECODER = {
    "attention_heads": 4,
    "linear_units": 40,
    "num_blocks": 3,
    "att_layer_num": 2,  # one layer without cross attention, which released models do not have
    "dropout_rate": 0.1,
    "positional_dropout_rate": 0.1,
    "self_attention_dropout_rate": 0.1,
    "src_attention_dropout_rate": 0.1,
    "kernel_size": 11,
    "sanm_shfit": 0,
}
PREDICTOR = {"idim": SIZE, "threshold": 1.0, "l_order": 1, "r_order": 1, "tail_threshold": 0.45}
FINE = {
    "smooth_factor2": 0.25,
    "noise_threshold2": 0.01,
    "upsample_times": 3,
    "use_cif1_cnn": False,
    "upsample_type": "cnn_blstm",
}
MODEL = {
    "ctc_weight": 0.0,
    "lsm_weight": 0.1,
    "length_normalized_loss": True,
    "predictor_weight": 1.0,
    "predictor_bias": 1,
    "sampling_ratio": 0.75,
}
SEACO_DECODER = {
    "attention_heads": 4,
    "linear_units": 24,
    "num_blocks": 2,  # as in the released model: fewer than the six layers that are built
    "kernel_size": 21,
    "sanm_shfit": 0,
    "use_output_layer": False,
    "wo_input_layer": True,
}
CHUNKS = {
    "chunk_size": [12, 15],
    "stride": [8, 10],
    "pad_left": [0, 0],
    "encoder_att_look_back_factor": [4, 4],
    "decoder_att_look_back_factor": [1, 1],
}
CLASSES = ("Paraformer", "BiCifParaformer", "SeacoParaformer", "ContextualParaformer")
PHRASE_COUNTS = (0, 3, 300)
"""How many hotwords the golden runs had. Of the 300 the reference does not list "no hotword" twice."""


def config(name: str) -> dict[str, Any]:
    """config.yaml of a small network of that class."""
    raw: dict[str, Any] = {
        "model": name,
        "model_conf": dict(MODEL),
        "encoder": "SANMEncoder",
        "encoder_conf": dict(ENCODER),
        "decoder": "ParaformerSANMDecoder",
        "decoder_conf": dict(DECODER),
        "predictor": "CifPredictorV2",
        "predictor_conf": dict(PREDICTOR),
    }
    if name in ("BiCifParaformer", "SeacoParaformer"):
        raw["predictor"] = "CifPredictorV3"
        raw["predictor_conf"] |= FINE
    if name == "SeacoParaformer":
        raw["model_conf"] |= {"inner_dim": SIZE, "bias_encoder_type": "lstm", "bias_encoder_bid": False}
        raw["model_conf"] |= {"NO_BIAS": NO_BIAS}
        raw |= {"seaco_decoder": "ParaformerSANMDecoder", "seaco_decoder_conf": dict(SEACO_DECODER)}
    if name == "ContextualParaformer":
        raw["model_conf"] |= {"inner_dim": SIZE}
        raw["decoder"] = "ContextualParaformerDecoder"
        raw["decoder_conf"] |= {"num_blocks": 3, "att_layer_num": 3}
    if name == "ParaformerStreaming":
        raw["encoder"] = "SANMEncoderChunkOpt"
        raw["encoder_conf"] |= CHUNKS | {"input_layer": "pe_online"}
        raw["decoder_conf"] |= {"num_blocks": 2, "sanm_shfit": 5}
    return raw


def weights(shapes: Mapping[str, Sequence[int]]) -> dict[str, np.ndarray]:
    """Numbers for every tensor; their size keeps activations lively and lets about every third frame fire."""
    made = {}
    for name, shape in shapes.items():
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        values = rng.standard_normal(shape)
        if "norm" in name and name.endswith("weight"):
            values = 1 + 0.1 * values
        elif name.endswith("bias"):
            values *= 0.1
        else:
            values *= 1.5 / np.sqrt(np.prod(shape[1:]))
        if name.endswith("cif_output.bias"):
            values = np.full(shape, -0.7)
        if name == "hotword_output_layer.bias":
            values[NO_BIAS] = 9.0  # some positions hear a hotword, others none
        made[name] = values.astype(np.float32)
    return made


def features(rows: int = 1, frames: int = FRAMES) -> np.ndarray:
    """(rows, frames, INPUT) float32."""
    return np.random.default_rng(7).standard_normal((rows, frames, INPUT)).astype(np.float32)


def phrases(count: int) -> list[list[int]]:
    """That many hotwords of 1 to 4 ids."""
    rng = np.random.default_rng(count)
    return [rng.integers(3, VOCAB - 8, rng.integers(1, 5)).tolist() for _ in range(count)]


STREAMS = (
    # left, new and right frames; chunks the encoder and the decoder look back; rows of the last chunk
    ((0, 10, 5), (4, 1), 0),
    ((0, 10, 5), (0, 0), 10),
    ((0, 10, 5), (-1, 0), 1),
    ((5, 10, 5), (4, 1), 7),
    ((5, 10, 5), (1, 2), 0),
    ((0, 8, 4), (4, 1), 3),
    ((0, 10, 5), (4, 1), 4),
)
"""The golden streams: six whole chunks and a last one, but the last stream is one last chunk alone."""

QUIET, QUIET_BIAS = 5, -3.2
"""The stream of a network that fires so seldom that some chunks say nothing."""


def stream_chunks(number: int) -> list[np.ndarray]:
    """The features (rows, INPUT) of each chunk of a golden stream."""
    (_, size, _), _, last = STREAMS[number]
    whole = 0 if number == len(STREAMS) - 1 else 6
    rows = features(1, whole * size + last)[0]
    return [rows[start : start + size] for start in range(0, whole * size, size)] + [rows[whole * size :]]
