"""AutoModel on tiny random models: every seam from keyword arguments to dicts, nothing to download."""

from __future__ import annotations

import io
import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from funasr import AutoFrontend, AutoModel
from funasr.errors import (
    AudioDecodeError,
    CheckpointMismatchError,
    InputError,
    ModelFilesError,
    ModelNotFoundError,
    OptionError,
)
from tests.tiny_models import make_paraformer, make_vad, talk

TWO_PHRASES = talk(("quiet", 1.0), ("loud", 2.0), ("quiet", 1.5), ("loud", 1.0), ("quiet", 1.0))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    make_paraformer(folder / "bicif", "BiCifParaformer")
    make_paraformer(folder / "plain", "Paraformer")
    make_paraformer(folder / "seaco", "SeacoParaformer")
    make_vad(folder / "vad")
    return folder


@pytest.fixture(scope="module")
def recognizer(models: Path) -> AutoModel:
    return AutoModel(model=str(models / "bicif"), vad_model=str(models / "vad"), device="cpu")


@pytest.fixture(scope="module")
def detector(models: Path) -> AutoModel:
    return AutoModel(model=str(models / "vad"), device="cpu")


def without_confidence(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in record.items() if k != "confidence"} for record in records]


def test_a_record_has_one_time_and_one_confidence_a_word_inside_the_speech(recognizer: AutoModel) -> None:
    [record] = recognizer.generate(input=TWO_PHRASES)

    words = record["text"].split()
    assert len(words) == len(record["timestamp"]) == len(record["confidence"]) > 0
    starts = [start for start, _ in record["timestamp"]]
    assert min(starts) >= 500
    assert max(end for _, end in record["timestamp"]) <= 6500
    assert all(0 < confidence <= 1 for confidence in record["confidence"])


def test_a_detector_alone_gives_segments(detector: AutoModel) -> None:
    [record] = detector.generate(input=TWO_PHRASES)

    assert record["key"] == "utt_1"
    assert len(record["value"]) == 2
    (a, b), (c, d) = record["value"]
    assert a < 1000 < 3000 < b < c < 4500 < 5500 < d


def test_streaming_detection_reports_the_same_edges_and_empties_the_cache(detector: AutoModel) -> None:
    [whole] = detector.generate(input=TWO_PHRASES)
    cache: dict[str, Any] = {}
    pairs: list[list[int]] = []
    for start in range(0, len(TWO_PHRASES), 3200):
        chunk = TWO_PHRASES[start : start + 3200]
        final = start + 3200 >= len(TWO_PHRASES)
        pairs += detector.generate(input=chunk, cache=cache, is_final=final, chunk_size=200)[0]["value"]

    starts = [start for start, _ in pairs if start >= 0]
    ends = [end for _, end in pairs if end >= 0]
    assert [list(pair) for pair in zip(starts, ends, strict=True)] == whole["value"]
    assert cache == {}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"max_end_silence_time": 300}, "max_end_silence_time is 300, and this stream began with 800"),
        ({"chunk_size": 100}, "chunk_size is 100, and this stream began with 200"),
    ],
)
def test_options_of_a_stream_stay_the_same(detector: AutoModel, changed: dict[str, Any], said: str) -> None:
    cache: dict[str, Any] = {}
    first, second = TWO_PHRASES[:3200], TWO_PHRASES[3200:6400]
    detector.generate(input=first, cache=cache, chunk_size=200)

    with pytest.raises(OptionError, match=said):
        detector.generate(input=second, cache=cache, **{"chunk_size": 200, **changed})

    assert detector.generate(input=second, cache=cache, chunk_size=200, is_final=True)
    assert detector.generate(input=first, cache=cache, **{"chunk_size": 200, **changed})


def test_a_streaming_chunk_may_be_bytes(detector: AutoModel) -> None:
    cache: dict[str, Any] = {}
    pcm = (TWO_PHRASES * 32767).astype("<i2").tobytes()

    [record] = detector.generate(input=pcm, cache=cache, is_final=True, chunk_size=200)

    assert [start for start, _ in record["value"]] == [
        start for start, _ in detector.generate(input=TWO_PHRASES)[0]["value"]
    ]


