"""Settings of the front end: `frontend_conf` of an official config.yaml -> FrontendConfig."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from funasr.errors import OptionError, did_you_mean

WINDOWS = ("hamming", "hanning", "povey", "rectangular", "blackman")

LARGEST = 1024
LONGEST_WINDOW = 1 << 16
"""Of counts, and of samples. Far beyond any use; more would only fill the memory."""


@dataclass(frozen=True, kw_only=True)
class FrontendConfig:
    """`frontend_conf` of the official config.yaml, same field names and defaults.

    Raises OptionError for values that describe no filter bank.
    """

    fs: int = 16000
    """Samples per second of the sound the model was trained on."""
    window: str = "hamming"
    n_mels: int = 80
    frame_length: float = 25
    """Milliseconds under one window."""
    frame_shift: float = 10
    """Milliseconds from one window to the next."""
    dither: float = 1.0
    """Standard deviation of the noise added to every frame, in 16-bit sample units. Released models say 0.
    The noise is drawn anew from the same seed for each utterance, so results repeat."""
    lfr_m: int = 1
    """Frames stacked into one row of features."""
    lfr_n: int = 1
    """Frames from one row of features to the next."""
    cmvn_file: str | Path | None = None
    snip_edges: bool = True
    """Only windows that lie wholly inside the sound; False mirrors its ends: one frame for every shift."""
    upsacle_samples: bool = True
    """Scale [-1, 1] to 16-bit sample units first. (Spelt as in official configs.)"""

    def __post_init__(self) -> None:
        if self.window not in WINDOWS:
            raise OptionError(
                f"the front end knows no window {self.window!r}{did_you_mean(self.window, WINDOWS) or '.'} "
                f"It knows {', '.join(WINDOWS)}."
            )
        for name in ("n_mels", "lfr_m", "lfr_n"):
            if not 1 <= getattr(self, name) <= LARGEST:
                raise OptionError(f"front end {name}={getattr(self, name)!r}: expected 1 to {LARGEST}")
        if self.dither < 0:
            raise OptionError(f"front end dither={self.dither!r}: expected 0 or more")
        if not 2 <= self.window_samples <= LONGEST_WINDOW or not 1 <= self.hop_samples <= self.window_samples:
            raise OptionError(
                f"front end frame_length={self.frame_length!r}, frame_shift={self.frame_shift!r} and "
                f"fs={self.fs!r} make windows of {self.window_samples} samples every {self.hop_samples}: "
                f"expected 2 to {LONGEST_WINDOW} samples, every 1 sample or more, and no gap between windows"
            )

    @property
    def window_samples(self) -> int:
        return int(self.fs * self.frame_length * 0.001)

    @property
    def hop_samples(self) -> int:
        return int(self.fs * self.frame_shift * 0.001)
