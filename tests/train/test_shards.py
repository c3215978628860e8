"""Shards hold what a list and its files do, and are told apart from what is broken."""

from __future__ import annotations

import io
import json
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from funasr.bin.data import main as data_main
from funasr.bin.train import main as train_main
from funasr.errors import InputError, MissingDependencyError
from funasr.train.check import check_manifest, manifest_paths
from funasr.train.kinds import SEGMENTS, SPEAKERS
from funasr.train.shards import expand_braces, read_lines
from funasr.train.sounds import length_of, read_sound
from tests.tiny_models import WORDS, make_paraformer, talk


def sound(seed: int, seconds: float = 0.8, kind: str = "WAV") -> bytes:
    buffer = io.BytesIO()
    samples = np.random.default_rng(seed).uniform(-0.1, 0.1, int(16_000 * seconds))
    soundfile.write(buffer, samples, 16_000, format=kind)
    return buffer.getvalue()


def make_tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def test_files_of_one_name_are_one_example(tmp_path: Path) -> None:
    tar = make_tar(
        tmp_path / "a.tar",
        {
            "part/u1.wav": sound(1),
            "part/u1.txt": b" one two \n",
            "part/u2.json": json.dumps(
                {"target": "three", "text_language": "en", "source": "old.wav"}
            ).encode(),
            "part/u2.flac": sound(2, 1.5, "FLAC"),
            "u3.json": json.dumps({"key": "own", "target": "four", "duration": 2.5}).encode(),
            "u3.wav": sound(3),
            "u4.txt": b"no sound",
        },
    )

    report = check_manifest([tar])

    assert [(one.key, one.text, one.frames) for one in report.good] == [
        ("part/u1", "one two", 80),
        ("part/u2", "three", 150),
        ("own", "four", 250),
    ]
    assert report.good[1].tags[0] == "<|en|>"
    [fault] = report.faults
    assert str(fault).startswith(f"{tar}, u4: no 'source'")
    assert length_of(report.good[1]) == 150
    heard = read_sound(report.good[0], 16_000)
    np.testing.assert_allclose(heard, soundfile.read(io.BytesIO(sound(1)), dtype="float32")[0])


def test_segments_and_speakers_are_in_shards_too(tmp_path: Path) -> None:
    tar = make_tar(
        tmp_path / "a.tar",
        {"u.wav": sound(1), "u.json": b'{"segments": [[0, 300], [400, 700]]}', "u.spk": b"ann"},
    )

    [one] = check_manifest([tar], kind=SEGMENTS).good
    assert one.segments == ((0, 300), (400, 700))
    [one] = check_manifest([tar], kind=SPEAKERS).good
    assert one.text == "ann"


