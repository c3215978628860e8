"""Who speaks, told while the talk goes on. The voices here are directions in a plane."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
from numpy.typing import NDArray

from funasr.arrays import Samples
from funasr.errors import OptionError
from funasr.stages.live_speaker import LiveSpeakerOptions, LiveSpeakers
from funasr.stages.speaker import EnrolledVoice, SpeakerEncoder


class Compass:
    """The voice of a sound is the direction that its first sample says, in degrees / 1000."""

    shortest, rate = 400, 16000

    class network:  # noqa: N801
        size = 2

    def embed(self, utterances: list[Samples]) -> NDArray[np.float32]:
        turns = [float(samples[0]) * 1000 * math.pi / 180 for samples in utterances]
        return np.array([[5 * math.cos(turn), 5 * math.sin(turn)] for turn in turns], np.float32)


def voice(degrees: float, seconds: float = 2.0) -> Samples:
    return np.full(int(seconds * 16000), degrees / 1000, np.float32)


def speakers(**options: object) -> LiveSpeakers:
    encoder: SpeakerEncoder = Compass()  # type: ignore[assignment]
    return LiveSpeakers(encoder, LiveSpeakerOptions(**options))  # type: ignore[arg-type]


def told(one: LiveSpeakers, *sounds: Samples) -> list[int | str | None]:
    heard, names = one.nobody(), []
    for sound in sounds:
        name, heard = one.tell(sound, heard)
        names.append(name)
    return names


def test_voices_are_numbered_as_they_are_first_heard() -> None:
    assert told(speakers(), voice(0), voice(90), voice(10), voice(180), voice(85)) == [0, 1, 0, 2, 1]


def test_a_voice_is_compared_with_the_mean_of_what_was_heard_by_its_length() -> None:
    # 0 degrees for 9 s and 60 for 3: the mean direction is 13.9 degrees.
    one = speakers(same_thr=math.cos(math.radians(61)))

    assert told(one, voice(0, 9), voice(60, 3), voice(74), voice(76)) == [0, 0, 0, 0]
    assert told(one, voice(0, 9), voice(60, 3), voice(78)) == [0, 0, 1]


def test_a_number_stays_that_speakers_for_good() -> None:
    one = speakers()
    heard = one.nobody()
    _, heard = one.tell(voice(0), heard)
    for _ in range(50):
        assert one.tell(voice(90), heard)[0] == 1
        _, heard = one.tell(voice(90), heard)

    assert one.tell(voice(0), heard)[0] == 0


def test_short_speech_is_the_most_similar_speakers_and_makes_none() -> None:
    assert told(speakers(), voice(0, 0.5), voice(0), voice(90), voice(170, 0.5), voice(170)) == [
        None,
        0,
        1,
        1,
        2,
    ]


def test_too_little_sound_for_a_voice_is_nobodys() -> None:
    assert told(speakers(), voice(0), voice(0, 0.01)) == [0, None]


def test_there_are_no_more_speakers_than_allowed() -> None:
    assert told(speakers(most=2), voice(0), voice(90), voice(180), voice(-80)) == [0, 1, 1, 0]


def test_an_enrolled_voice_is_called_by_its_name() -> None:
    ann = EnrolledVoice(name="Ann", voice=(0.0, 2.0))

    assert told(speakers(enrolled=(ann,)), voice(0), voice(95), voice(5), voice(90, 0.3)) == [
        0,
        "Ann",
        0,
        "Ann",
    ]


def test_what_was_heard_is_small_does_not_change_and_can_be_pickled() -> None:
    one = speakers()
    _, first = one.tell(voice(0), one.nobody())
    before = first.sums.copy()

    _, second = one.tell(voice(10), pickle.loads(pickle.dumps(first)))

    assert first.nbytes == second.nbytes == 8
    np.testing.assert_array_equal(first.sums, before)


@pytest.mark.parametrize("options", [{"same_thr": 2}, {"enrolled_thr": "x"}, {"most": 0}])
def test_thresholds_are_cosines(options: dict[str, object]) -> None:
    with pytest.raises(OptionError, match=next(iter(options))):
        speakers(**options)
