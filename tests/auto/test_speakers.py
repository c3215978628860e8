"""AutoModel with speakers: who says which word, from keyword arguments to records and to subtitles."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from funasr import AutoModel
from funasr.bin.inference import main
from funasr.errors import InputError, OptionError
from funasr.stages.speaker import SpeakerEncoder
from tests.tiny_models import make_campplus, make_ct_punc, make_paraformer, make_vad, talk

RATE = 16000
SEED = 5
"""Of a recognizer that writes characters here, and not one long abbreviation."""


class SteadyOrBeating:
    """Tells two voices apart: one whose loudness stays, and one whose loudness beats."""

    size, feature_size, min_frames = 2, 80, 3

    def embed(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        beats = np.abs(np.diff(features.mean(axis=2), axis=1)).mean(axis=1) > 0.5
        return np.stack([~beats, beats], axis=1).astype(np.float32)


def speech(kind: str, seconds: float, seed: int) -> NDArray[np.float32]:
    noise = np.random.default_rng(seed).normal(0, 0.2, int(seconds * RATE))
    time = np.arange(len(noise)) / RATE
    beat = 1 if kind == "steady" else 10 ** (-0.9 * (1 + np.sin(2 * np.pi * 9 * time)))
    made: NDArray[np.float32] = (noise * beat).astype(np.float32)
    return made


def conversation(*kinds: str, seconds: float = 4.0, pause: float = 1.2) -> NDArray[np.float32]:
    quiet = talk(("quiet", pause))
    pieces = [piece for i, kind in enumerate(kinds) for piece in (quiet, speech(kind, seconds, i))]
    return np.concatenate([*pieces, quiet])


TALK = conversation("steady", "beating", "steady", "beating")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    make_paraformer(folder / "bicif", "BiCifParaformer", seed=SEED)
    make_paraformer(folder / "plain", "Paraformer")
    make_vad(folder / "vad")
    make_ct_punc(folder / "punc")
    make_campplus(folder / "spk")
    return folder


def built(models: Path, name: str = "bicif", **more: Any) -> AutoModel:
    model = AutoModel(
        model=str(models / name),
        vad_model=str(models / "vad"),
        spk_model=str(models / "spk"),
        device="cpu",
        disable_pbar=True,
        **more,
    )
    model._spk = type(model._spk)(**{**vars(model._spk), "encoder": SpeakerEncoder(SteadyOrBeating())})
    return model


@pytest.fixture(scope="module")
def model(models: Path) -> AutoModel:
    return built(models)


def expected_speaker(time_ms: float) -> int:
    """Turns of 4 s behind pauses of 1.2 s; the border lies in the middle of a pause."""
    return int((time_ms - 600) // 5200) % 2


def test_every_word_and_every_sentence_has_the_speaker_of_its_time(model: AutoModel) -> None:
    [transcript] = model.transcribe(TALK)
    [record] = model.generate(input=TALK)

    assert len(transcript.tokens) > 30
    for token in transcript.tokens:
        assert token.start_ms is not None
        assert token.speaker == expected_speaker(token.start_ms)
    assert [sentence["spk"] for sentence in record["sentence_info"]] == [0, 1, 0, 1]
    assert set(record["sentence_info"][0]) == {"text", "sentence", "start", "end", "timestamp", "spk"}
    assert [(turn.speaker, turn.channel) for turn in transcript.turns] == [(0, None), (1, None)] * 2


def test_sentences_of_a_punctuation_model_have_speakers_too(models: Path) -> None:
    model = built(models, punc_model=str(models / "punc"))
    [record] = model.generate(input=TALK)
    [by_segment] = model.generate(input=TALK, spk_mode="vad_segment")

    assert {"text", "start", "end", "timestamp", "spk"} == set(record["sentence_info"][0])
    words = sum(len(sentence["timestamp"]) for sentence in record["sentence_info"])
    assert words == len(record["timestamp"])
    for sentence in record["sentence_info"]:
        spoken = [expected_speaker(start) for start, _ in sentence["timestamp"]]
        assert spoken.count(sentence["spk"]) * 2 >= len(spoken)
    assert [sentence["spk"] for sentence in by_segment["sentence_info"]] == [0, 1, 0, 1]


def test_times_are_made_for_a_model_that_gives_none_by_itself(models: Path) -> None:
    model = built(models, "plain")
    [record] = model.generate(input=TALK)
    [untimed] = model.generate(input=TALK, output_timestamp=False)

    assert record["timestamp"]
    assert "timestamp" not in untimed
    for item in (record, untimed):
        assert [sentence["spk"] for sentence in item["sentence_info"]] == [0, 1, 0, 1]


def test_speakers_are_not_told_apart_when_they_are_not_asked_for(model: AutoModel) -> None:
    [record] = model.generate(input=TALK, return_spk_res=False)

    assert "sentence_info" not in record
    [transcript] = model.transcribe(TALK, return_spk_res=False)
    assert all(token.speaker is None for token in transcript.tokens)


def test_a_known_number_of_speakers_is_kept(model: AutoModel) -> None:
    [record] = model.generate(input=TALK, preset_spk_num=1)

    assert {sentence["spk"] for sentence in record["sentence_info"]} == {0}


def test_a_least_number_above_the_usual_most_is_no_contradiction(model: AutoModel) -> None:
    assert model.generate(input=TALK, min_spk_num=20)[0]["sentence_info"]


def test_centres_are_given_in_the_order_of_speakers(model: AutoModel) -> None:
    [record] = model.generate(input=TALK, return_spk_center=True)

    np.testing.assert_allclose(record["spk_embedding_center"], np.eye(2), atol=0.3)


def test_enrolled_voices_give_their_names(model: AutoModel, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "ann.wav", speech("beating", 3, 99), RATE)
    [record] = model.generate(
        input=TALK,
        speakers={"Ann": str(tmp_path / "ann.wav"), "Bob": [speech("steady", 2, 7), speech("steady", 1, 8)]},
    )

    assert [sentence["spk"] for sentence in record["sentence_info"]] == ["Bob", "Ann", "Bob", "Ann"]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"speakers": ["ann.wav"]}, OptionError, "speakers is a list; give a dict"),
        (
            {"speakers": {"Ann": "absent.wav"}},
            InputError,
            "the voice of 'Ann' cannot be learnt: .*absent.wav",
        ),
        ({"preset_spk_num": 0}, OptionError, "preset_spk_num is 0; it must be"),
        ({"preset_spk_num": 2, "min_spk_num": 3}, OptionError, "is 2 and min_spk_num 3: these exclude each"),
        ({"preset_spk_num": 5, "max_spk_num": 4}, OptionError, "is 5 and max_spk_num 4: these exclude each"),
        ({"spk_mode": "default"}, OptionError, "spk_mode is 'default'"),
        ({"preset_spk_nun": 2}, OptionError, "Did you mean 'preset_spk_num'"),
    ],
)
def test_what_cannot_be_meant_is_answered(
    model: AutoModel, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        model.generate(input=TALK, **options)


def test_options_of_speakers_need_a_speaker_model(models: Path) -> None:
    alone = AutoModel(model=str(models / "bicif"), device="cpu")

    with pytest.raises(OptionError, match="preset_spk_num needs a spk_model"):
        alone.generate(input=TALK, preset_spk_num=2)


def test_silence_has_no_speakers(model: AutoModel) -> None:
    [record] = model.generate(input=talk(("quiet", 3.0)))

    assert record["sentence_info"] == []


def test_files_are_apart_from_one_another_and_a_bad_one_costs_itself_only(model: AutoModel) -> None:
    other = conversation("beating", "beating")

    records = model.generate(input=[TALK, "absent.wav", other])

    assert [[s["spk"] for s in record["sentence_info"]] for record in records] == [[0, 1, 0, 1], [], [0, 0]]
    assert "error" in records[1]


def test_channels_share_their_speakers(model: AutoModel) -> None:
    left = conversation("steady", "beating")
    right = conversation("beating", "beating")

    [transcript] = model.transcribe(np.stack([left, right], axis=1), channels="split")

    told = {
        (token.channel, expected_speaker(token.start_ms or 0), token.speaker) for token in transcript.tokens
    }
    assert told == {(0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 1)}


def test_threads_share_a_model(model: AutoModel) -> None:
    alone = [sentence["spk"] for sentence in model.generate(input=TALK)[0]["sentence_info"]]
    found: list[Any] = [None] * 4

    def work(index: int) -> None:
        found[index] = [s["spk"] for s in model.generate(input=TALK)[0]["sentence_info"]]

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == [alone] * 4


def test_clustering_options_go_with_the_speaker_model(models: Path) -> None:
    model = built(models, spk_kwargs={"cb_kwargs": {"merge_thr": -1.0, "split_thr": -1.0}})

    [record] = model.generate(input=TALK)

    assert {sentence["spk"] for sentence in record["sentence_info"]} == {0}
    with pytest.raises(OptionError, match="Did you mean 'merge_thr'"):
        built(models, spk_kwargs={"cb_kwargs": {"merge_tr": 0.5}})


def test_features_have_no_voices(model: AutoModel) -> None:
    with pytest.raises(OptionError, match="features tell no voices apart"):
        model.generate(input=np.zeros((1, 20, 560), np.float32), input_len=[20], data_type="fbank")


def test_a_model_of_another_kind_is_no_speaker_model(models: Path) -> None:
    with pytest.raises(OptionError, match="is no speaker model; 'cam\\+\\+' is one"):
        AutoModel(model=str(models / "bicif"), spk_model=str(models / "vad"), device="cpu")
    with pytest.raises(OptionError, match="is a speaker model itself; leave vad_model out"):
        AutoModel(model=str(models / "spk"), vad_model=str(models / "vad"), device="cpu")


def test_a_speaker_model_alone_gives_a_voice_for_each_input(models: Path) -> None:
    encoder = AutoModel(model=str(models / "spk"), device="cpu")

    records = encoder.generate(
        input=[speech("steady", 2, 0), b"no sound", speech("beating", 1, 1), np.zeros(100)]
    )

    assert [set(record) for record in records] == [
        {"key", "spk_embedding"},
        {"key", "error"},
        {"key", "spk_embedding"},
        {"key", "error"},
    ]
    assert tuple(records[0]["spk_embedding"].shape) == (1, 24)
    assert "too short to tell a voice" in records[3]["error"]
    with pytest.raises(InputError):
        encoder.generate(input=np.zeros(100), on_error="raise")


def test_two_sounds_are_compared(models: Path, model: AutoModel) -> None:
    encoder = AutoModel(model=str(models / "spk"), device="cpu")
    sound, other = speech("steady", 2, 0), speech("beating", 3, 1)

    assert encoder.verify(sound, sound) == pytest.approx(1, abs=1e-5)
    one, two = (encoder.generate(input=s)[0]["spk_embedding"].numpy()[0] for s in (sound, other))
    cosine = one @ two / np.linalg.norm(one) / np.linalg.norm(two)
    assert encoder.verify(sound, other) == pytest.approx(cosine, abs=1e-5)
    assert model.verify(sound, other) == 0  # the model beside a recognizer does it too
    with pytest.raises(OptionError, match="knows no voices"):
        AutoModel(model=str(models / "bicif"), device="cpu").verify(sound, other)


@pytest.mark.parametrize("form", ["text", "srt", "tsv", "json"])
def test_the_command_labels_what_it_writes(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    soundfile.write(tmp_path / "talk.wav", TALK, RATE)
    flags = ["-m", str(models / "bicif"), "--vad-model", str(models / "vad"), "--device", "cpu"]

    assert (
        main(
            [
                str(tmp_path / "talk.wav"),
                *flags,
                "--spk-model",
                str(models / "spk"),
                "--spk-num",
                "1",
                "-f",
                form,
            ]
        )
        == 0
    )

    out = capsys.readouterr().out
    if form == "json":
        assert {segment["speaker"] for segment in json.loads(out)["segments"]} == {0}
    elif form == "tsv":
        assert out.splitlines()[0].split("\t") == ["start", "end", "speaker", "text"]
        assert {line.split("\t")[2] for line in out.splitlines()[1:]} == {"0"}
    else:
        assert "[speaker 0] " in out
        assert len(out.splitlines()) == 1 or form == "srt"


def test_the_number_of_speakers_needs_a_speaker_model(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile.write(tmp_path / "talk.wav", TALK, RATE)

    assert main([str(tmp_path / "talk.wav"), "-m", str(models / "bicif"), "--spk-num", "2"]) == 2

    assert "add --spk" in capsys.readouterr().err