@pytest.mark.parametrize(
    "silence", [np.zeros(0, np.float32), np.zeros(100, np.float32), np.zeros(32000, np.float32), b""]
)
def test_silence_gives_an_empty_record_with_the_usual_keys(
    recognizer: AutoModel, detector: AutoModel, silence: Any
) -> None:
    assert recognizer.generate(input=silence) == [{"key": "utt_1", "text": "", "timestamp": []}]
    assert detector.generate(input=silence) == [{"key": "utt_1", "value": []}]


def test_not_a_number_is_an_ordinary_input(recognizer: AutoModel) -> None:
    [record] = recognizer.generate(input=np.full(16000, np.nan, np.float32))
    assert record["text"] == ""


def test_files_share_batches_and_give_what_they_give_alone(models: Path) -> None:
    model = AutoModel(model=str(models / "bicif"), device="cpu")
    sounds = [talk(("loud", seconds), seed=i) for i, seconds in enumerate([1.0, 3.0, 1.05, 0.2, 2.9])]

    together = model.generate(input=sounds)
    alone = [model.generate(input=sound)[0] for sound in sounds]

    for key, (a, b) in enumerate(zip(together, alone, strict=True), 1):
        assert a["key"] == f"utt_{key}"
        assert (a["text"], a["timestamp"]) == (b["text"], b["timestamp"])
        np.testing.assert_allclose(a["confidence"], b["confidence"], atol=1e-4)


def test_one_bad_file_gives_an_error_record_and_the_rest_go_on(recognizer: AutoModel, tmp_path: Path) -> None:
    good = tmp_path / "good.wav"
    soundfile.write(good, TWO_PHRASES, 16000)
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"RIFF not really")

    records = recognizer.generate(input=[str(good), str(bad), str(tmp_path / "absent.wav"), str(good)])

    assert [record["key"] for record in records] == ["good", "bad", "absent", "good_2"]
    assert ["error" in record for record in records] == [False, True, True, False]
    assert records[0]["text"] == records[3]["text"] != ""
    assert "absent.wav" in records[2]["error"]
    with pytest.raises(AudioDecodeError):
        recognizer.generate(input=[str(good), str(bad)], on_error="raise")


def test_split_channels_keep_both_sides_apart(recognizer: AutoModel) -> None:
    left = talk(("loud", 2.0), ("quiet", 4.0), seed=1)
    right = talk(("quiet", 3.5), ("loud", 2.0), ("quiet", 0.5), seed=2)

    [record] = recognizer.generate(input=np.stack([left, right]), channels="split")

    assert [segment["channel"] for segment in record["segments"]] == [0, 1]
    alone = [recognizer.generate(input=side)[0]["text"] for side in (left, right)]
    assert [segment["text"] for segment in record["segments"]] == alone


def test_eight_threads_give_what_one_gives(recognizer: AutoModel) -> None:
    sounds = [talk(("quiet", 0.5), ("loud", 1.0 + 0.3 * i), ("quiet", 1.0), seed=i) for i in range(8)]
    serial = [recognizer.generate(input=sound) for sound in sounds]
    threaded: list[Any] = [None] * len(sounds)

    def work(index: int) -> None:
        for _ in range(3):
            threaded[index] = recognizer.generate(input=sounds[index], batch_size_s=1 + index)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(sounds))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    for a, b in zip(serial, threaded, strict=True):
        assert without_confidence(a) == without_confidence(b)
        np.testing.assert_allclose(a[0]["confidence"], b[0]["confidence"], atol=1e-4)


def test_options_of_one_call_do_not_reach_the_next(detector: AutoModel) -> None:
    before = detector.generate(input=TWO_PHRASES)
    merged = detector.generate(input=TWO_PHRASES, max_end_silence_time=3000)

    assert len(merged[0]["value"]) == 1
    assert detector.generate(input=TWO_PHRASES) == before


