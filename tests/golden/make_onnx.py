"""Texts and times as upstream's funasr_onnx 0.4.3 makes them -> onnx/pieces.json, onnx/times.json.

Left out is what we do otherwise on purpose: special tokens have times of their own, and a word that is still
open when a Chinese character comes puts no blank before it.
"""

import contextlib
import io
import json
import random
from pathlib import Path

import numpy as np

from funasr_onnx.utils import postprocess_utils, timestamp_utils

HERE = Path(__file__).parent / "onnx"
PIECES = ["今", "天", "气", "好", "a", "b", "c", "hello", "world", "it's", "i", "ok", "的", "z"]
OPEN = [["hel@@", "lo"], ["u@@", "s@@", "a"], ["o@@", "k"]]
STARTS = ["▁hel", "lo", "▁world", "▁a", "▁b", "</s>", "<unk>", "'s", "▁ok"]


def pieces(rng: random.Random) -> dict:
    words = []
    for _ in range(rng.randrange(0, 9)):
        words += rng.choice(OPEN) if rng.random() < 0.2 else [rng.choice(PIECES)]
    times = [[at * 100, at * 100 + 80] for at in range(len(words))]
    plain = postprocess_utils.sentence_postprocess(list(words))
    return {
        "words": words,
        "plain": plain,
        "timed": postprocess_utils.sentence_postprocess(list(words), times),
    }


def starts(rng: random.Random) -> list:
    words = [rng.choice(STARTS[:1]), *(rng.choice(STARTS) for _ in range(rng.randrange(0, 7)))]
    return [words, postprocess_utils.sentence_postprocess_sentencepiece(list(words))]


def times(rng: np.random.Generator) -> dict:
    """Weights that fire now and then, with pauses of up to two seconds."""
    alphas = []
    count = int(rng.integers(1, 12))
    for _ in range(count + 1):
        gap = int(rng.choice([4, 8, 12, 20, 35, 60]))
        alphas += [round(1.0001 / gap, 6)] * gap
    alphas += [0.0] * int(rng.integers(0, 40))
    total, peaks = 0.0, []
    for alpha in np.asarray(alphas, dtype=np.float32):
        total = np.float32(total + alpha)
        peaks.append(float(total))
        if total >= 0.9999:
            total = np.float32(total - np.float32(0.9999))
    with contextlib.redirect_stdout(io.StringIO()):
        _, found = timestamp_utils.time_stamp_lfr6_onnx(np.asarray(peaks), ["好"] * count)
    return {"alphas": alphas, "count": count, "times": found}


def main() -> None:
    HERE.mkdir(exist_ok=True)
    rng = random.Random(7)
    texts = {
        "pieces": [pieces(rng) for _ in range(150)],
        "sentencepieces": [starts(rng) for _ in range(60)],
    }
    (HERE / "pieces.json").write_text(json.dumps(texts, ensure_ascii=False), encoding="utf-8")
    numbers = np.random.default_rng(0)
    (HERE / "times.json").write_text(json.dumps([times(numbers) for _ in range(12)]), encoding="utf-8")


if __name__ == "__main__":
    main()
