"""The two graphs of a ParaformerStreaming, ours and upstream's, as a `StreamingAcousticNetwork`.

B streams, T frames of a window, N remembered frames, U tokens, D width, L layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from funasr.arrays import Features
from funasr.config import section
from funasr.errors import ModelFilesError
from funasr.features.positions import enter
from funasr.modeldir import ModelDir
from funasr.stages.stepping import Decoded, Encoded, History, ParaformerSteps, StepSizes
from funasr_onnx.load import Graphs
from funasr_onnx.session import OnnxSession

_KEPT = "out_past"
"""Output of ours that callers of upstream's graphs do not see."""


class OnnxParaformerStreaming(ParaformerSteps):
    """How a stream walks is stages/stepping.py; here is what onnxruntime computes in it."""

    def __init__(self, encoder: OnnxSession, decoder: OnnxSession, *, tail: float = 0.45) -> None:
        """`tail` is `predictor_conf.tail_threshold`. Raises ModelFilesError for graphs of another kind."""
        self._encoder, self._decoder = encoder, decoder
        self._caches = [name for name in decoder.input_shapes if name.startswith("in_cache_")]
        if "speech" not in encoder.input_shapes or "alphas" not in encoder.output_names or not self._caches:
            raise ModelFilesError(
                f"{encoder.path} and {decoder.path.name} are no streaming Paraformer: expected speech -> "
                f"enc, alphas and enc, acoustic_embeds, in_cache_0, ... -> logits; found "
                f"{', '.join(encoder.input_shapes)} and {', '.join(decoder.input_shapes)}"
            )
        self._after = [name.replace("in_", "out_") for name in self._caches]
        self.supports_look_back = all(_KEPT in graph.output_names for graph in self._graphs)
        self._sizes = self._read_sizes(tail)

    @classmethod
    def of(cls, model: ModelDir, graphs: Graphs) -> OnnxParaformerStreaming:
        """Raises ModelFilesError for a directory without the graphs, or with others."""
        tail = section(model.config, "predictor_conf").get("tail_threshold", 0.0)
        return cls(
            graphs.open("model", further=[_KEPT]), graphs.open("decoder", further=[_KEPT]), tail=float(tail)
        )

    def _read_sizes(self, tail: float) -> StepSizes:
        _, width, remembered = self._decoder.input_shapes[self._caches[0]]
        layers = len(self._caches)
        # Graphs that do not look back do not tell their heads, and have no history to be cut into them.
        keys, heads, decoder_heads = 0, 1, 1
        if self.supports_look_back:
            keys, heads = self._keys_and_heads(self._encoder, _whole(width))
            decoder_heads = self._keys_and_heads(self._decoder, _whole(width))[1]
        return StepSizes(
            input=_whole(self._encoder.input_shapes["speech"][2]),
            width=_whole(width),
            encoder_layers=keys // (2 * heads),
            decoder_layers=layers,
            encoder_heads=heads,
            decoder_heads=decoder_heads,
            remembered_tokens=_whole(remembered),
            tail=tail,
        )

    @staticmethod
    def _keys_and_heads(graph: OnnxSession, width: int) -> tuple[int, int]:
        """(L * 2 H, H) of a graph that looks back."""
        _, keys, _, head_width = graph.optional_inputs["past"]
        return _whole(keys), width // _whole(head_width)

    @property
    def _graphs(self) -> tuple[OnnxSession, OnnxSession]:
        return self._encoder, self._decoder

    @property
    def step_sizes(self) -> StepSizes:
        return self._sizes

    def _zeros(self, *shape: int) -> NDArray[np.float32]:
        return np.zeros(shape, dtype=np.float32)

    def _array(self, values: Any, *, single: bool = False) -> NDArray[np.float32]:
        return np.asarray(values, dtype=np.float32)

    def _join(self, arrays: Sequence[NDArray[np.float32]], axis: int) -> NDArray[np.float32]:
        return np.concatenate(arrays, axis)

    def _stack(self, arrays: Sequence[NDArray[np.float32]], axis: int) -> NDArray[np.float32]:
        return np.stack(arrays, axis)

    def _enter(self, features: Features, starts: NDArray[np.float32]) -> Features:
        return enter(features, starts, self._sizes.width**0.5)

    def _encode(self, window: Features, history: History) -> Encoded:
        lengths = np.full(len(window), window.shape[1], dtype=np.int32)
        inputs = {"speech": window, "speech_lengths": lengths}
        memory, weights, seen = self._run(self._encoder, inputs, ["enc", "alphas"], history, window.shape[1])
        return Encoded(memory, weights, seen)

    def _decode(
        self,
        embeds: NDArray[np.float32],
        counts: Sequence[int],
        memory: NDArray[np.float32],
        spoken: NDArray[np.float32],
        history: History,
    ) -> Decoded:
        if not self.supports_look_back and min(counts) < max(counts):
            return self._one_by_one(embeds, counts, memory, spoken, history)
        inputs = {
            "enc": memory,
            "enc_len": np.full(len(memory), memory.shape[1], dtype=np.int32),
            "acoustic_embeds": embeds,
            "acoustic_embeds_len": np.array(counts, dtype=np.int32),
            **dict(zip(self._caches, spoken.transpose(0, 1, 3, 2), strict=True)),
        }
        wanted = ["sample_ids", "logits", *self._after]
        ids, logits, *after, seen = self._run(self._decoder, inputs, wanted, history, memory.shape[1])
        sure = _confidences(logits)
        # Upstream's graphs hand out all that they saw.
        kept = [cache[:, :, cache.shape[2] - spoken.shape[2] :].transpose(0, 2, 1) for cache in after]
        return Decoded(
            [row[:count].copy() for row, count in zip(ids, counts, strict=True)],
            [row[:count].copy() for row, count in zip(sure, counts, strict=True)],
            np.stack(kept),
            seen,
        )

    def _one_by_one(
        self,
        embeds: NDArray[np.float32],
        counts: Sequence[int],
        memory: NDArray[np.float32],
        spoken: NDArray[np.float32],
        history: History,
    ) -> Decoded:
        """Upstream's decoder remembers the padding of rows that say less than others."""
        rows = [
            self._decode(embeds[i : i + 1, :count], [count], memory[i : i + 1], spoken[:, i : i + 1], history)
            for i, count in enumerate(counts)
        ]
        return Decoded(
            [row.ids[0] for row in rows],
            [row.confidences[0] for row in rows],
            np.concatenate([row.spoken for row in rows], axis=1),
            np.concatenate([row.seen for row in rows]),
        )

    def _run(
        self,
        graph: OnnxSession,
        inputs: dict[str, NDArray[Any]],
        outputs: list[str],
        history: History,
        size: int,
    ) -> list[NDArray[Any]]:
        """The outputs, and the keys and values of the `size` frames of the windows."""
        if not self.supports_look_back:
            batch, keys, _, width = history.past.shape
            return [*graph.run(inputs, outputs), self._zeros(batch, keys, size, width)]
        past = {"past": history.past, "past_lengths": np.array(history.sizes, dtype=np.int32)}
        return graph.run({**inputs, **past}, [*outputs, _KEPT])


def _confidences(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """(B, U, V) -> (B, U) the share of the largest in the softmax."""
    shares: NDArray[np.float32] = 1 / np.exp(logits - logits.max(-1, keepdims=True)).sum(-1)
    return shares


def _whole(size: int | str | None) -> int:
    """A size that every graph of this kind fixes."""
    if not isinstance(size, int):
        raise ModelFilesError(f"a graph of a streaming Paraformer has an axis of size {size!r}; it is fixed")
    return size
