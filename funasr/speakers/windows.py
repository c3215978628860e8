"""A stretch of speech -> the overlapping windows whose voices are compared. Pure arithmetic, in samples."""

from __future__ import annotations

WINDOW_MS = 1500
SHIFT_MS = 750


def plan_windows(
    length: int, rate: int, window_ms: int = WINDOW_MS, shift_ms: int = SHIFT_MS
) -> list[tuple[int, int]]:
    """[start, stop) of each window over `length` samples; none for no samples.

    The last window is drawn back so that it has its full length. Speech shorter than a window is one window,
    to be filled up.
    """
    size, shift = rate * window_ms // 1000, rate * shift_ms // 1000
    windows: list[tuple[int, int]] = []
    reached = 0
    for start in range(0, length, shift):
        stop = min(start + size, length)
        if stop <= reached:
            break
        windows.append((max(stop - size, 0), stop))
        reached = stop
    return windows
