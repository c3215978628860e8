"""What is done to sound, and that it depends on the epoch and the example alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from funasr.errors import InputError, OptionError
from funasr.features.config import FrontendConfig
from funasr.features.frontend import WavFrontend
from funasr.train import augment
from funasr.train.augment import Augmentation, Augmenter, in_room, loudness, on_telephone, with_noise
from funasr.train.speech import Recordings
from funasr.train.utterance import Utterance

RATE = 16_000


def tone(hertz: float, seconds: float = 1.0) -> np.ndarray:
    return (0.1 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * RATE)) / RATE)).astype(np.float32)


@pytest.fixture
def lists(tmp_path: Path) -> dict[str, str]:
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / "noise.wav", 0.2 * rng.standard_normal(RATE // 2), RATE)
    response = np.zeros(1600)
    response[[300, 900]] = (0.8, 0.3)
    soundfile.write(tmp_path / "room.wav", response, RATE)
    (tmp_path / "noise.scp").write_text(f"n1 {tmp_path / 'noise.wav'}\n")
    (tmp_path / "room.scp").write_text(f"{tmp_path / 'room.wav'}\n")
    return {"noise_list": str(tmp_path / "noise.scp"), "rir_list": str(tmp_path / "room.scp")}


def test_noise_is_as_many_decibels_softer_as_asked_where_there_is_sound() -> None:
    speech = np.concatenate([tone(440), np.zeros(3 * RATE, np.float32)])  # pauses count for nothing
    noise = np.random.default_rng(0).standard_normal(len(speech)).astype(np.float32)

    added = with_noise(speech, noise, 10.0) - speech

    assert 20 * np.log10(loudness(tone(440)) / np.sqrt(np.mean(added**2))) == pytest.approx(10, abs=0.01)


def test_a_room_moves_nothing_and_makes_nothing_louder() -> None:
    clap = np.zeros(RATE, np.float32)
    clap[1000] = 0.5
    response = np.zeros(1600, np.float32)
    response[[300, 900]] = (0.8, 0.4)

    heard = in_room(clap, response)

    assert len(heard) == len(clap)
    assert np.argsort(np.abs(heard))[-2:][::-1].tolist() == [1000, 1600]
    assert loudness(in_room(tone(440), response)) == pytest.approx(loudness(tone(440)), rel=1e-3)


@pytest.mark.parametrize(("hertz", "passes"), [(60, False), (1000, True), (6000, False)])
def test_a_telephone_lets_through_what_lies_between_300_and_3400_hertz(hertz: float, passes: bool) -> None:
    share = loudness(on_telephone(tone(hertz), RATE, coarse=False)) / loudness(tone(hertz))

    assert share > 0.98 if passes else share < 0.02
    coarse = on_telephone(tone(1000), RATE, coarse=True)
    assert 1e-4 < np.abs(coarse - on_telephone(tone(1000), RATE, coarse=False)).max() < 0.005


def test_an_epoch_and_an_example_decide_and_nothing_else(lists: dict[str, str]) -> None:
    config = Augmentation(
        **lists, noise_prob=0.9, rir_prob=0.5, telephone_prob=0.5, gain_db=(-6.0, 6.0), seed=3
    )
    one, other = Augmenter(config, RATE), Augmenter(config, RATE)
    for index in range(5):
        other.apply(tone(300), 7, index)

    for index in range(4):
        np.testing.assert_array_equal(one.apply(tone(440), 1, index), other.apply(tone(440), 1, index))
    assert not np.array_equal(one.apply(tone(440), 1, 0), one.apply(tone(440), 2, 0))
    assert np.abs(one.apply(tone(440), 1, 0)).max() <= 1


def test_shares_are_those_asked_for(lists: dict[str, str]) -> None:
    never = Augmenter(Augmentation(**lists, noise_prob=0.0, rir_prob=0.0, gain_db=(0.0, 0.0)), RATE)
    assert never.config.idle
    half = Augmenter(Augmentation(noise_list=lists["noise_list"], noise_prob=0.5), RATE)

    changed = [
        not np.array_equal(half.apply(tone(440, 0.1), 0, index), tone(440, 0.1)) for index in range(200)
    ]

    assert 75 < sum(changed) < 125


def test_noises_that_were_not_heard_for_longest_are_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(augment, "SHELF_BYTES", 3000)
    lines = []
    for number in range(4):
        soundfile.write(tmp_path / f"{number}.wav", np.full(600, 0.1 * (number + 1)), RATE)
        lines.append(f"{tmp_path / f'{number}.wav'}\n")
    (tmp_path / "list.txt").write_text("".join(lines))
    shelf = augment.Shelf(str(tmp_path / "list.txt"), RATE)

    rng = np.random.default_rng(0)
    for _ in range(20):
        assert len(shelf.draw(rng)) == 600
        assert len(shelf._kept) <= 2


def test_lengths_are_those_of_the_speed_that_is_heard(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(440, 2.0), RATE)
    one = Utterance(
        key="a", source=str(tmp_path / "a.wav"), text="", frames=200, where="l", segments=((0, 900),)
    )
    frontend = WavFrontend(FrontendConfig(dither=0.0))
    recordings = Recordings([one] * 40, frontend, Augmentation(speed_perturb=(0.8, 1.0, 1.25)))

    planned = recordings.lengths(0)

    assert set(planned) == {250, 200, 160}
    for index in range(4):
        # Windows of 25 ms: two frames less than there are steps of 10 ms.
        assert abs(len(recordings.features(0, index)) - planned[index]) <= 3
    assert not np.array_equal(planned, recordings.lengths(1))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"speed_perturb": (3.0,)}, "between 0.5 and 2"),
        ({"noise_prob": 1.5}, "noise_prob is 1.5"),
        ({"noise_snr": (20.0, 5.0)}, r"noise_snr is \[20.0, 5.0\]"),
        ({"gain_db": (1.0,)}, "gain_db"),
    ],
)
def test_settings_that_mean_nothing_are_named(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        Augmentation(**wrong)  # type: ignore[arg-type]


def test_lists_without_sounds_are_told_before_anything_is_trained(tmp_path: Path) -> None:
    (tmp_path / "empty.scp").write_text("\n")
    (tmp_path / "gone.scp").write_text("n1 gone.wav\n")

    for name, said in (("empty.scp", "lists no sounds"), ("gone.scp", "'gone.wav': no such file")):
        with pytest.raises(InputError, match=said):
            Augmenter(Augmentation(noise_list=str(tmp_path / name)), RATE)
