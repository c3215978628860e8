"""Live sound in, events out: a quick draft while somebody speaks, and a better model on what was said."""

from __future__ import annotations

from funasr.pipeline.closing import Rewrite, SecondPass, Writing
from funasr.pipeline.offline import Marker, Recognizer
from funasr.pipeline.stream import RecognitionStream, Streamer
from funasr.pipeline.stream_state import StreamOptions, StreamState
from funasr.stages.detector import Detector
from funasr.stages.live_speaker import LiveSpeakers
from funasr.stages.paraformer import DecodeOptions


class TwoPassStream(RecognitionStream):
    """One live stream of an offline recognizer: every stretch of speech is recognized when it ends.

    The words of a `Final` are those that the offline pipeline finds in the same stretch of a recording, for
    the sound is cut in the same way; `marker` sets their punctuation, and
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
        rewrite: Rewrite | None = None,
        options: StreamOptions | None = None,
        state: StreamState | None = None,
    ) -> None:
        """`rewrite`: how the words of complete utterances are written in another way.

        `state` is that of a stream of the same models and options, to go on where that one stood. Raises
        OptionError for models of different sample rates, InputError for a state of another kind.
        """
        closing = SecondPass(recognizer, Writing(marker, rewrite), speakers, decode or DecodeOptions())
        self._set_up(draft, detector, closing, recognizer.rate, options, state)