def test_a_broken_shard_is_named(tmp_path: Path) -> None:
    tar = make_tar(
        tmp_path / "a.tar", {"u1.wav": sound(1), "u1.txt": b"one", "u2.wav": sound(2), "u2.txt": b"two"}
    )
    whole = tar.read_bytes()
    tar.write_bytes(whole[: len(whole) // 3])
    with pytest.raises(InputError, match=r"a\.tar is no whole \.tar"):
        check_manifest([tar])
    tar.write_bytes(b"something else" * 100)
    with pytest.raises(InputError, match=r"no whole \.tar"):
        check_manifest([tar])
    with pytest.raises(InputError, match=r"u\.json: not JSON"):
        check_manifest([make_tar(tmp_path / "b.tar", {"u.json": b"{"})])


def test_sound_that_is_no_longer_there_is_an_error_of_its_line(tmp_path: Path) -> None:
    tar = make_tar(tmp_path / "a.tar", {"u.wav": sound(1), "u.txt": b"one"})
    [one] = check_manifest([tar]).good
    tar.write_bytes(tar.read_bytes()[:5000])

    with pytest.raises(InputError, match=r"a\.tar, u: .*the shard is not whole"):
        read_sound(one, 16_000)


def test_braces_are_numbers_of_shards(tmp_path: Path) -> None:
    assert expand_braces("s-{008..010}.tar") == ["s-008.tar", "s-009.tar", "s-010.tar"]
    for number in range(2):
        make_tar(tmp_path / f"s-{number:02}.tar", {})

    found = manifest_paths(f"{tmp_path}/s-{{00..01}}.tar")

    assert [path.name for path in found] == ["s-00.tar", "s-01.tar"]
    (tmp_path / "list.txt").write_text(f"{tmp_path}/s-{{00..02}}.tar\n")
    with pytest.raises(InputError, match=r"s-02\.tar; no such file"):
        manifest_paths(tmp_path / "list.txt")


def test_parquet_has_the_fields_of_a_list_as_columns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    (tmp_path / "a.wav").write_bytes(sound(1))
    rows: list[dict[str, Any]] = [
        {"key": "a", "source": str(tmp_path / "a.wav"), "source_len": 80, "target": "one"},
        {"key": "b", "source": None, "source_len": None, "target": "two"},
    ]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "list.parquet")

    report = check_manifest([tmp_path / "list.parquet"], open_sounds=True)

    assert [(one.key, one.frames) for one in report.good] == [("a", 80)]
    assert "list.parquet, row 2: no 'source'" in str(report.faults[0])
    assert data_main(["validate", str(tmp_path / "list.parquet")]) == 1
    assert "1 of 2 utterances" in capsys.readouterr().out
    (tmp_path / "bad.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"bad\.parquet is no whole \.parquet"):
        list(read_lines(tmp_path / "bad.parquet"))


def test_parquet_without_its_package_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    with pytest.raises(MissingDependencyError, match="pip install pyarrow"):
        list(read_lines(tmp_path / "list.parquet"))


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    make_paraformer(tmp_path / "model", "Paraformer")
    for shard in range(4):
        members: dict[str, bytes] = {}
        for number in range(3):
            buffer = io.BytesIO()
            soundfile.write(buffer, talk(("loud", 0.6), seed=10 * shard + number), 16_000, format="WAV")
            members[f"u{shard}{number}.wav"] = buffer.getvalue()
            members[f"u{shard}{number}.txt"] = " ".join(WORDS[number : number + 3]).encode()
        make_tar(tmp_path / f"s-{shard}.tar", members)
    return tmp_path


def train(output: str, *more: str) -> int:
    return train_main(
        [
            "++model=model",
            "++train_data_set_list=s-{0..3}.tar",
            "++valid_data_set_list=s-0.tar",
            f"++output_dir={output}",
            "++device=cpu",
            "++train_conf.max_epoch=2",
            "++train_conf.save_checkpoint_interval=1",
            "++train_conf.keep_nbest_models=50",
            "++train_conf.use_tensorboard=false",
            "++dataset_conf.batch_type=example",
            "++dataset_conf.batch_size=2",
            "++dataset_conf.buffer_shards=2",
            "++scheduler_conf.warmup_steps=1",
            *more,
        ]
    )


def test_a_run_over_shards_mixes_them_and_goes_on_where_it_stopped(
    desk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import torch

    with caplog.at_level("INFO"):
        assert train("straight") == 0

    log = caplog.text
    assert "slice 1 of 2: 6 of 6 utterances can be learnt from" in log
    assert log.count("slice 0 of 2") == 2
    end = torch.load(desk / "straight" / "model.pt", weights_only=False)
    assert end["batch_total"] == 2 * 12 // 2
    # From the second batch of the second slice of the second epoch.
    middle = next(
        path
        for path in (desk / "straight").glob("model.pt.ep1.*")
        if torch.load(path, weights_only=False)["data_split_i"] == 1
    )
    (desk / "resumed").mkdir()
    (desk / "resumed" / "model.pt").write_bytes(middle.read_bytes())
    assert train("resumed", "++dataset_conf.num_workers=1") == 0
    again = torch.load(desk / "resumed" / "model.pt", weights_only=False)
    for name, value in end["state_dict"].items():
        assert torch.equal(value, again["state_dict"][name]), name
