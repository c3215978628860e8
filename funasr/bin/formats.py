"""Transcript -> text, JSON, SRT, VTT or TSV."""

from __future__ import annotations

import json
from typing import Any

from funasr.result import Transcript
from funasr.text.cues import Cue, make_cues
from funasr.text.rich import rich_transcription_postprocess

FORMATS = ("text", "json", "srt", "vtt", "tsv")
SUFFIXES = {"text": "txt"}
"""File suffix of a format where it is not the format's own name."""


def render(
    transcript: Transcript, form: str, timestamps: bool = False, about: dict[str, Any] | None = None
) -> str:
    """One transcript in one of FORMATS, without a newline at the end.

    `timestamps` puts times before each line of `text` and words with times into `json`; `about` are further
    keys of the JSON object.
    """
    if form == "text":
        if timestamps:
            return _timed_text(transcript)
        if _has_channels(transcript):
            return _channel_text(transcript)
        # Tags are for programs, which have them in the JSON.
        return rich_transcription_postprocess(transcript.text) if _has_tags(transcript) else transcript.text
    if form == "json":
        return _json(transcript, timestamps, about or {})
    if form == "tsv":
        return _table(transcript)
    return _subtitles(transcript, form)


def _has_tags(transcript: Transcript) -> bool:
    return any(segment.tags for segment in transcript.segments)


def _has_channels(transcript: Transcript) -> bool:
    return any(segment.channel is not None for segment in transcript.segments)


def _channel_text(transcript: Transcript) -> str:
    """A line a stretch of speech, with its side."""
    return "\n".join(
        f"[channel {segment.channel}] {transcript.text_of(segment.first_token, segment.stop_token)}"
        for segment in transcript.segments
        if segment.first_token < segment.stop_token
    )


def _table(transcript: Transcript) -> str:
    split = _has_channels(transcript)
    rows = [["start", "end", *(["channel"] if split else []), "text"]]
    for cue in make_cues(transcript):
        side = [str(cue.channel)] if split else []
        rows.append([_seconds(cue.start_ms), _seconds(cue.end_ms), *side, cue.text])
    return "\n".join("\t".join(row) for row in rows)


def _timed_text(transcript: Transcript) -> str:
    return "\n".join(
        f"[{_clock(cue.start_ms)} -> {_clock(cue.end_ms)}] {_speaker(cue)}{cue.text}"
        for cue in make_cues(transcript)
    )


def _json(transcript: Transcript, timestamps: bool, about: dict[str, Any]) -> str:
    item = transcript.to_dict()
    item["segments"] = [
        {"start": cue.start_ms, "end": cue.end_ms, "text": cue.text}
        | ({} if cue.channel is None else {"channel": cue.channel})
        for cue in make_cues(transcript)
    ]
    if not timestamps:
        item.pop("timestamp", None)
        item.pop("confidence", None)
    return json.dumps(item | about, ensure_ascii=False)


def _subtitles(transcript: Transcript, form: str) -> str:
    import pysubs2

    subtitles = pysubs2.SSAFile()
    for cue in make_cues(transcript):
        # pysubs2 reads {...} as styling: a full-width brace is only looked at.
        text = cue.text.replace("{", "｛").replace("}", "｝")
        subtitles.append(pysubs2.SSAEvent(start=cue.start_ms, end=cue.end_ms, text=_speaker(cue) + text))
    return subtitles.to_string(form).rstrip("\n")


def _speaker(cue: Cue) -> str:
    return "" if cue.channel is None else f"[channel {cue.channel}] "


def _clock(ms: int) -> str:
    minutes, rest = divmod(ms, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{rest / 1000:06.3f}"


def _seconds(ms: int) -> str:
    return f"{ms / 1000:.3f}"
