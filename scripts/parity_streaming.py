"""The streaming half of scripts/parity.py: ParaformerStreaming, call by call, fed in strides of its chunk."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from parity_table import Line, ask_reference, count_equal, largest, read_clips, same, upstream

KINDS = ("paraformer-streaming",)
CASES = (
    # left, new and right frames; chunks that the encoder and the decoder look back; samples in the last call
    # (-1: a whole stride)
    ((0, 10, 5), (4, 1), 0),
    ((0, 10, 5), (4, 1), 959),
    ((0, 10, 5), (4, 1), 960),
    ((0, 10, 5), (4, 1), 9599),
    ((0, 10, 5), (4, 1), -1),
    ((0, 10, 5), (0, 0), 500),
    ((0, 10, 5), (-1, 0), 960),
    ((5, 10, 5), (4, 1), 5000),
    ((5, 10, 5), (1, 2), -1),
    ((0, 8, 4), (4, 1), 0),
    ((0, 8, 4), (4, 1), 1700),
)
FRAME = 960
"""Samples of a feature frame."""


def calls(samples: np.ndarray, size: int, tail: int) -> list[np.ndarray]:
    """A recording -> the sound of each call: whole strides, and a last one of `tail` samples.

    A recording that is shorter than two strides is one call.
    """
    stride = size * FRAME
    if len(samples) < 2 * stride:
        return [samples]
    whole = len(samples) // stride - 1
    last = stride if tail < 0 else tail
    return np.split(samples[: whole * stride + last], range(stride, (whole + 1) * stride, stride))


def worker(job: dict[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Runs under the reference's Python: what upstream's network got and said at every step of a stream."""
    import torch

    auto = upstream(job["model"])
    model = auto.model.eval()
    steps: list[dict[str, Any]] = []
    encode, decode = model.encode_chunk, model.cal_decoder_with_predictor_chunk

    def heard(speech: Any, lengths: Any, cache: Any, **options: Any) -> Any:
        # The last step may be given no sound of its own, but what it remembers.
        features = speech[0, :0] if cache["encoder"]["tail_chunk"] else speech[0].clone()
        out = encode(speech, lengths, cache=cache, **options)
        final = bool(options["is_final"])
        steps.append({"features": features, "final": final, "memory": out[0][0], "log_probs": None})
        return out

    def said(*arguments: Any, **options: Any) -> Any:
        out = decode(*arguments, **options)
        steps[-1]["log_probs"] = out[0][0]
        return out

    model.encode_chunk, model.cal_decoder_with_predictor_chunk = heard, said
    for clip in job["clips"]:
        for shape, (encoder, decoder), tail in CASES:
            steps.clear()
            cache: dict[str, Any] = {}
            texts = []
            pieces = calls(np.load(clip), shape[1], tail)
            for number, piece in enumerate(pieces):
                options = {
                    "chunk_size": list(shape),
                    "encoder_chunk_look_back": encoder,
                    "decoder_chunk_look_back": decoder,
                    "is_final": number == len(pieces) - 1,
                }
                with torch.no_grad():
                    texts.append(auto.generate(input=piece, cache=cache, **options)[0]["text"])
            silent = torch.zeros(0, job["vocabulary"])
            logs = [silent if step["log_probs"] is None else step["log_probs"] for step in steps]
            yield (
                {
                    "features": torch.cat([step["features"] for step in steps]),
                    "rows": np.array([len(step["features"]) for step in steps]),
                    "memory": torch.cat([step["memory"] for step in steps]),
                    "log_probs": torch.cat(logs),
                    "tokens": np.array([len(one) for one in logs]),
                },
                {"texts": texts},
            )


