"""Sounds to voices as the reference hears them; voices a reader can follow to who speaks when."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from funasr.errors import InputError, OptionError
from funasr.models.campplus.network import Campplus
from funasr.nn.packed import prepare_for_inference
from funasr.result import Segment
from funasr.speakers.cluster import ClusterOptions
from funasr.speakers.thresholds import Thresholds
from funasr.stages.speaker import EnrolledVoice, Heard, SpeakerEncoder, SpeakerOptions, diarize
from tests.speakers.golden import networks, seeded


@pytest.fixture(scope="module")
def encoder() -> SpeakerEncoder:
    model = Campplus.from_official({"model_conf": seeded.CAMPPLUS})
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    model.load_state_dict({k: torch.from_numpy(np.asarray(v)) for k, v in seeded.weights(shapes).items()})
    network: Any = prepare_for_inference(model)
    return SpeakerEncoder(network)


def test_the_voices_of_whole_sounds_are_those_of_the_reference(encoder: SpeakerEncoder) -> None:
    voices = encoder.embed([seeded.sound(samples) for samples in seeded.SOUNDS])

    for voice, samples in zip(voices, seeded.SOUNDS, strict=True):
        np.testing.assert_allclose(voice, networks()[f"whole_{samples}"], atol=1e-4)


def test_the_voices_of_windows_are_those_of_the_reference(encoder: SpeakerEncoder) -> None:
    heard = encoder.listen([seeded.sound(samples) for samples in seeded.SOUNDS])

    for one, samples in zip(heard, seeded.SOUNDS, strict=True):
        np.testing.assert_allclose(one.voices, networks()[f"windows_{samples}"], atol=1e-4)


def test_utterances_listened_to_together_are_heard_as_each_alone(encoder: SpeakerEncoder) -> None:
    sounds = [seeded.sound(samples) for samples in (500, 90_000, 24_000, 0, 130_001, 24_000 * 20)]

    together = encoder.listen(sounds)

    for one, sound in zip(together, sounds, strict=True):
        [alone] = encoder.listen([sound])
        assert one.windows == alone.windows
        np.testing.assert_allclose(one.voices, alone.voices, atol=2e-5)


def test_a_model_may_say_how_long_windows_are_and_that_short_speech_repeats(encoder: SpeakerEncoder) -> None:
    told = Thresholds(window_ms=1000, shift_ms=400, repeat=True)
    other = SpeakerEncoder(encoder.network, thresholds=told)
    short = seeded.sound(12_000)

    one, two = other.listen([short, seeded.sound(24_000)])

    twice = np.concatenate([short, short])[:16_000]
    np.testing.assert_allclose(one.voices, encoder.embed([twice]), rtol=1e-4, atol=1e-4)
    assert two.windows == ((0, 1000), (400, 1400), (500, 1500))


def test_windows_are_told_in_milliseconds_from_the_beginning_of_the_speech(encoder: SpeakerEncoder) -> None:
    [short, longer, none] = encoder.listen([seeded.sound(8000), seeded.sound(40_000), seeded.sound(0)])

    assert short.windows == ((0, 500),)
    assert longer.windows == ((0, 1500), (750, 2250), (1000, 2500))
    assert none.windows == ()
    assert none.voices.shape == (0, 24)


def test_sound_too_short_for_a_voice_is_named(encoder: SpeakerEncoder) -> None:
    assert np.isfinite(encoder.embed([seeded.sound(720)])).all()
    with pytest.raises(InputError, match="44 ms of sound are too short to tell a voice"):
        encoder.embed([seeded.sound(719)])


def test_a_sound_is_like_itself_at_any_loudness(encoder: SpeakerEncoder) -> None:
    sound = seeded.sound(40_000)

    assert encoder.similarity(sound, sound) == pytest.approx(1, abs=1e-5)
    assert encoder.similarity(sound, 0.5 * sound) == pytest.approx(1, abs=1e-3)


def speech(start_ms: int, *voices: int, channel: int | None = None) -> tuple[Segment, Heard]:
    """A segment whose windows have these voices: rows of the unit matrix."""
    windows = tuple((750 * index, 750 * index + 1500) for index in range(len(voices)))
    rows: NDArray[np.float32] = 7 * np.eye(4, dtype=np.float32)[list(voices)]
    segment = Segment(start_ms=start_ms, end_ms=start_ms + windows[-1][1], channel=channel)
    return segment, Heard(windows=windows, voices=rows)


def who(*spoken: tuple[Segment, Heard], **options: Any) -> list[tuple[int, int, int | str]]:
    chosen = SpeakerOptions(**options)
    found = diarize([segment for segment, _ in spoken], [heard for _, heard in spoken], chosen)
    return [(turn.start_ms, turn.end_ms, turn.speaker) for turn in found.turns]


def test_speakers_are_numbered_as_they_are_first_heard() -> None:
    found = who(speech(1000, 2, 2, 2), speech(5000, 0, 0), speech(9000, 2, 2))

    assert found == [(1000, 4000, 0), (5000, 7250, 1), (9000, 11250, 0)]


def test_a_change_inside_a_segment_lies_between_its_windows() -> None:
    assert who(speech(0, 1, 1, 1, 3, 3, 3)) == [(0, 2620, 0), (2620, 5250, 1)]


def test_a_known_number_of_speakers_holds_in_a_short_recording_too() -> None:
    found = who(speech(0, 1, 1), speech(3000, 2, 2), cluster=ClusterOptions(count=1))

    assert found == [(0, 2250, 0), (3000, 5250, 0)]


def test_speakers_have_the_names_of_the_voices_they_are_like() -> None:
    ann = EnrolledVoice(name="Ann", voice=(0, 0, 2, 0))
    bob = EnrolledVoice(name="Bob", voice=(0, 0, 0, 1))

    found = who(speech(0, 1, 1), speech(3000, 2, 2), enrolled=(ann, bob))

    assert found == [(0, 2250, 0), (3000, 5250, "Ann")]


def test_two_groups_of_windows_that_have_one_name_are_one_speaker() -> None:
    both = EnrolledVoice(name="Ann", voice=(0, 1, 1, 0))
    spoken = [speech(0, 1, 1), speech(3000, 0, 0), speech(6000, 2, 2)]
    chosen = SpeakerOptions(enrolled=(both,), enrolled_thr=0.5)

    found = diarize([segment for segment, _ in spoken], [heard for _, heard in spoken], chosen)

    assert [turn.speaker for turn in found.turns] == ["Ann", 1, "Ann"]
    np.testing.assert_allclose(found.centres, [[0, 3.5, 3.5, 0], [7, 0, 0, 0]])


def test_channels_are_compared_but_their_turns_are_their_own() -> None:
    spoken = [speech(0, 1, 1, channel=0), speech(0, 2, 2, channel=1), speech(4000, 1, 1, channel=1)]

    found = diarize([segment for segment, _ in spoken], [heard for _, heard in spoken])

    assert [(turn.start_ms, turn.speaker, turn.channel) for turn in found.turns] == [
        (0, 0, 0),
        (0, 1, 1),
        (4000, 0, 1),
    ]


def test_nothing_heard_is_nobody() -> None:
    assert diarize([], []).turns == ()
    empty = Heard(windows=(), voices=np.zeros((0, 4), np.float32))
    assert diarize([Segment(start_ms=0, end_ms=0)], [empty]).turns == ()


def test_a_threshold_that_is_no_cosine_is_refused() -> None:
    with pytest.raises(OptionError, match="the threshold of enrolled voices is 31"):
        SpeakerOptions(enrolled_thr=31)
