"""Golden texts and scores of small punctuation networks, computed by the reference: run with its Python.

    PYTHON_OF_THE_REFERENCE tests/golden/make_punc.py [COUNT [FOLDER]]

Reference: funasr 1.4.16, torch 2.13, CPU. Writes into punc/:

    network.npz     scores of both classes for given ids (tolerance 1e-4: float32 sums in another order)
    whole.json      text and punc_array of COUNT random texts, by how often the network sets marks (exact)
    live.json       the calls of live texts (exact); a call of one word is left out, upstream fails on it
    sentences.json  sentences of words, times and labels (exact)
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import punc_dirs  # noqa: E402
from funasr.utils.timestamp_tools import timestamp_sentence, timestamp_sentence_en  # noqa: E402

from funasr import AutoModel  # noqa: E402
from funasr.register import tables  # noqa: E402

HOW = {"device": "cpu", "ncpu": 1, "disable_update": True, "disable_pbar": True, "log_level": "ERROR"}
BOUNDARIES = (0, 1, 9, 26, 27)
LENGTH = 27


def random_text(rng: random.Random, most: int) -> str:
    """Up to `most` words: Chinese, English, or mixed in runs."""
    share = rng.choice([0.0, 0.2, 0.5, 1.0])
    words: list[str] = []
    for _ in range(rng.randint(2, most)):
        english = rng.random() < share
        words.append(f" {rng.choice(punc_dirs.ENGLISH)} " if english else rng.choice(punc_dirs.CHINESE[:-5]))
        if rng.random() < 0.03:
            words.append(rng.choice(["。", "，", "？", "！", "!", ",", "  ", "é", "ก"]))
    return "".join(words).strip()


def shapes_of(name: str) -> dict[str, tuple[int, ...]]:
    raw = punc_dirs.config(name)
    model = tables.model_classes[name](
        **{**raw["model_conf"], **raw, "vocab_size": len(punc_dirs.TOKENS), "tokenizer": None}
    )
    return {key: tuple(value.shape) for key, value in model.state_dict().items()}


def open_model(folder: Path, name: str, bias: str, *, jieba: bool = False) -> Any:
    punc_dirs.write(folder, name, shapes_of(name), bias, jieba=jieba)
    return AutoModel(model=str(folder), **HOW)


def scores(model: Any, live: bool) -> dict[str, np.ndarray]:
    ids = np.random.default_rng(1).integers(0, len(punc_dirs.TOKENS), LENGTH)
    text, lengths = torch.from_numpy(ids)[None], torch.tensor([LENGTH], dtype=torch.int32)
    out = {}
    for boundary in BOUNDARIES if live else (0,):
        more = {"vad_indexes": torch.tensor([boundary], dtype=torch.int32)} if live else {}
        with torch.no_grad():
            made, _ = model.punc_forward(text=text, text_lengths=lengths, **more)
        out[f"{'live' if live else 'whole'}_{boundary}"] = made[0].numpy()
    return out


def whole(model: Any, count: int, rng: random.Random) -> list[Any]:
    rows = []
    for _ in range(count):
        text = random_text(rng, rng.choice([5, 45, 130, 260]))
        result = model.generate(input=text)[0]
        rows.append([text, result["text"], result["punc_array"].tolist()])
    return rows


def live(model: Any, count: int, rng: random.Random) -> list[Any]:
    streams = []
    for _ in range(count):
        cache: dict[str, Any] = {}
        calls = []
        for _ in range(rng.randint(2, 6)):
            text = random_text(rng, rng.choice([4, 12, 45]))
            try:
                result = model.generate(input=text, cache=cache)[0]
            except TypeError:  # a window of one word
                break
            array = result["punc_array"].tolist()
            calls.append([text, result["text"], array, [word.strip() for word in cache["pre_text"]]])
        streams.append(calls)
    return streams


def sentences(count: int, rng: random.Random) -> list[Any]:
    rows = []
    for _ in range(count):
        words = [rng.choice(punc_dirs.ENGLISH + punc_dirs.CHINESE[:-5]) for _ in range(rng.randint(1, 14))]
        times = [[i * 100, i * 100 + rng.randint(1, 99)] for i in range(len(words))]
        labels = [rng.choice([1, 1, 1, 2, 3, 4, 5]) for _ in words[1:]] + [3]
        text = " ".join(words)
        chinese = timestamp_sentence(labels, times, text)
        english = timestamp_sentence_en(labels, times, text)
        rows.append([words, times, labels, chinese, [sentence["text"] for sentence in english]])
    return rows


def main(count: int = 24, folder: Path = HERE / "punc") -> None:
    torch.set_num_threads(1)
    rng = random.Random(0)
    folder.mkdir(parents=True, exist_ok=True)
    out: dict[str, Any] = {}
    network: dict[str, np.ndarray] = {}
    with tempfile.TemporaryDirectory() as name:
        for bias in punc_dirs.BIASES:
            model = open_model(Path(name) / bias, "CTTransformer", bias)
            out[bias] = whole(model, count, rng)
        network |= scores(model.model, live=False)
        model = open_model(Path(name) / "jieba", "CTTransformer", "some", jieba=True)
        out["jieba"] = whole(model, count, rng)
        streams = {}
        for bias in ("many", "some", "commas"):
            model = open_model(Path(name) / f"live-{bias}", "CTTransformerStreaming", bias)
            streams[bias] = live(model, count, rng)
        network |= scores(model.model, live=True)
    np.savez_compressed(folder / "network.npz", **network)
    for file, content in (("whole", out), ("live", streams), ("sentences", sentences(4 * count, rng))):
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
        (folder / f"{file}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(*(int(sys.argv[1]),) if len(sys.argv) > 1 else (), *(Path(a) for a in sys.argv[2:3]))
