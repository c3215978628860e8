"""What a line of a manifest must have, by what is trained. Torch-free.

Sound and its text, sound and where speech is in it, sound and who speaks, or punctuated text alone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from funasr.errors import OptionError, did_you_mean
from funasr.text.tokenizer import Tokenizer
from funasr.text.words import split_words
from funasr.train.manifest import text_length
from funasr.train.utterance import TAG_FIELDS, Fault, Limits, Utterance

FRAMES_PER_TOKEN = 6
"""A recognizer that hears one frame in 60 ms writes no more than one token in each: 10 ms frames a token."""
MARKS = frozenset("，,。.？?！!、；;：:…")

Draft = Callable[[Mapping[str, Any], str], "Utterance | Fault"]
Judge = Callable[[Utterance, Limits, "Tokenizer | None"], "Fault | None"]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What one sort of manifest holds."""

    name: str
    draft: Draft
    """A line's object and its place -> what it says, or what it lacks."""
    judge: Judge
    """What is wrong with it, once its length is known."""
    sound: bool = True
    """Is there sound, with a length in frames of 10 ms? If not, words are counted."""


def _speech_draft(record: Mapping[str, Any], where: str) -> Utterance | Fault:
    text = record.get("target")
    sound = _sound(record, where)
    if isinstance(sound, Fault):
        return sound
    if not isinstance(text, str):
        return Fault(where=where, kind="no 'target'", detail=_has(record))
    language, emotion, event, style = (_tag(record.get(field)) for field in TAG_FIELDS)
    return Utterance(
        key=_key(record, where),
        source=sound[0],
        text=text.strip(),
        frames=sound[1],
        where=where,
        tags=(language, emotion, event, style),
        part=sound[2],
    )


def _segments_draft(record: Mapping[str, Any], where: str) -> Utterance | Fault:
    sound = _sound(record, where)
    if isinstance(sound, Fault):
        return sound
    name = "segments" if "segments" in record else "target"
    if name not in record:
        return Fault(where=where, kind="no 'segments'", detail=_has(record))
    segments = _pairs(record[name])
    if segments is None:
        return Fault(
            where=where,
            kind=f"{name!r} is no list of [start_ms, end_ms]",
            detail=f"{record[name]!r:.60}",
        )
    return Utterance(
        key=_key(record, where),
        source=sound[0],
        text="",
        frames=sound[1],
        where=where,
        segments=segments,
        part=sound[2],
    )


def _speaker_draft(record: Mapping[str, Any], where: str) -> Utterance | Fault:
    sound = _sound(record, where)
    if isinstance(sound, Fault):
        return sound
    speaker = record.get("speaker", record.get("target"))
    if not isinstance(speaker, (str, int)) or isinstance(speaker, bool):
        return Fault(where=where, kind="no 'speaker'", detail=_has(record))
    return Utterance(
        key=_key(record, where),
        source=sound[0],
        text=str(speaker).strip(),
        frames=sound[1],
        where=where,
        part=sound[2],
    )


def _marks_draft(record: Mapping[str, Any], where: str) -> Utterance | Fault:
    text = record.get("text", record.get("target"))
    if not isinstance(text, str):
        return Fault(where=where, kind="no 'text'", detail=_has(record))
    words = sum(word not in MARKS for word in split_words(text))
    return Utterance(key=_key(record, where), source="", text=text.strip(), frames=words, where=where)


def _speech_judge(draft: Utterance, limits: Limits, tokenizer: Tokenizer | None) -> Fault | None:
    if not draft.text:
        return Fault(where=draft.where, kind="empty text", detail=draft.key)
    if broken := limits.broken_by(draft.frames, draft.text):
        detail = f"{draft.frames} frames, {text_length(draft.text)} in the text"
        return Fault(where=draft.where, kind=broken, detail=detail)
    if tokenizer is None:
        return None
    ids = tokenizer.encode(draft.text)
    if all(id_ == tokenizer.unk_id for id_ in ids):
        kind, detail = "text that the vocabulary cannot write", repr(draft.text[:60])
    elif draft.frames > 1 and len(ids) * FRAMES_PER_TOKEN > draft.frames:
        kind = "text too long for its sound"
        detail = f"{len(ids)} tokens in {draft.frames / 100:.2f} s: {draft.text!r:.60}"
    else:
        return None
    return Fault(where=draft.where, kind=kind, detail=detail)