def test_hotwords_reach_the_network(models: Path) -> None:
    model = AutoModel(model=str(models / "seaco"), device="cpu")
    sound = talk(("loud", 3.0))

    plain, biased = (model.generate(input=sound, hotword=h)[0] for h in (None, "今天 很好"))

    assert plain["timestamp"] is not None
    assert biased["confidence"] != plain["confidence"]


def test_a_model_without_hotwords_says_so(models: Path, caplog: pytest.LogCaptureFixture) -> None:
    AutoModel(model=str(models / "plain"), device="cpu").generate(input=talk(("loud", 0.5)), hotword="今天")
    assert "takes no hotwords" in caplog.text


def test_plain_paraformer_gives_times_when_asked(models: Path) -> None:
    model = AutoModel(model=str(models / "plain"), device="cpu")
    sound = talk(("loud", 2.0))

    assert "timestamp" not in model.generate(input=sound)[0]
    [record] = model.generate(input=sound, pred_timestamp=True)
    assert len(record["timestamp"]) == len(record["text"].split())


def test_features_computed_before_give_the_same_words(models: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, talk(("loud", 2.0)), 16000, subtype="FLOAT")
    model = AutoModel(model=str(models / "bicif"), device="cpu")

    [features] = AutoFrontend(model=str(models / "bicif"))(input=str(path))

    assert features["input"].shape[0] == 1
    a, b = model.generate(**features)[0], model.generate(input=str(path))[0]
    assert (a["key"], a["text"], a["timestamp"]) == (b["key"], b["text"], b["timestamp"])


def test_file_objects_and_bytes_and_list_files(recognizer: AutoModel, tmp_path: Path) -> None:
    path = tmp_path / "talk.flac"
    soundfile.write(path, TWO_PHRASES, 16000)
    (tmp_path / "wav.scp").write_text(f"first {path}\nsecond {path}\n")
    lines = [json.dumps({"key": f"j{i}", "source": str(path)}) for i in range(2)]
    (tmp_path / "data.jsonl").write_text("\n".join(lines))

    [from_path] = recognizer.generate(input=str(path))

    for source in (path.read_bytes(), io.BytesIO(path.read_bytes())):
        assert recognizer.generate(input=source)[0]["text"] == from_path["text"]
    for name, keys in (("wav.scp", ["first", "second"]), ("data.jsonl", ["j0", "j1"])):
        records = recognizer.generate(input=str(tmp_path / name))
        assert [record["key"] for record in records] == keys
        assert [record["text"] for record in records] == [from_path["text"]] * 2


def test_output_dir_has_the_whole_text_of_each_input(recognizer: AutoModel, tmp_path: Path) -> None:
    [record] = recognizer.generate(input=TWO_PHRASES, output_dir=str(tmp_path))

    text = (tmp_path / "1best_recog" / "text").read_text(encoding="utf-8")
    times = (tmp_path / "1best_recog" / "timestamp").read_text(encoding="utf-8")
    assert text == f"utt_1 {record['text']}\n"
    assert times == f"utt_1 {record['timestamp']}\n"


def test_sentences_without_punctuation_are_the_speech_segments(recognizer: AutoModel) -> None:
    [record] = recognizer.generate(input=TWO_PHRASES, sentence_timestamp=True)

    sentences = record["sentence_info"]
    assert " ".join(sentence["text"] for sentence in sentences) == record["text"]
    assert [t for sentence in sentences for t in sentence["timestamp"]] == record["timestamp"]


def test_progress_counts_inputs_and_transcribe_yields_them_one_by_one(recognizer: AutoModel) -> None:
    seen: list[tuple[int, int]] = []
    shares: list[float] = []

    results = recognizer.transcribe(
        [TWO_PHRASES, TWO_PHRASES],
        progress_callback=lambda *done: seen.append(done),
        on_progress=lambda progress: shares.append(progress.fraction),
    )

    assert [transcript.key for transcript in results] == ["utt_1", "utt_2"]
    assert seen == [(1, 2), (2, 2)]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_merged_segments_cover_the_same_speech(recognizer: AutoModel) -> None:
    [transcript] = recognizer.transcribe(TWO_PHRASES, merge_vad=True)
    assert len(transcript.segments) == 1
    assert transcript.segments[0].start_ms < 1000 < 5500 < transcript.segments[0].end_ms


