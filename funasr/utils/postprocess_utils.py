"""Upstream's import path of `rich_transcription_postprocess`."""

from __future__ import annotations

from funasr.text.rich import rich_transcription_postprocess

__all__ = ["rich_transcription_postprocess"]
