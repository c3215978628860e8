"""What a call says about how words are written: numbers as digits, hotwords as the user spells them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from funasr.auto.options import CallOptions
from funasr.pipeline.offline import Recognizer
from funasr.result import Transcript
from funasr.stages.paraformer import ParaformerRecognizer
from funasr.text.hotwords import HotwordReport, encode_hotwords, parse_hotwords
from funasr.text.itn import NumberWriter
from funasr.text.repair import HotwordRepairer, RepairRules, hotword_report, parse_rules


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewriter:
    """The steps of one call, in order."""

    steps: tuple[Callable[[Transcript], Transcript], ...] = ()

    def rewrite(self, transcript: Transcript) -> Transcript:
        """Reads tokens; writes those that are to be written another way. Rules see the digits."""
        for step in self.steps:
            transcript = step(transcript)
        return transcript


def rewriter(options: CallOptions, *, writes_digits: bool) -> Rewriter:
    """`writes_digits`: the recognizer does that itself.

    Raises MissingDependencyError for packages that are absent, InputError for rules that cannot be read.
    """
    steps: list[Callable[[Transcript], Transcript]] = []
    if options.itn and not writes_digits:
        steps.append(NumberWriter().write)
    rules = repair_rules(options)
    if rules:
        steps.append(HotwordRepairer(rules).repair)
    return Rewriter(steps=tuple(steps))


def repair_rules(options: CallOptions) -> RepairRules:
    return parse_rules(
        options.postprocess_hotwords,
        file=options.postprocess_hotword_file,
        threshold=options.postprocess_hotword_threshold,
        fuzzy=options.postprocess_hotword_fuzzy,
    )


def matches(transcript: Transcript) -> list[dict[str, Any]]:
    """Upstream's `postprocess_hotword_matches`."""
    return [
        {
            "original": repair.original,
            "replacement": repair.replacement,
            "score": repair.score,
            "start": repair.start,
            "end": repair.end,
        }
        for repair in transcript.repairs
    ]


class HotwordReporter:
    """What became of the hotwords of a call, result by result."""

    def __init__(self, recognizer: Recognizer, options: CallOptions) -> None:
        given = options.hotword if options.hotword is not None else options.hotwords
        self.given = None if given is None else list(parse_hotwords(given))
        """Read once: what is behind a URL may take its time, and change."""
        self._encoded: tuple[HotwordReport, ...] = ()
        phrases: list[str] = []
        if self.given is not None:
            if isinstance(recognizer, ParaformerRecognizer) and recognizer.network.accepts_hotwords:
                # What cannot be spelt is told of where the hotwords are used.
                self._encoded = encode_hotwords(self.given, recognizer.tokenizer).reports
            else:
                phrases += [hotword.text for hotword in self.given]
        rules = repair_rules(options)
        self._phrases = (*phrases, *rules.targets, *filter(None, rules.explicit.values()))

    def report(self, transcript: Transcript) -> list[dict[str, Any]]:
        return hotword_report(transcript, self._phrases, self._encoded)