def test_a_name_nobody_knows_is_answered(models: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="Did you mean 'paraformer-zh'"):
        AutoModel(model="paraformr-zh")
    with pytest.raises(OptionError, match="Did you mean 'vad_model'"):
        AutoModel(model=str(models / "bicif"), vda_model="fsmn-vad")
    with pytest.raises(OptionError, match="is no voice activity detector"):
        AutoModel(model=str(models / "bicif"), vad_model=str(models / "plain"))
    with pytest.raises(OptionError, match=r"device is 'gpu0'.*'cuda:0'"):
        AutoModel(model=str(models / "bicif"), device="gpu0")


def test_a_vad_option_given_to_a_recognizer_is_answered(models: Path) -> None:
    with pytest.raises(OptionError, match="vad_kwargs"):
        AutoModel(model=str(models / "bicif"), max_single_segment_time=30000)


def test_weights_of_another_network_are_refused(models: Path, tmp_path: Path) -> None:
    broken = make_paraformer(tmp_path / "m", "Paraformer")
    with pytest.raises(CheckpointMismatchError, match="missing"):
        AutoModel(model=str(models / "bicif"), init_param=str(broken / "model.pt"), device="cpu")
    (broken / "model.pt").write_bytes(b"\x80garbage")
    with pytest.raises(ModelFilesError):
        AutoModel(model=str(broken), device="cpu")


@pytest.mark.parametrize("size", [-5, 0, "200", True])
def test_a_chunk_size_that_is_no_time_is_refused(detector: AutoModel, size: Any) -> None:
    with pytest.raises(OptionError, match="chunk_size"):
        detector.generate(input=TWO_PHRASES, cache={}, chunk_size=size)


def test_a_detector_keeps_channels_apart(detector: AutoModel) -> None:
    sides = np.stack(
        [talk(("loud", 2.0), ("quiet", 3.0)), talk(("quiet", 2.5), ("loud", 2.0), ("quiet", 0.5))]
    )

    [record] = detector.generate(input=sides, channels="split")

    alone = [detector.generate(input=side)[0]["value"][0] for side in sides]
    assert record["value"] == alone
    assert record["channels"] == [0, 1]


def test_text_given_to_a_recognizer_is_refused(recognizer: AutoModel) -> None:
    with pytest.raises(InputError, match="takes sound"):
        recognizer.generate(input="你好", data_type="text")


def test_keys_cannot_break_the_lines_of_an_output_dir(recognizer: AutoModel, tmp_path: Path) -> None:
    recognizer.generate(input=TWO_PHRASES, key="x\ny z", output_dir=str(tmp_path))
    lines = (tmp_path / "1best_recog" / "text").read_text(encoding="utf-8").splitlines()
    assert [line.split(" ")[0] for line in lines] == ["x_y_z"]


def test_the_strength_of_a_contextual_model_is_obeyed(tmp_path: Path) -> None:
    model = AutoModel(model=str(make_paraformer(tmp_path / "m", "ContextualParaformer")), device="cpu")
    sound = talk(("loud", 2.0))
    weak, strong = (model.generate(input=sound, hotword="今天", clas_scale=s)[0] for s in (0.0, 50.0))
    assert weak != strong


@pytest.mark.parametrize("nonsense", [None, {"a": 1}])
def test_an_input_of_no_known_form_is_refused(recognizer: AutoModel, nonsense: Any) -> None:
    with pytest.raises(InputError):
        recognizer.generate(input=nonsense)


def test_an_engine_that_a_directory_has_no_graph_for_is_refused(models: Path) -> None:
    with pytest.raises(ModelFilesError, match=r"no model\.onnx\. To make it: funasr-export"):
        AutoModel(model=str(models / "bicif"), engine="onnx")
