"""Live sound in, events out: a quick draft while somebody speaks, and a better model on what was said."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from funasr.pipeline.offline import Recognizer
from funasr.pipeline.stream import Marker, RecognitionStream, Streamer, StreamOptions, StreamState
from funasr.pipeline.utterances import Closed
from funasr.result import Token, Transcript
from funasr.stages.detector import Detector
from funasr.stages.live_speaker import LiveSpeakers
from funasr.stages.paraformer import DecodeOptions


@dataclass(frozen=True, slots=True)
class SecondPass:
    """Closes utterances with the words that another recognizer hears in the whole of them."""

    recognizer: Recognizer
    marker: Marker | None
    speakers: LiveSpeakers | None
    decode: DecodeOptions

    @property
    def keeps_words(self) -> bool:
        return False

    def initial_memory(self) -> Any:
        return self.speakers.nobody() if self.speakers else None

    def close(self, utterance: Closed, words: tuple[Token, ...], memory: Any) -> tuple[Transcript, Any]:
        [transcript] = self.recognizer.recognize([utterance.samples], self.decode)
        tokens = tuple(token.shifted(utterance.start_ms) for token in transcript.tokens)
        if self.speakers is not None:
            speaker, memory = self.speakers.tell(utterance.samples, memory)
            tokens = tuple(replace(token, speaker=speaker) for token in tokens)
        transcript = replace(transcript, tokens=tokens)
        if self.marker is not None:
            [transcript] = self.marker.mark_words([transcript])
        return transcript, memory


class TwoPassStream(RecognitionStream):
    """One live stream of an offline recognizer: every stretch of speech is recognized when it ends.

    The words of a `Final` are those that the offline pipeline finds in the same stretch of a recording, for
    the sound is cut in the same way; `marker` sets their punctuation, each utterance by itself, and
    `speakers` say whose voice it is. With a `draft` recognizer there are `Partial` events before, all of
    whose words the `Final` replaces, and never `Stable` ones. All else is as in RecognitionStream; what is
    spoken without a pause is cut at the detector's `max_single_segment_time`.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        detector: Detector,
        marker: Marker | None = None,
        speakers: LiveSpeakers | None = None,
        *,
        draft: Streamer | None = None,
        decode: DecodeOptions | None = None,
        options: StreamOptions | None = None,
        state: StreamState | None = None,
    ) -> None:
        """`state` is that of a stream of the same models and options, to go on where that one stood.

        Raises OptionError for models of different sample rates, InputError for a state of another kind.
        """
        closing = SecondPass(recognizer, marker, speakers, decode or DecodeOptions())
        self._set_up(draft, detector, closing, recognizer.rate, options, state)