def _segments_judge(draft: Utterance, limits: Limits, tokenizer: Tokenizer | None) -> Fault | None:
    end = 0
    for start, stop in draft.segments:
        if stop <= start:
            return Fault(
                where=draft.where, kind="segment that ends before it begins", detail=f"{start}, {stop}"
            )
        if start < end:
            return Fault(
                where=draft.where, kind="segments overlap or are not in order", detail=f"at {start} ms"
            )
        end = stop
    # The header's length is rounded down to a frame.
    if draft.frames > 1 and end > (draft.frames + 1) * 10:
        detail = f"{end} ms of {draft.frames * 10}"
        return Fault(where=draft.where, kind="segment behind the end of its sound", detail=detail)
    return _too_long(draft, limits)


def _speaker_judge(draft: Utterance, limits: Limits, tokenizer: Tokenizer | None) -> Fault | None:
    if not draft.text:
        return Fault(where=draft.where, kind="empty 'speaker'", detail=draft.key)
    return _too_long(draft, limits)


def _marks_judge(draft: Utterance, limits: Limits, tokenizer: Tokenizer | None) -> Fault | None:
    if not any(char.isalnum() for char in draft.text):
        return Fault(where=draft.where, kind="empty text", detail=draft.key)
    if not MARKS & set(draft.text):
        return Fault(where=draft.where, kind="text without marks", detail=f"{draft.text!r:.60}")
    if broken := limits.source_broken_by(draft.frames, "text", "words"):
        return Fault(where=draft.where, kind=broken, detail=f"{draft.frames} words")
    return None


def _too_long(draft: Utterance, limits: Limits) -> Fault | None:
    broken = limits.source_broken_by(draft.frames)
    if broken is None:
        return None
    return Fault(where=draft.where, kind=broken, detail=f"{draft.frames} frames")


def _sound(record: Mapping[str, Any], where: str) -> tuple[str, int, tuple[int, int] | None] | Fault:
    """Where the sound is, its length, and its part of a shard."""
    source = record.get("source")
    if not isinstance(source, str) or not source:
        return Fault(where=where, kind="no 'source'", detail=_has(record))
    frames = record.get("source_len", 1)
    # NaN and Infinity, which Python reads as JSON, are none either.
    if isinstance(frames, bool) or not isinstance(frames, (int, float)) or not 0 <= frames < math.inf:
        return Fault(where=where, kind="'source_len' is no length", detail=repr(frames))
    return source, int(frames), record.get(PART)


PART = "\0part"
"""Field of records from shards, which no file can have."""


def _key(record: Mapping[str, Any], where: str) -> str:
    return str(record.get("key") or where)


def _has(record: Mapping[str, Any]) -> str:
    return f"the line has {', '.join(name for name in record if name != PART) or 'nothing'}"


def _tag(value: Any) -> str | None:
    """`en` and `<|en|>` are the same."""
    return f"<|{value.strip('<|> ')}|>" if isinstance(value, str) and value.strip("<|> ") else None


def _pairs(value: Any) -> tuple[tuple[int, int], ...] | None:
    """[[0, 500], ...], or the same as text, as lists of two columns have it."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return None
    if not isinstance(value, Sequence) or not all(_is_pair(one) for one in value):
        return None
    return tuple((int(start), int(end)) for start, end in value)


def _is_pair(value: Any) -> bool:
    return (
        isinstance(value, Sequence)
        and len(value) == 2
        and all(isinstance(x, (int, float)) and not isinstance(x, bool) and 0 <= x < math.inf for x in value)
    )


SPEECH = Kind(name="speech", draft=_speech_draft, judge=_speech_judge)
SEGMENTS = Kind(name="segments", draft=_segments_draft, judge=_segments_judge)
SPEAKERS = Kind(name="speakers", draft=_speaker_draft, judge=_speaker_judge)
PUNCTUATED = Kind(name="marks", draft=_marks_draft, judge=_marks_judge, sound=False)
KINDS = {kind.name: kind for kind in (SPEECH, SEGMENTS, SPEAKERS, PUNCTUATED)}

_BY_CLASS = {
    "FsmnVADStreaming": SEGMENTS,
    "FsmnVAD": SEGMENTS,
    "CAMPPlus": SPEAKERS,
    "ERes2NetV2": SPEAKERS,
    "CTTransformer": PUNCTUATED,
    "CTTransformerStreaming": PUNCTUATED,
}


def kind_for(model: str) -> Kind:
    """What the manifests of a class hold: speech and its text for all that are not named here."""
    return _BY_CLASS.get(model, SPEECH)


def kind_named(name: str) -> Kind:
    """Raises OptionError for a name that is none."""
    if name not in KINDS:
        raise OptionError(f"no manifests of {name!r}{did_you_mean(name, KINDS) or ''} ({', '.join(KINDS)})")
    return KINDS[name]
