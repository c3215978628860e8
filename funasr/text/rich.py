"""Text with SenseVoice's tags (`<|zh|><|HAPPY|><|Speech|><|withitn|>...`) -> plain text with emoji."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

LANGUAGES = ("zh", "en", "yue", "ja", "ko", "nospeech")

EMOTIONS: Mapping[str, str] = {
    "HAPPY": "😊",
    "SAD": "😔",
    "ANGRY": "😡",
    "NEUTRAL": "",
    "FEARFUL": "😰",
    "DISGUSTED": "🤢",
    "SURPRISED": "😮",
}
"""Tag -> emoji at the end of a segment."""

EVENTS: Mapping[str, str] = {
    "BGM": "🎼",
    "Speech": "",
    "Applause": "👏",
    "Laughter": "😀",
    "Cry": "😭",
    "Sneeze": "🤧",
    "Breath": "",
    "Cough": "🤧",
}
"""Tag -> emoji at the start of a segment; of several, those further down this table come first."""

_SILENT_TAGS = ("EMO_UNKNOWN", "Sing", "Speech_Noise", "withitn", "woitn", "GBG", "Event_UNK")
_TAG = re.compile(r"<\|(" + "|".join((*EMOTIONS, *EVENTS, *_SILENT_TAGS)) + r")\|>")
_LANGUAGE_TAG = re.compile(r"<\|(?:" + "|".join(LANGUAGES) + r")\|>")
_EVENT_EMOJIS = frozenset(EVENTS.values()) - {""}
_EMOTION_EMOJIS = frozenset(EMOTIONS.values()) - {""}


def rich_transcription_postprocess(text: str) -> str:
    """Tags become emoji: events before the words of a segment, the emotion after them.

    As upstream, "The." becomes a blank: the model writes it for noise.
    """
    text = text.replace("<|nospeech|><|Event_UNK|>", "❓")
    before, *segments = [_with_emojis(segment) for segment in _LANGUAGE_TAG.split(text)]
    joined = before
    event = ""  # of the segment before; that of the text before the first language tag does not count
    for segment in segments:
        if event and segment.startswith(event):
            segment = segment[1:].strip()
        if not segment:
            continue
        event = segment[0] if segment[0] in _EVENT_EMOJIS else ""
        if segment[-1] in _EMOTION_EMOJIS and joined.endswith(segment[-1]):
            joined = joined[:-1]
        joined += segment
    return joined.replace("The.", " ").strip()


def _with_emojis(segment: str) -> str:
    """One segment of one language: tags out, an emoji for each kind of event and for the main emotion in."""
    counts = Counter(_TAG.findall(segment))
    bare = _TAG.sub("", segment)
    # NEUTRAL wins a tie: another emotion has to be more frequent than it.
    emotion = max(EMOTIONS, key=lambda tag: (counts[tag], tag == "NEUTRAL"))
    events = "".join(emoji for tag, emoji in reversed(tuple(EVENTS.items())) if counts[tag])
    marked = events + bare + EMOTIONS[emotion]
    for emoji in _EVENT_EMOJIS | _EMOTION_EMOJIS:
        # As upstream: one blank on each side, not all.
        marked = marked.replace(" " + emoji, emoji).replace(emoji + " ", emoji)
    return marked.strip()
