"""The graphs of the Paraformers that hear whole utterances, ours and upstream's, as an `AcousticNetwork`."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from funasr.arrays import Features
from funasr.config import section
from funasr.errors import InputError, ModelFilesError
from funasr.modeldir import ModelDir
from funasr.stages.phrases import Ids, Recent, listed
from funasr.stages.protocols import AcousticRow, Hotwords
from funasr_onnx.load import Graphs
from funasr_onnx.session import OnnxSession

logger = logging.getLogger(__name__)


MOST_FRAMES = 640
"""In a call of the graph, padding included: activations of more do not stay in the cache. Processor ms an
utterance in integers at full size: 10 s 147 alone, 156 by four, 184 by eight; 1.5 s 45 alone, 19 by eight."""


def _batches(lengths: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """(B,) -> indices of the rows of each call, the shortest first; rows of no frames are in none."""
    order = np.argsort(lengths, kind="stable")
    order = order[lengths[order] > 0]
    first = 0
    for stop in range(1, len(order) + 1):
        if stop == len(order) or (stop - first + 1) * lengths[order[stop]] > MOST_FRAMES:
            yield order[first:stop]
            first = stop


TOKEN_WEIGHTS = "token_alphas"
"""Of a plain Paraformer: computed by our graphs, and not listed."""
WEIGHTS = ("us_alphas", "alphas", TOKEN_WEIGHTS)
"""Outputs that times are read from."""


class PhraseEncoder:
    """`model_eb`: hotword (N, L) -> hw_embed (L, N, D)."""

    def __init__(self, session: OnnxSession) -> None:
        self._session = session
        longest = session.input_shapes["hotword"][1]
        self._fixed = longest if isinstance(longest, int) else None
        """Of upstream's graph the length of every row, 10."""
        self._recent: Recent[NDArray[np.float32]] = Recent()

    def vectors(self, ids: Ids) -> NDArray[np.float32]:
        """N phrases -> (N, D). Only the beginning of those counts that are too long for upstream's graph."""
        return self._recent.get(ids, lambda: self._encode(ids))

    def _encode(self, ids: Ids) -> NDArray[np.float32]:
        size = self._fixed or max(map(len, ids))
        if max(map(len, ids)) > size:
            logger.warning(
                "%s reads %d tokens of a hotword; the rest of longer ones has no effect. Export the model "
                "again for one that reads them all",
                self._session.path,
                size,
            )
        table = np.zeros((len(ids), size), dtype=np.int32)
        for row, phrase in zip(table, ids, strict=True):
            row[: len(phrase)] = phrase[:size]
        hidden = self._session.run({"hotword": table}, ["hw_embed"])[0]
        ends = np.array([min(len(phrase), size) - 1 for phrase in ids])
        vectors: NDArray[np.float32] = hidden[ends, np.arange(len(ids))]
        return vectors


class OnnxParaformer:
    """`speech`, `speech_lengths` [, `bias_embed`] -> `logits`, `token_num` [, weights that fire]."""

    def __init__(self, session: OnnxSession, phrases: PhraseEncoder | None = None, *, sos: int = 1) -> None:
        """`sos`: the id that stands for "no hotword". Raises ModelFilesError for a graph of another kind."""
        self._session, self._phrases, self._sos = session, phrases, sos
        inputs, outputs = session.input_shapes, session.output_names
        if "speech" not in inputs or "token_num" not in outputs:
            raise ModelFilesError(
                f"{session.path} is no Paraformer: expected inputs speech, speech_lengths, outputs logits, "
                f"token_num; found {', '.join(inputs)} -> {', '.join(outputs)}"
            )
        self.accepts_hotwords = phrases is not None and "bias_embed" in inputs
        self.has_timestamps = "us_alphas" in outputs
        self._weights = next((name for name in WEIGHTS if name in outputs), None)
        self.can_be_timed = self._weights is not None
        """Coarse times can be had on request; upstream's graph of a plain Paraformer has none."""

    @classmethod
    def of(cls, model: ModelDir, graphs: Graphs) -> OnnxParaformer:
        """Raises ModelFilesError for a directory without the graphs, or with others."""
        session = graphs.open("model", further=[TOKEN_WEIGHTS] if model.model == "Paraformer" else ())
        phrases = PhraseEncoder(graphs.open("model_eb")) if "bias_embed" in session.input_shapes else None
        return cls(session, phrases, sos=int(section(model.config, "model_conf").get("sos", 1)))

    def infer(
        self, features: Features, lengths: NDArray[np.int64], hotwords: Hotwords | None = None
    ) -> list[AcousticRow]:
        """features (B, T, input), lengths (B,) in frames -> one row each, equal to what it gives alone.

        Rows of no frames are answered with no tokens. Raises InputError for features of another width.
        """
        width = self._session.input_shapes["speech"][2]
        if features.ndim != 3 or features.shape[2] != width or len(lengths) != len(features):
            raise InputError(
                f"features of shape {features.shape} with {len(lengths)} lengths: this network takes "
                f"(batch, frames, {width}) and one length each"
            )
        nothing = np.zeros(0, dtype=np.float32)
        rows = [
            AcousticRow(ids=np.zeros(0, dtype=np.int64), confidences=nothing, alphas=nothing) for _ in lengths
        ]
        for heard in _batches(np.asarray(lengths)):
            sizes = np.asarray(lengths)[heard].astype(np.int32)
            speech = np.ascontiguousarray(features[heard, : sizes.max()], dtype=np.float32)
            for index, row in zip(heard, self._answer(speech, sizes, hotwords), strict=True):
                rows[index] = row
        return rows

    def _answer(
        self, speech: Features, sizes: NDArray[np.int32], hotwords: Hotwords | None
    ) -> list[AcousticRow]:
        inputs = {"speech": speech, "speech_lengths": sizes}
        if self._phrases is not None:
            inputs |= self._hotword_inputs(self._phrases, len(sizes), hotwords)
        wanted = ["logits", "token_num"] if self._weights is None else ["logits", "token_num", self._weights]
        logits, counts, *weights = self._session.run(inputs, wanted)
        rate = weights[0].shape[1] // speech.shape[1] if self.has_timestamps else 1
        tail = 0 if self.has_timestamps else 1
        rows = []
        for i, (count, size) in enumerate(zip(counts.tolist(), sizes.tolist(), strict=True)):
            ids = logits[i, :count].argmax(axis=-1)
            best = np.take_along_axis(logits[i, :count], ids[:, None], axis=-1)[:, 0]
            alphas = weights[0][i, : size * rate + tail] if weights else None
            rows.append(AcousticRow(ids=ids, confidences=np.exp(best), alphas=alphas, upsample_rate=rate))
        return rows

    def _hotword_inputs(
        self, encoder: PhraseEncoder, batch: int, hotwords: Hotwords | None
    ) -> dict[str, NDArray[np.float32]]:
        ids, priors = listed(hotwords, self._sos)
        vectors = encoder.vectors(ids)
        inputs = {"bias_embed": np.broadcast_to(vectors, (batch, *vectors.shape))}
        # As torch: without hotwords a SeACo, which is what has timestamps as well, does without its branch.
        unheard = 0.0 if self.has_timestamps else 1.0
        scale = unheard if hotwords is None else hotwords.scale
        # Upstream's graphs do not take these.
        extras = {"bias_prior": [priors], "clas_scale": [scale]}
        inputs |= {
            name: np.array(value, dtype=np.float32)
            for name, value in extras.items()
            if name in self._session.optional_inputs
        }
        return inputs
