"""SenseVoice's tags -> emoji. Goldens in tests/golden/text/rich.json are upstream's, made by make_text.py."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from funasr.utils.postprocess_utils import rich_transcription_postprocess

GOLDEN = Path(__file__).parents[1] / "golden" / "text" / "rich.json"


@pytest.mark.parametrize(
    ("tagged", "text"),
    [
        ("<|zh|><|NEUTRAL|><|Speech|><|woitn|>你好", "你好"),
        (
            "<|en|><|HAPPY|><|Speech|><|withitn|>Hello. <|en|><|HAPPY|><|BGM|><|withitn|>World.",
            "Hello.🎼World.😊",
        ),
        ("<|zh|><|SAD|><|Applause|><|woitn|>你 <|zh|><|SAD|><|Applause|><|woitn|>好", "👏你好😔"),
        ("<|zh|><|ANGRY|><|Laughter|><|withitn|>哈<|Laughter|>哈", "😀哈哈😡"),
        ("<|nospeech|><|Event_UNK|>", "❓"),
        ("<|nospeech|><|EMO_UNKNOWN|><|Event_UNK|><|woitn|>", ""),
        ("The.", ""),
        ("<|zh|><|Cough|>咳<|zh|><|Sneeze|>嚏", "🤧咳嚏"),
        ("", ""),
        ("no tags at all", "no tags at all"),
    ],
)
def test_tags_become_emoji(tagged: str, text: str) -> None:
    assert rich_transcription_postprocess(tagged) == text


def test_emoji_equal_upstreams_on_random_tags() -> None:
    assert_equals_upstream(GOLDEN)


def assert_equals_upstream(path: Path) -> None:
    cases = json.loads(path.read_text(encoding="utf-8"))
    assert len(cases) >= 400
    for tagged, text in cases:
        assert rich_transcription_postprocess(tagged) == text, tagged
