"""Firing weights of a timestamp predictor -> start and end of every token, in milliseconds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from funasr.decode.cif import TIMESTAMP_THRESHOLD, integrate

FIRE_SHIFT = -1.5
"""Frames from where a weight fires to where its token begins."""
MAX_TOKEN_FRAMES = 12
EDGE_FRAMES = 5
"""More than this after the last fire is silence, half of which goes to the last token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeRule:
    """How the stretch between two fires is divided into a token and the silence after it."""

    longest_frames: int = MAX_TOKEN_FRAMES
    """A token is not longer than this; silence fills the rest up to the next one."""
    cut_last: bool = True
    """Of the last token too."""


RUNTIME_RULE = TimeRule(longest_frames=30, cut_last=False)
"""That of upstream's `funasr_onnx`."""


def token_times(
    alphas: NDArray[np.float32],
    peaks: NDArray[np.float32] | None,
    count: int,
    *,
    upsample_rate: int = 3,
    frame_ms: float = 60.0,
    offset_ms: float = 0.0,
    duration_ms: int | None = None,
    rule: TimeRule | None = None,
) -> list[tuple[int, int]]:
    """(start_ms, end_ms) of each of `count` tokens.

    alphas (R * T,): weights that sum to about count + 1: the last fire closes the last token.
    peaks (R * T,): their running sums (`cif.integrate`), computed when None. R is `upsample_rate`, and
    `frame_ms` the length of one of the T frames. `offset_ms` is added to all times.
    When the number of fires is not count + 1 the weights are scaled (on a copy) until it is.
    Times are not negative, no token ends before it begins, and with `duration_ms` none reaches beyond it.
    """
    if count == 0:
        return []
    frames = len(alphas)
    fires = _fires(integrate(alphas) if peaks is None else peaks)
    if len(fires) != count + 1:
        fires = _fires(_rescaled_peaks(alphas, count + 1))
    if len(fires) != count + 1:
        fires = _spread(fires, count + 1, frames)

    spans = _spans(fires, frames, rule or TimeRule())
    # As upstream: in seconds and float64, then cut off. Rounding would move one time in a few by 1 ms.
    seconds = frame_ms / 1000 / upsample_rate
    offset = offset_ms / 1000
    times = [(int((s * seconds + offset) * 1000), int((e * seconds + offset) * 1000)) for s, e in spans]
    return bounded(times, None if duration_ms is None else duration_ms + int(offset_ms))


def bounded(times: list[tuple[int, int]], duration_ms: int | None = None) -> list[tuple[int, int]]:
    """Times moved into [0, duration]; an end before its start becomes the start."""
    limit = float("inf") if duration_ms is None else duration_ms
    inside = [(int(min(max(start, 0), limit)), int(min(max(end, 0), limit))) for start, end in times]
    return [(start, max(start, end)) for start, end in inside]


def _fires(peaks: NDArray[np.float32]) -> NDArray[np.float64]:
    """Frames at which tokens begin (and the last one ends)."""
    fired = np.flatnonzero(np.asarray(peaks) >= np.float32(TIMESTAMP_THRESHOLD))
    return fired.astype(np.float64) + FIRE_SHIFT


def _rescaled_peaks(alphas: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Running sums of the weights scaled to sum to `count`."""
    total = np.asarray(alphas).sum(dtype=np.float64).astype(np.float32)
    if not total > 0:
        return np.zeros(len(alphas), dtype=np.float32)
    return integrate(np.asarray(alphas, dtype=np.float32) / (total / np.float32(count)))


def _spread(fires: NDArray[np.float64], count: int, frames: int) -> NDArray[np.float64]:
    """Exactly `count` fires: the first ones found, and what is missing evenly from there to the end."""
    if len(fires) >= count:
        return fires[:count]
    begin = float(fires[-1]) if len(fires) else 0.0
    missing = count - len(fires)
    steps = np.linspace(begin, max(begin, float(frames)), missing + 1)
    if len(fires):
        return np.concatenate([fires, steps[1:]])
    return np.linspace(0.0, float(frames), count)


def _spans(fires: NDArray[np.float64], frames: int, rule: TimeRule) -> list[tuple[float, float]]:
    """(start, end) in frames of the token between any two fires."""
    tokens: list[tuple[float, float]] = []
    silence_last = False
    for start, end in zip(fires[:-1].tolist(), fires[1:].tolist(), strict=True):
        last = len(tokens) == len(fires) - 2
        silence_last = end - start > rule.longest_frames and (rule.cut_last or not last)
        tokens.append((start, start + rule.longest_frames if silence_last else end))
    # The stretch that ends the sequence grows to its end, or half way when that is far: the last token, or
    # the silence after it.
    if not silence_last:
        last_fire = float(fires[-1])
        far = frames - last_fire > EDGE_FRAMES
        tokens[-1] = (tokens[-1][0], (frames + last_fire) / 2 if far else float(frames))
    return tokens
