"""The model directories of the golden files, as ours: small and seeded."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from funasr.models.aligner.network import MonotonicAligner
from funasr.models.paraformer.online import ParaformerStreaming
from funasr.models.sense_voice.network import SenseVoiceSmall
from funasr.nn.weights import unallocated
from funasr.text.tokenizer import SentencepieceTokenizer

GOLDEN = Path(__file__).parent / "golden"
sys.path.insert(0, str(GOLDEN))

import seeded as seeded  # noqa: E402
import seeded_dirs as seeded_dirs  # noqa: E402

sound = seeded_dirs.sound
tones = seeded_dirs.tones


def vocabulary() -> SentencepieceTokenizer:
    return SentencepieceTokenizer(GOLDEN / "sense_voice" / "bpe.model")


def sense_voice_network() -> SenseVoiceSmall:
    """In evaluation mode, not packed."""
    config = seeded_dirs.sense_voice_config()
    model = SenseVoiceSmall.from_official(config, vocabulary().vocab_size, seeded.INPUT)
    return _with_weights(model)


def aligner_network() -> MonotonicAligner:
    """In evaluation mode, not packed."""
    return _with_weights(MonotonicAligner.from_official(seeded_dirs.aligner_config(), 0, seeded.INPUT))


def make_sense_voice(folder: Path) -> Path:
    config = seeded_dirs.sense_voice_config()
    with unallocated():
        model = SenseVoiceSmall.from_official(config, vocabulary().vocab_size, seeded.INPUT)
    return seeded_dirs.write_sense_voice(folder, shapes(model))


def make_aligner(folder: Path) -> Path:
    with unallocated():
        model = MonotonicAligner.from_official(seeded_dirs.aligner_config(), 0, seeded.INPUT)
    return seeded_dirs.write_aligner(folder, shapes(model))


def make_streaming(folder: Path) -> Path:
    config, vocab_size = seeded_dirs.streaming_config(), len(seeded_dirs.TOKENS)
    with unallocated():
        model = ParaformerStreaming.from_official(config, vocab_size, seeded.INPUT)
    return seeded_dirs.write_streaming(folder, shapes(model))


def shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in model.state_dict().items()}


def golden(path: str) -> Any:
    """A .json file's content, or a .npz file's arrays."""
    if path.endswith(".json"):
        return json.loads((GOLDEN / path).read_text(encoding="utf-8"))
    with np.load(GOLDEN / path) as arrays:
        return dict(arrays)


def _with_weights(model: Any) -> Any:
    state = seeded_dirs.weights(shapes(model))
    model.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
    return model.eval()
