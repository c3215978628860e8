"""Typed results -> records of `generate`: upstream's keys, and those that options ask for."""

from __future__ import annotations

from typing import Any

import numpy as np

from funasr.auto.options import CallOptions
from funasr.auto.rewrite import HotwordReporter, matches, repair_rules
from funasr.result import Transcript, main_speaker
from funasr.text.sentences import make_sentences


def record_of(
    transcript: Transcript, options: CallOptions, reporter: HotwordReporter | None, *, speakers: bool
) -> dict[str, Any]:
    """`speakers`: they were told apart."""
    record = transcript.to_dict()
    if options.return_raw_text:
        record["raw_text"] = transcript.raw_text
    if options.sentence_timestamp or speakers:
        record["sentence_info"] = _sentence_info(transcript, options)
    if options.return_spk_center and transcript.speaker_centres:
        record["spk_embedding_center"] = np.array(transcript.speaker_centres, dtype=np.float32)
    if options.return_postprocess_hotword_matches and repair_rules(options):
        record["postprocess_hotword_matches"] = matches(transcript)
    if reporter is not None:
        record["hotwords"] = reporter.report(transcript)
    return record


def _sentence_info(transcript: Transcript, options: CallOptions) -> list[dict[str, Any]]:
    """One entry a sentence, or a speech segment that has words: upstream's keys, times in ms."""
    if transcript.punctuated and transcript.timed and options.spk_mode == "punc_segment":
        return [
            sentence.to_dict(english=options.en_post_proc, raw_text=options.return_raw_text)
            for sentence in make_sentences(transcript)
        ]
    sentences = []
    for segment in transcript.segments:
        first, stop = segment.first_token, segment.stop_token
        if first == stop:
            continue
        text = transcript.text_of(first, stop)
        sentence: dict[str, Any] = {
            "text": text,
            "sentence": text,
            "start": segment.start_ms,
            "end": segment.end_ms,
        }
        if transcript.timed:
            tokens = transcript.tokens[first:stop]
            sentence["timestamp"] = [[token.start_ms, token.end_ms] for token in tokens]
        speaker = main_speaker(transcript.tokens[first:stop])
        if speaker is not None:
            sentence["spk"] = speaker
        sentences.append(sentence)
    return sentences
