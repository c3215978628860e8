"""Batches to train the small seeded networks on: the same for the reference and for us. Needs numpy alone."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import seeded  # noqa: E402
import seeded_dirs  # noqa: E402

STATS = ("loss", "loss_att", "loss_pre", "loss_pre2", "loss_ctc", "loss_seaco", "loss_rich", "acc")
PARTS = (
    "encoder.",
    "decoder.",
    "predictor.",
    "seaco_decoder.",
    "bias_encoder.",
    "hotword_output_layer.",
    "ctc.",
)

CASES: dict[str, dict[str, Any]] = {
    "Paraformer": {},
    "Paraformer ctc": {"ctc_weight": 0.3},
    "BiCifParaformer": {},
    "SeacoParaformer": {"train_decoder": False, "seaco_lsm_weight": 0.1},
    "SeacoParaformer decoder": {"train_decoder": True, "seaco_lsm_weight": 0.1},
    "ContextualParaformer": {},
    "SenseVoiceSmall": {},
}
"""Class, and a word behind it, -> what differs in `model_conf`."""

SENTENCES = ([5, 9, 14, 11, 6, 7], [8, 20, 30, 12])
SPANS = ([[1, 3], [-1, -1]], [[0, 1], [-1, -1]])
"""Of each sentence the first and last place of its hotwords."""
SENSE_VOCAB = 25_020
TAGS = ([24_885, 25_001, 24_993, 25_016], [24_884, 25_004, 24_993, 25_017])
"""English, happy, speech, with numbers as digits; Chinese, neutral, speech, without."""


def model(case: str) -> tuple[str, dict[str, Any], int]:
    """-> class, config.yaml, vocabulary."""
    name = case.split()[0]
    if name == "SenseVoiceSmall":
        return name, seeded_dirs.sense_voice_config(), SENSE_VOCAB
    raw = seeded.config(name)
    raw["model_conf"] |= {"sampling_ratio": 0.0} | CASES[case]
    return name, raw, seeded.VOCAB


def batch(case: str) -> dict[str, np.ndarray]:
    """What the reference's `forward` is called with."""
    name = case.split()[0]
    sentences = [list(sentence) for sentence in SENTENCES]
    if name == "SenseVoiceSmall":
        sentences = [tags + words for tags, words in zip(TAGS, sentences, strict=True)]
    size = max(map(len, sentences))
    text = np.full((len(sentences), size), -1)
    for row, sentence in zip(text, sentences, strict=True):
        row[: len(sentence)] = sentence
    made = {
        "speech": seeded.features(len(sentences)),
        "speech_lengths": np.full(len(sentences), seeded.FRAMES),
        "text": text,
        "text_lengths": np.array([len(sentence) for sentence in sentences]),
    }
    if name in ("SeacoParaformer", "ContextualParaformer"):
        made |= _hotwords(text)
    if name == "ContextualParaformer":
        del made["seaco_label_pad"]
    return made


def _hotwords(text: np.ndarray) -> dict[str, np.ndarray]:
    """The fields that upstream's data set for hotwords adds."""
    labels = np.where(text >= 0, seeded.NO_BIAS, -1)
    phrases = []
    for row, sentence, spans in zip(labels, text, SPANS, strict=True):
        for first, last in spans:
            if first >= 0:
                row[first : last + 1] = sentence[first : last + 1]
                phrases.append(sentence[first : last + 1].tolist())
    phrases.append([1])
    table = np.zeros((len(phrases), max(map(len, phrases))), dtype=np.int64)
    for row, phrase in zip(table, phrases, strict=True):
        row[: len(phrase)] = phrase
    lengths = np.array([len(phrase) for phrase in phrases], dtype=np.int32)
    return {"hotword_pad": table, "hotword_lengths": lengths, "seaco_label_pad": labels}
