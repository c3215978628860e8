"""The peak of this process's memory, as far as the system tells (Linux does)."""

from __future__ import annotations

from pathlib import Path


def peak_mb() -> float | None:
    """The largest resident size since `reset_peak`."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def reset_peak() -> float | None:
    """Begin anew; returns the size now."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return None
    return peak_mb()


def resident_mb() -> float | None:
    """The size in memory now."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024