def compare(kind: str, models: Path, size: str, clips: Sequence[Path], threads: int) -> list[Line]:
    """All clips and settings through both sides."""
    import torch

    directory = models / f"{kind}-{size}"
    torch.set_num_threads(threads)
    tokens = json.loads((directory / "tokens.json").read_text())
    network = open_network(directory, len(tokens))
    lines = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sounds = read_clips(clips, folder)
        job = {
            "model": str(directory),
            "clips": sounds,
            "threads": threads,
            "vocabulary": len(tokens),
        }
        answers = ask_reference("parity_streaming:worker", job, folder)
        for clip, sound in zip(clips, sounds, strict=True):
            for shape, back, tail in CASES:
                arrays, theirs = next(answers)
                own = walk(network, arrays, shape, back)
                texts = streamed_texts(directory, calls(np.load(sound), shape[1], tail), shape, back)
                lines.append(
                    Line(
                        model=directory.name,
                        given=f"{clip.stem[:16]} {list(shape)} {back} +{tail}",
                        decisions=count_equal(own["ids"], arrays["log_probs"].argmax(-1)),
                        numbers={
                            "encoder": largest(own["memory"], arrays["memory"]),
                            "log-probs": largest(own["log_probs"], arrays["log_probs"]),
                        },
                        results=same(f"{len(texts)} texts", spoken(texts), spoken(theirs["texts"])),
                    )
                )
    return lines


def open_network(directory: Path, vocabulary: int) -> Any:
    """Our network with the weights of a directory."""
    from funasr.config import load_yaml
    from funasr.models.paraformer.online import ParaformerStreaming
    from funasr.nn.packed import prepare_for_inference
    from funasr.nn.weights import load_weights, unallocated

    with unallocated():
        raw = load_yaml(directory / "config.yaml")
        network = ParaformerStreaming.from_official(raw, vocabulary, 560)
    load_weights(network, directory / "model.pt")
    return prepare_for_inference(network)


def walk(
    network: Any, arrays: dict[str, np.ndarray], shape: Sequence[int], back: Sequence[int]
) -> dict[str, np.ndarray]:
    """Our network over the features that upstream's heard, step by step."""
    from funasr.stages.protocols import Chunk, ChunkShape

    memory, log_probs, ids = [], [], []
    encode, decode = network.encoder.step, network.decoder.logits

    def heard(*arguments: Any) -> Any:
        out = encode(*arguments)
        memory.append(out[0][0].numpy())
        return out

    def said(hidden: Any) -> Any:
        out = decode(hidden)
        log_probs.append(out.log_softmax(-1).numpy())
        return out

    network.encoder.step, network.decoder.logits = heard, said
    try:
        left, size, right = shape
        state = network.initial_state(
            ChunkShape(
                left=left, size=size, right=right, encoder_look_back=back[0], decoder_look_back=back[1]
            )
        )
        pieces = np.split(arrays["features"], np.cumsum(arrays["rows"])[:-1])
        for number, features in enumerate(pieces):
            chunk = Chunk(features=features, state=state, final=number == len(pieces) - 1)
            row, state = network.step([chunk])[0]
            ids.append(row.ids)
    finally:
        del network.encoder.step, network.decoder.logits
    return {
        "memory": np.concatenate(memory),
        "log_probs": np.concatenate([*log_probs, arrays["log_probs"][:0]]),
        "ids": np.concatenate(ids),
    }


def streamed_texts(
    directory: Path, pieces: Sequence[np.ndarray], shape: Sequence[int], back: Sequence[int]
) -> list[str]:
    """What our AutoModel says at each call."""
    from funasr import AutoModel

    model = AutoModel(model=str(directory), device="cpu", disable_pbar=True)
    cache: dict[str, Any] = {}
    return [
        model.generate(
            input=piece,
            cache=cache,
            is_final=number == len(pieces) - 1,
            chunk_size=list(shape),
            encoder_chunk_look_back=back[0],
            decoder_chunk_look_back=back[1],
        )[0]["text"]
        for number, piece in enumerate(pieces)
    ]


def spoken(texts: Sequence[str]) -> list[str]:
    """Blanks apart: upstream leaves one where it loses a dangling piece of a word."""
    return [text.replace(" ", "") for text in texts]
