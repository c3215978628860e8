"""Upstream's streaming recognizer: `Paraformer(model_dir)(audio_in=chunk, param_dict={"cache": cache})`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from funasr.arrays import NO_SAMPLES, Samples
from funasr.audio.load import load_audio
from funasr.decode.greedy import kept_positions
from funasr.errors import OptionError
from funasr.features.online import OnlineState
from funasr.features.positions import enter
from funasr.stages.assembly import build_frontend, build_tokenizer
from funasr.stages.protocols import Chunk, ChunkRow, ChunkShape, chunk_sizes
from funasr.stages.stepping import ParaformerState
from funasr.values import shown
from funasr_onnx.arguments import require_memory, tell_unused
from funasr_onnx.opening import open_model
from funasr_onnx.streaming import OnnxParaformerStreaming
from funasr_onnx.utils.postprocess_utils import sentence_postprocess

_HEARD = "stream"
"""Where a caller's `cache` holds our stream."""
EXAMPLE = 'param_dict = {"cache": {}, "is_final": False}'


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Heard:
    """What one stream remembers between calls."""

    waiting: Samples
    """Less than a stride of sound."""
    frontend: OnlineState
    network: ParaformerState


class Paraformer:
    """Live streams: the caller's `cache` is the stream, so one object serves many, and many threads.

    As upstream each call is read by itself: a word that goes on in the next is in neither, or in parts. For
    more than upstream's calls there is `funasr.AutoModel(...).stream()`.
    """

    def __init__(
        self,
        model_dir: str | Path | None = None,
        batch_size: int = 1,
        chunk_size: Sequence[int] = (5, 10, 5),
        device_id: str | int = "-1",
        quantize: bool = False,
        intra_op_num_threads: int = 4,
        cache_dir: str | None = None,
        **kwargs: Any,
    ) -> None:
        """`model_dir` is a directory or a name of the hub; `quantize` takes its integer weights.

        `chunk_size`: frames of 60 ms that are heard again, new, and looked ahead at. `batch_size` and
        `cache_dir` are upstream's and change nothing here.
        """
        opened = open_model(
            model_dir,
            ("ParaformerStreaming",),
            quantize=quantize,
            device_id=device_id,
            intra_op_num_threads=intra_op_num_threads,
            batch_size=batch_size,
            unused=kwargs,
        )
        left, size, right = chunk_sizes(chunk_size)
        self._shape = ChunkShape(left=left, size=size, right=right)
        self._network = OnnxParaformerStreaming.of(opened.model, opened.graphs)
        self._frontend, self._tokenizer = build_frontend(opened.model), build_tokenizer(opened.model)
        config = self._frontend.config
        self._row = config.lfr_n * config.hop_samples

    def __call__(
        self, audio_in: NDArray[Any], param_dict: dict[str, Any] | None = None, **kwargs: Any
    ) -> list[dict[str, Any]]:
        """The next samples (N,) of a stream at the model's rate -> `[{"preds": (text, words)}]`, or `[]`.

        `param_dict["is_final"]` ends the stream; the same `param_dict["cache"]` then serves the next one.
        Without a dictionary the sound is a stream of its own. Sound waits until it fills a chunk.
        """
        tell_unused(kwargs, ("param_dict",))
        cache, last = ({}, True) if param_dict is None else _memory(param_dict)
        heard = cache.get(_HEARD) or Heard(
            waiting=NO_SAMPLES,
            frontend=self._frontend.online().state,
            network=self._network.initial_state(self._shape),
        )
        rate = self._frontend.fs
        sound = np.concatenate([heard.waiting, load_audio(audio_in, rate, source_rate=rate)])
        stride = self._shape.size * self._row
        said: list[ChunkRow] = []
        while len(sound) > stride or (len(sound) == stride and not last):
            row, heard = self._hear(heard, sound[:stride])
            said.append(row)
            sound = sound[stride:]
        if not last:
            cache[_HEARD] = replace(heard, waiting=sound.copy())
            return self._answer(said)
        end = self._end(heard, sound)
        cache.pop(_HEARD, None)
        return self._answer([*said, *end])

    def _hear(self, heard: Heard, sound: Samples) -> tuple[ChunkRow, Heard]:
        """A stride."""
        frontend = self._frontend.online(heard.frontend)
        features = frontend.accept(sound)
        [(row, state)] = self._network.step([Chunk(features=features, state=heard.network)])
        return row, replace(heard, frontend=frontend.state, network=state)

    def _end(self, heard: Heard, sound: Samples) -> list[ChunkRow]:
        """What is left at the end of a stream: a stride at most."""
        features = np.zeros((0, self._frontend.output_size), dtype=np.float32)
        if len(sound) >= self._row:
            frontend = self._frontend.online(heard.frontend)
            features = np.concatenate([frontend.accept(sound), frontend.flush()])
        elif heard.network.frames == 0:
            return []
        state, shape, count = heard.network, self._shape, len(features)
        if count + shape.right <= shape.size:
            [(row, _)] = self._network.step([Chunk(features=features, state=state, final=True)])
            return [row]
        # As upstream: a window that is filled up with zeros, and one of the frames that are left, before
        # which the last frames of all are heard again, some of them the same.
        scale = self._network.step_sizes.width**0.5
        start = np.array([state.frames + 1.0], dtype=np.float32)
        # Rows that are zero when they have been scaled and have their positions.
        nothing = np.zeros((1, shape.size - count, features.shape[1]), dtype=np.float32)
        filling = -enter(nothing, start + np.float32(count), scale)[0] / np.float32(scale)
        whole = Chunk(features=np.concatenate([features, filling]), state=state)
        [(first, between)] = self._network.step([whole])
        frames = np.concatenate([state.window, enter(features[None], start, scale)[0]])
        left = count + shape.right - shape.size
        window = np.concatenate([frames[len(frames) - shape.left :], frames[len(frames) - left :]])
        between = replace(between, window=window, frames=state.frames + count)
        [(second, _)] = self._network.step([Chunk(features=features[:0], state=between, final=True)])
        return [first, second]

    def _answer(self, said: Sequence[ChunkRow]) -> list[dict[str, Any]]:
        """What one call says; upstream's text and words are a list where they come of two windows."""
        found = []
        for row in said:
            ids = row.ids[kept_positions(row.ids)].tolist()
            if ids:
                found.append(sentence_postprocess(self._tokenizer.tokens(ids)))
        if len(found) < 2:
            return [{"preds": one} for one in found]
        texts, words = zip(*found, strict=True)
        return [{"preds": ["".join(texts), [word for some in words for word in some]]}]


def _memory(param_dict: Any) -> tuple[dict[str, Any], bool]:
    """The dictionary that holds our stream, and whether this is its end. Raises OptionError for another."""
    asked = require_memory(param_dict, EXAMPLE)
    cache = asked.get("cache")
    if not isinstance(cache, dict) or not isinstance(cache.get(_HEARD), (Heard, type(None))):
        raise OptionError(f"param_dict['cache'] is {shown(cache)}; begin every stream with {EXAMPLE}")
    return cache, bool(asked.get("is_final"))
