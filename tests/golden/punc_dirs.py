"""Model directories in the official layout with small seeded punctuation networks. Needs numpy and torch.

The same for the reference and for us: numbers come from seeded.py, so that nothing but results is stored.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import seeded  # noqa: E402

SIZE = 24
ENGLISH = [
    "hello",
    "World",
    "it's",
    "3.5GB",
    "ok",
    "GPU",
    "a1b2",
    "happy",
    "new",
    "year",
    "7",
    "x.",
    "e-mail",
]
CHINESE = list(
    "今天气很不错我们去公园玩吧明再学校上课好吗那的会就到这里见跨境河流是养育沿岸人民生命之源。，？、！"
)
COMPOUND = ["今天", "天气", "不错", "我们", "公园玩", "AI模型"]
TOKENS = ["<unk>", *ENGLISH[:-2], *CHINESE, *COMPOUND]
JIEBA_WORDS = "公园玩 50\nAI模型 20\n河流是 10000\n"
BIASES: dict[str, Sequence[float]] = {
    "many": (-30, 0.5, 0, 0, 0, 0),
    "some": (-30, 3.0, 1.0, 0.3, -0.3, 0),
    "commas": (-30, 2.0, 1.0, -30, -30, 0),
    "none": (-30, 30, 0, 0, 0, 0),
}
"""Added to the scores of <unk> _ ， 。 ？ 、: how often each is said."""


def config(name: str) -> dict[str, Any]:
    """config.yaml of a small network of that class."""
    live = name == "CTTransformerStreaming"
    encoder = seeded.ENCODER | {"output_size": SIZE, "sanm_shfit": 5 if live else 0}
    return {
        "model": name,
        "model_conf": {
            "ignore_id": 0,
            "embed_unit": SIZE,
            "att_unit": SIZE,
            "dropout_rate": 0.1,
            "punc_list": ["<unk>", "_", "，", "。", "？", "、"],
            "punc_weight": [1.0] * 6,
            "sentence_end_id": 3,
        },
        "encoder": "SANMVadEncoder" if live else "SANMEncoder",
        "encoder_conf": encoder | {"input_size": SIZE, "padding_idx": 0},
        "tokenizer": "CharTokenizer",
        "tokenizer_conf": {"unk_symbol": "<unk>"},
    }


def weights(shapes: Mapping[str, Sequence[int]], bias: str) -> dict[str, np.ndarray]:
    """Numbers for every tensor."""
    made = seeded.weights(shapes)
    made["embed.weight"] *= np.sqrt(SIZE).astype(np.float32)  # words of one vocabulary row should differ
    made["decoder.bias"] = np.asarray(BIASES[bias], dtype=np.float32)
    return made


def write(
    folder: Path, name: str, shapes: Mapping[str, Sequence[int]], bias: str, *, jieba: bool = False
) -> Path:
    """A model directory whose marks are as frequent as `bias` says."""
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(json.dumps(config(name), indent=1), encoding="utf-8")
    (folder / "tokens.json").write_text(json.dumps(TOKENS, ensure_ascii=False), encoding="utf-8")
    files = {"init_param": "model.pt", "config": "config.yaml"}
    metas: dict[str, Any] = {**files, "tokenizer_conf": {"token_list": "tokens.json"}}
    if jieba:
        (folder / "jieba_usr_dict").write_text(JIEBA_WORDS, encoding="utf-8")
        metas["jieba_usr_dict"] = "jieba_usr_dict"
    (folder / "configuration.json").write_text(json.dumps({"file_path_metas": metas}), encoding="utf-8")
    state = {key: torch.from_numpy(value) for key, value in weights(shapes, bias).items()}
    torch.save(state, folder / "model.pt")
    return folder
