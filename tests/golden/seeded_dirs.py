"""Model directories in the official layout with small seeded networks: the same for the reference and for us.

Needs numpy and torch. Numbers come from seeded.py, so that nothing but results has to be stored.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import seeded  # noqa: E402

FRONTEND = {
    "fs": 16000,
    "window": "hamming",
    "n_mels": 80,
    "frame_length": 25,
    "frame_shift": 10,
    "dither": 0.0,
    "lfr_m": 7,
    "lfr_n": 6,
}
BPE_MODEL = "chn_jpn_yue_eng_ko_spectok.bpe.model"
CHARACTERS = ["我", "们", "今", "天", "好", "去", "来", "a", "b", "e", "o", "l", "hel@@", "lo", "wor@@", "ld"]
TOKENS = ["<blank>", "<s>", "</s>", *CHARACTERS, "<unk>"]
SEG_DICT = {"hello": "hel@@ lo", "world": "wor@@ ld", "low": "lo <unk>", **{c: c for c in CHARACTERS[:12]}}


def sense_voice_config() -> dict[str, Any]:
    return {
        "model": "SenseVoiceSmall",
        "model_conf": {"length_normalized_loss": True, "sos": 1, "eos": 2, "ignore_id": -1},
        "encoder": "SenseVoiceEncoderSmall",
        "encoder_conf": {**seeded.ENCODER, "tp_blocks": 2},
        "frontend": "WavFrontend",
        "frontend_conf": FRONTEND,
        "tokenizer": "SentencepiecesTokenizer",
        "tokenizer_conf": {"bpemodel": None, "unk_symbol": "<unk>", "split_with_space": True},
    }


def aligner_config() -> dict[str, Any]:
    return {
        "model": "MonotonicAligner",
        "model_conf": {"length_normalized_loss": False, "predictor_bias": 1},
        "encoder": "SANMEncoder",
        "encoder_conf": dict(seeded.ENCODER),
        "predictor": "CifPredictorV3",
        "predictor_conf": {**seeded.PREDICTOR, **seeded.FINE},
        "frontend": "WavFrontend",
        "frontend_conf": FRONTEND,
        "tokenizer": "CharTokenizer",
        "tokenizer_conf": {"unk_symbol": "<unk>", "split_with_space": True},
    }


def streaming_config() -> dict[str, Any]:
    chunks = {
        "chunk_size": [12, 15],
        "stride": [8, 10],
        "pad_left": [0, 0],
        "encoder_att_look_back_factor": [4, 4],
        "decoder_att_look_back_factor": [1, 1],
    }
    return {
        "model": "ParaformerStreaming",
        "model_conf": dict(seeded.MODEL),
        "encoder": "SANMEncoderChunkOpt",
        "encoder_conf": {**seeded.ENCODER, "input_layer": "pe_online", **chunks},
        "decoder": "ParaformerSANMDecoder",
        "decoder_conf": {**seeded.DECODER, "num_blocks": 2, "sanm_shfit": 5},
        "predictor": "CifPredictorV2",
        "predictor_conf": dict(seeded.PREDICTOR),
        "frontend": "WavFrontendOnline",
        "frontend_conf": FRONTEND,
        "tokenizer": "CharTokenizer",
        "tokenizer_conf": {"unk_symbol": "<unk>", "split_with_space": True},
    }


def weights(shapes: Mapping[str, Sequence[int]]) -> dict[str, np.ndarray]:
    """Those of seeded.py; about half of the frames of a SenseVoice are blank, and no special id is heard.

    The words of a ParaformerStreaming depend on the sound, and few of them are special.
    """
    made = seeded.weights(shapes)
    if "ctc.ctc_lo.bias" in made:
        made["ctc.ctc_lo.bias"][0] = 4.0
        made["ctc.ctc_lo.bias"][1:3] = -30.0
    if "decoder.output_layer.bias" in made:
        for name, values in made.items():
            if name.endswith("bias") and "cif" not in name:
                values *= 0.0
        made["decoder.output_layer.weight"] *= 4.0
        made["decoder.output_layer.bias"][:3] = -5.0
    return made


def write_sense_voice(folder: Path, shapes: Mapping[str, Sequence[int]]) -> Path:
    """A SenseVoiceSmall over the vocabulary in sense_voice/."""
    _write(folder, sense_voice_config(), shapes, {"tokenizer_conf": {"bpemodel": BPE_MODEL}})
    shutil.copy(HERE / "sense_voice" / "bpe.model", folder / BPE_MODEL)
    return folder


def write_aligner(folder: Path, shapes: Mapping[str, Sequence[int]]) -> Path:
    """A MonotonicAligner with a vocabulary of a few words."""
    return _write_words(folder, aligner_config(), shapes)


def write_streaming(folder: Path, shapes: Mapping[str, Sequence[int]]) -> Path:
    """A ParaformerStreaming with the same vocabulary."""
    return _write_words(folder, streaming_config(), shapes)


def _write_words(folder: Path, config: Mapping[str, Any], shapes: Mapping[str, Sequence[int]]) -> Path:
    files = {"tokenizer_conf": {"token_list": "tokens.json", "seg_dict_file": "seg_dict"}}
    _write(folder, config, shapes, files)
    (folder / "tokens.json").write_text(json.dumps(TOKENS, ensure_ascii=False), encoding="utf-8")
    lines = "".join(f"{word} {pieces}\n" for word, pieces in SEG_DICT.items())
    (folder / "seg_dict").write_text(lines, encoding="utf-8")
    return folder


def _write(
    folder: Path, config: Mapping[str, Any], shapes: Mapping[str, Sequence[int]], files: Mapping[str, Any]
) -> None:
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(json.dumps(config, indent=1), encoding="utf-8")
    metas = {"init_param": "model.pt", "config": "config.yaml", "frontend_conf": {"cmvn_file": "am.mvn"}}
    (folder / "configuration.json").write_text(json.dumps({"file_path_metas": {**metas, **files}}))
    shift = " ".join(["-12.0"] * seeded.INPUT)
    scale = " ".join(["0.25"] * seeded.INPUT)
    size = seeded.INPUT
    (folder / "am.mvn").write_text(
        f"<Nnet>\n<Splice> {size} {size}\n[ 0 ]\n<AddShift> {size} {size}\n<LearnRateCoef> 0 [ {shift} ]\n"
        f"<Rescale> {size} {size}\n<LearnRateCoef> 0 [ {scale} ]\n</Nnet>\n"
    )
    state = {name: torch.from_numpy(value) for name, value in weights(shapes).items()}
    torch.save(state, folder / "model.pt")


def sound(seconds: float, seed: int) -> np.ndarray:
    """Noise that grows and fades a few times a second: (N,) float32 at 16 kHz."""
    rng = np.random.default_rng(seed)
    count = int(seconds * 16000)
    level = np.repeat(rng.uniform(0.001, 0.3, count // 1600 + 1), 1600)[:count]
    return (rng.standard_normal(count) * level).astype(np.float32)


def tones(seconds: float, seed: int) -> np.ndarray:
    """Three tones and some noise, other ones eight times a second: (N,) float32 at 16 kHz."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * 16000)) / 16000
    parts = []
    for part in np.split(time, range(2000, len(time), 2000)):
        notes = np.exp(rng.uniform(np.log(100), np.log(7000), (3, 1)))
        heard = rng.uniform(0, 0.3, (3, 1)) * np.sin(2 * np.pi * notes * part)
        parts.append(heard.sum(axis=0) + 10 ** rng.uniform(-4, -1) * rng.standard_normal(len(part)))
    return np.concatenate(parts).astype(np.float32)
