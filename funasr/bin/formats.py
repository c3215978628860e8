"""Transcript -> text, JSON, SRT, VTT, ASS or TSV."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any

from funasr.result import Transcript, is_cjk_char
from funasr.text.cues import CueLimits, columns, make_cues, wrapped
from funasr.text.rich import rich_transcription_postprocess

FORMATS = ("text", "json", "srt", "vtt", "ass", "tsv")
SUBTITLES = ("srt", "vtt", "ass")
SUFFIXES = {"text": "txt"}
"""File suffix of a format where it is not the format's own name."""
LINE_WIDTH = 42
"""Columns of a subtitle's line where nothing else is said, as common guides have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CueStyle:
    """How cues are cut and labelled."""

    limits: CueLimits = field(default_factory=CueLimits)
    labels: bool = True
    """Names of speakers and channels before what they say."""


def render(
    transcript: Transcript,
    form: str,
    timestamps: bool = False,
    about: dict[str, Any] | None = None,
    style: CueStyle | None = None,
) -> str:
    """One transcript in one of FORMATS, without a newline at the end.

    `timestamps` puts times before each line of `text` and words with times into `json`; `about` are further
    keys of the JSON object. Lines of subtitles are LINE_WIDTH wide unless `style` says otherwise.
    """
    style = style or CueStyle()
    if form == "text":
        if timestamps:
            return _timed_text(transcript, style)
        if _has_channels(transcript) or _has_speakers(transcript):
            return _conversation(transcript, style)
        # Tags are for programs, which have them in the JSON.
        return rich_transcription_postprocess(transcript.text) if _has_tags(transcript) else transcript.text
    if form == "json":
        return _json(transcript, timestamps, about or {}, style)
    if form == "tsv":
        return _table(transcript, style)
    return _subtitles(transcript, form, style)


def _has_tags(transcript: Transcript) -> bool:
    return any(segment.tags for segment in transcript.segments)


def _has_channels(transcript: Transcript) -> bool:
    return any(segment.channel is not None for segment in transcript.segments)


def _has_speakers(transcript: Transcript) -> bool:
    return any(token.speaker is not None for token in transcript.tokens)


def _conversation(transcript: Transcript, style: CueStyle) -> str:
    """A line each time another speaker begins, or of channels kept apart each stretch of speech."""
    lines = []
    begin = 0
    borders = {segment.first_token for segment in transcript.segments} if _has_channels(transcript) else set()
    for index in range(1, len(transcript.tokens) + 1):
        last = transcript.tokens[index - 1]
        if (
            index == len(transcript.tokens)
            or index in borders
            or transcript.tokens[index].speaker != last.speaker
        ):
            label = label_of(last.speaker, last.channel) if style.labels else ""
            lines.append(label + transcript.text_of(begin, index))
            begin = index
    return "\n".join(lines)


def _table(transcript: Transcript, style: CueStyle) -> str:
    split, told = _has_channels(transcript), _has_speakers(transcript)
    rows = [["start", "end", *(["channel"] if split else []), *(["speaker"] if told else []), "text"]]
    for cue in make_cues(transcript, style.limits):
        side = [str(cue.channel)] if split else []
        side += [str(cue.speaker)] if told else []
        rows.append([_seconds(cue.start_ms), _seconds(cue.end_ms), *side, cue.text])
    return "\n".join("\t".join(row) for row in rows)


def _timed_text(transcript: Transcript, style: CueStyle) -> str:
    return "\n".join(
        f"[{_clock(cue.start_ms)} -> {_clock(cue.end_ms)}] "
        + (label_of(cue.speaker, cue.channel) if style.labels else "")
        + cue.text
        for cue in make_cues(transcript, style.limits)
    )


def _json(transcript: Transcript, timestamps: bool, about: dict[str, Any], style: CueStyle) -> str:
    item = transcript.to_dict()
    item["segments"] = [
        {"start": cue.start_ms, "end": cue.end_ms, "text": cue.text}
        | ({} if cue.channel is None else {"channel": cue.channel})
        | ({} if cue.speaker is None else {"speaker": cue.speaker})
        for cue in make_cues(transcript, style.limits)
    ]
    if not timestamps:
        item.pop("timestamp", None)
        item.pop("confidence", None)
    return json.dumps(item | about, ensure_ascii=False)


def _subtitles(transcript: Transcript, form: str, style: CueStyle) -> str:
    import pysubs2

    width = style.limits.line_width or LINE_WIDTH
    labels = {label_of(t.speaker, t.channel) for t in transcript.tokens} if style.labels else {""}
    reserved = min(max(map(columns, labels), default=0), width // 2)
    limits = replace(style.limits, line_width=width, label_width=reserved)
    transcript = _as_read(transcript)
    subtitles = pysubs2.SSAFile()
    for cue in make_cues(transcript, limits):
        # pysubs2 reads {...} as styling: a full-width brace is only looked at.
        text = cue.text.replace("{", "｛").replace("}", "｝")
        label = label_of(cue.speaker, cue.channel) if style.labels else ""
        lines = wrapped(label + text, width).replace("\n", "\\N")
        subtitles.append(pysubs2.SSAEvent(start=cue.start_ms, end=cue.end_ms, text=lines))
    return subtitles.to_string(form).rstrip("\n")


def _as_read(transcript: Transcript) -> Transcript:
    """Chinese has no blanks, with marks or not; words of other letters keep theirs."""
    known = all(char.isascii() or is_cjk_char(char) for token in transcript.tokens for char in token.text)
    return replace(transcript, punctuated=True) if known and not transcript.verbatim else transcript


def label_of(speaker: int | str | None, channel: int | None) -> str:
    """`[channel 0] `, `[speaker 1] `, `[Ann] `, or both with a comma; nothing where neither is known."""
    parts = [] if channel is None else [f"channel {channel}"]
    if speaker is not None:
        parts.append(speaker if isinstance(speaker, str) else f"speaker {speaker}")
    return f"[{', '.join(parts)}] " if parts else ""


def _clock(ms: int) -> str:
    minutes, rest = divmod(ms, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{rest / 1000:06.3f}"


def _seconds(ms: int) -> str:
    return f"{ms / 1000:.3f}"
