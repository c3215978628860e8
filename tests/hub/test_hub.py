"""Names to directories, against two hubs on 127.0.0.1. Each run is a process of its own: the clients read
their environment when they are imported."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from funasr import hub
from funasr.aliases import ALIASES, BUNDLED, ONNX, find_alias
from funasr.errors import HubError, ModelNotFoundError, OptionError
from funasr.registry import MODELS
from tests.hub.servers import FakeHub, Repository, serve_hub

MS_ID = "iic/speech_fsmn_vad_zh-cn-16k-common-pytorch"
HF_ID = "funasr/fsmn-vad"
FILES = {
    "config.yaml": b"model: FsmnVADStreaming\n",
    "configuration.json": b'{"file_path_metas": {"init_param": "model.pt", "config": "config.yaml"}}',
    "model.pt": b"weights",
    "example/note.txt": b"hello",
}
NO_SOCKETS = """
import sys
def forbid(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto", "socket.gethostbyname"):
        raise RuntimeError(f"a socket was used: {event} {arguments}")
sys.addaudithook(forbid)
"""
Run = Callable[..., str]


@pytest.fixture
def ms() -> Iterator[FakeHub]:
    with serve_hub("ms") as server:
        server.repositories[MS_ID] = Repository({"master": FILES, "v2.0.4": {**FILES, "model.pt": b"older"}})
        yield server


@pytest.fixture
def hf() -> Iterator[FakeHub]:
    with serve_hub("hf") as server:
        server.repositories[HF_ID] = Repository({"main": FILES, "v1": {**FILES, "model.pt": b"older"}})
        yield server


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs lines of Python with a home of their own; what they print."""

    def start(lines: str, *servers: FakeHub, **environment: str) -> str:
        unreachable = "http://127.0.0.1:9"
        urls = {"HF_ENDPOINT": unreachable, "MODELSCOPE_ENDPOINT": unreachable}
        for server in servers:
            kind = "HF_ENDPOINT" if HF_ID in server.repositories else "MODELSCOPE_ENDPOINT"
            urls[kind] = server.url
        code = (
            "from funasr.errors import FunASRError\nfrom funasr.hub import resolve\n"
            "def show(*arguments, **options):\n"
            "    try: print(resolve(*arguments, **options))\n"
            "    except FunASRError as error: print(f'{type(error).__name__}: {error}')\n" + lines
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path / "home"), **urls, **environment},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == "", "the clients' bars and log lines stay out of the way"
        return done.stdout.strip()

    return start


def test_a_model_is_fetched_from_modelscope_once_and_then_used_without_a_socket(
    run: Run, ms: FakeHub
) -> None:
    folder = Path(run("show('fsmn-vad')", ms))

    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == set(FILES)
    assert (folder / "model.pt").read_bytes() == b"weights"
    ms.requests.clear()
    assert Path(run(NO_SOCKETS + "show('fsmn-vad')")) == folder
    assert Path(run(NO_SOCKETS + f"show('{MS_ID}', offline=True)")) == folder
    assert ms.requests == []


def test_a_model_is_fetched_from_hugging_face_once_and_then_used_without_a_socket(
    run: Run, hf: FakeHub
) -> None:
    folder = Path(run("show('fsmn-vad', hub='hf')", hf))

    assert (folder / "model.pt").read_bytes() == b"weights"
    hf.requests.clear()
    assert Path(run(NO_SOCKETS + f"show('{HF_ID}', hub='huggingface')")) == folder
    assert hf.requests == []


def test_another_revision_is_another_directory_with_its_own_content(
    run: Run, ms: FakeHub, hf: FakeHub
) -> None:
    new, old, other = run(
        "show('fsmn-vad')\nshow('fsmn-vad', revision='v2.0.4')\nshow('fsmn-vad', hub='hf', revision='v1')",
        ms,
        hf,
    ).splitlines()

    assert (Path(new) / "model.pt").read_bytes() == b"weights"
    assert (Path(old) / "model.pt").read_bytes() == b"older"
    assert (Path(other) / "model.pt").read_bytes() == b"older"
    # "master" is upstream's default and means: the newest.
    assert run(NO_SOCKETS + "show('fsmn-vad', revision='master')\nshow('fsmn-vad', revision='v2.0.4')") == (
        f"{new}\n{old}"
    )


def test_check_latest_asks_and_takes_what_changed(run: Run, ms: FakeHub, hf: FakeHub) -> None:
    show = "show('fsmn-vad'{0})\nshow('fsmn-vad', hub='hf'{0})"
    run(show.format(""), ms, hf)
    ms.repositories[MS_ID].revisions["master"] = {**FILES, "model.pt": b"improved"}
    hf.repositories[HF_ID].revisions["main"] = {**FILES, "model.pt": b"improved"}

    for folder in run(show.format(""), ms, hf).splitlines():
        assert (Path(folder) / "model.pt").read_bytes() == b"weights"
    for folder in run(show.format(", check_latest=True"), ms, hf).splitlines():
        assert (Path(folder) / "model.pt").read_bytes() == b"improved"


@pytest.mark.parametrize("variable", hub.OFFLINE_VARIABLES)
def test_offline_says_that_the_model_is_not_there_and_asks_nobody(
    run: Run, ms: FakeHub, hf: FakeHub, variable: str
) -> None:
    said = run(
        NO_SOCKETS + "show('fsmn-vad')\nshow('fsmn-vad', hub='hf')", ms, hf, **{variable: "1"}
    ).splitlines()

    assert len(said) == 2
    for line, model_id in zip(said, (MS_ID, HF_ID), strict=True):
        assert line.startswith(f"HubError: {model_id} is not on this machine")
    assert not ms.requests + hf.requests


def test_a_download_that_was_broken_off_is_finished_and_not_used(run: Run, ms: FakeHub) -> None:
    folder = Path(run("show('fsmn-vad')", ms))
    (folder / "model.pt").unlink()

    assert "only in part (no model.pt)" in run("show('fsmn-vad', offline=True)")
    assert Path(run("show('fsmn-vad')", ms)) == folder
    assert (folder / "model.pt").read_bytes() == b"weights"


def test_what_a_finished_download_has_is_read_from_configuration_json(tmp_path: Path) -> None:
    assert hub.missing_files(tmp_path) == ["any file"]
    (tmp_path / "config.yaml").touch()
    assert hub.missing_files(tmp_path) == []
    (tmp_path / "configuration.json").write_text(
        '{"file_path_metas": {"init_param": "model.pt", "config": "config.yaml", "jieba_usr_dict": "jieba",'
        ' "tokenizer_conf": {"token_list": "tokens.json", "seg_dict_file": "seg_dict"},'
        ' "frontend_conf": {"cmvn_file": "am.mvn"}}}'
    )
    (tmp_path / "am.mvn.incomplete").touch()
    assert hub.missing_files(tmp_path) == ["am.mvn", "model.pt", "tokens.json"]
    (tmp_path / "am.mvn.incomplete").rename(tmp_path / "am.mvn")
    (tmp_path / "tokens.json").touch()
    assert hub.missing_files(tmp_path) == ["model.pt"]
    (tmp_path / "model.onnx").touch()
    assert hub.missing_files(tmp_path) == [], "for onnxruntime"


@pytest.mark.parametrize(
    ("status", "said"), [(200, "no such model"), (403, "access is not granted"), (401, "asks for a login")]
)
def test_a_refusal_names_its_cause_on_both_hubs(
    run: Run, ms: FakeHub, hf: FakeHub, status: int, said: str
) -> None:
    if status != 200:
        ms.repositories["a/b"] = hf.repositories["a/b"] = Repository({"master": FILES}, status=status)

    for line in run("show('a/b')\nshow('a/b', hub='hf')", ms, hf).splitlines():
        assert line.startswith("HubError: there is no directory 'a/b' here, and cannot fetch a/b from ")
        assert said in line


def test_an_unknown_revision_is_named(run: Run, ms: FakeHub, hf: FakeHub) -> None:
    for line in run(
        "show('fsmn-vad', revision='v9')\nshow('fsmn-vad', hub='hf', revision='v9')", ms, hf
    ).splitlines():
        assert "at revision v9" in line
        assert "revision" in line.partition(": ")[2]


def test_no_network_is_named_as_such_before_a_client_begins_to_try_again_and_again(run: Run) -> None:
    *said, clients = run(
        "import sys\nshow('fsmn-vad')\nshow('fsmn-vad', hub='hf')\nprint('modelscope_hub' in sys.modules)"
    ).splitlines()

    assert len(said) == 2
    for line in said:
        assert "no connection to the hub" in line
        assert "local directory" in line
    assert clients == "False"


@pytest.mark.slow
def test_a_broken_hub_is_named_after_the_retries_of_its_client(run: Run, ms: FakeHub) -> None:
    ms.repositories[MS_ID].status = 500

    assert "an error of its own" in run("show('fsmn-vad')", ms)


def test_check_latest_without_a_network_uses_what_is_there(run: Run, ms: FakeHub) -> None:
    folder = run("show('fsmn-vad')", ms)

    said = run(
        "import logging, sys; logging.basicConfig(stream=sys.stdout, format='%(levelname)s %(message)s')\n"
        "show('fsmn-vad', check_latest=True)"
    )
    assert said.splitlines()[-1] == folder
    assert "WARNING cannot fetch" in said


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "disk is full"),
        (PermissionError(errno.EACCES, "denied"), "cannot be written"),
        (TimeoutError("timed out"), "no connection"),
        (RuntimeError("odd"), "odd"),
    ],
)
def test_a_failure_is_explained_by_what_is_underneath_it(error: Exception, said: str) -> None:
    outer = RuntimeError("the client gave up")
    outer.__cause__ = error

    explained = hub._explain(outer if said != "odd" else error, "hf")

    assert said in explained
    if said == "cannot be written":
        assert "HF_HOME" in explained


def test_models_fetched_by_older_clients_are_found_where_those_put_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path))
    for place in ("hub/iic/a", "models/iic/b", "hub/models/iic/c___5"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "config.yaml").touch()
    (tmp_path / "hub/iic/a/.mv").write_text("Revision:v2.0.4,CreatedAt:1700000000")

    assert hub.resolve("iic/a", offline=True) == tmp_path / "hub/iic/a"
    assert hub.resolve("iic/a", revision="v2.0.4", offline=True) == tmp_path / "hub/iic/a"
    assert hub.resolve("iic/b", offline=True) == tmp_path / "models/iic/b"
    assert hub.resolve("iic/c.5", offline=True) == tmp_path / "hub/models/iic/c___5"
    with pytest.raises(HubError, match="at revision v1"):
        hub.resolve("iic/a", revision="v1", offline=True)


def test_a_directory_wins_over_every_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fsmn-vad").mkdir()
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "empty"))

    with pytest.raises(HubError, match="offline"):
        hub.resolve("fsmn-vad", offline=True)  # a directory of results, not of a model
    (tmp_path / "fsmn-vad" / "config.yaml").touch()
    assert hub.resolve("fsmn-vad", offline=True) == tmp_path / "fsmn-vad"
    assert hub.resolve(tmp_path / "fsmn-vad") == tmp_path / "fsmn-vad"


def test_bundled_models_go_by_their_directory_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "BUNDLED", tmp_path)
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / "config.yaml").touch()
    (tmp_path / "samples").mkdir()

    assert hub.bundled() == {"bundled-words": tmp_path / "words"}
    assert hub.resolve("bundled-words", offline=True) == tmp_path / "words"
    assert hub.resolve("words", offline=True) == tmp_path / "words"
    with pytest.raises(ModelNotFoundError, match="Did you mean 'bundled-words'"):
        hub.resolve("bundled-word")


def test_every_bundled_model_has_a_name_for_its_task() -> None:
    named = {f"bundled-{model.directory}": model.name for model in BUNDLED}

    assert set(named) == set(hub.bundled())
    for directory, name in named.items():
        assert hub.resolve(name, offline=True) == hub.bundled()[directory]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("paraformer-hz", "Did you mean 'paraformer-zh'"),
        ("/no/such/directory", "no directory"),
        ("./none", "no directory"),
        ("a/b/c", "no directory 'a/b/c'"),
        ("", "no model"),
    ],
)
def test_a_name_nobody_knows_is_answered_without_a_network(name: str, said: str) -> None:
    with pytest.raises(ModelNotFoundError, match=said):
        hub.resolve(name)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("exp/whisprr", "no directory 'exp/whisprr'. Did you mean 'exp/whisper'?"),
        ("./exp/whisprr", "no directory './exp/whisprr'. Did you mean 'exp/whisper'?"),
        ("exp/typo", "no directory 'exp/typo'; 'exp' holds whisper. Give an existing directory or a name of"),
        ("exp/whisper/deep/er", "no directory 'exp/whisper/deep/er': there is no 'exp/whisper/deep'"),
        (
            "exp/whisper/config.yaml",
            "is a file, and a model is a directory: give the one it lies in, 'exp/wh",
        ),
        ("x" * 5000, "cannot be looked for: File name too long"),
        ("~no-such-user/exp", "cannot be looked for"),
    ],
)
def test_a_path_to_nothing_is_answered_with_what_is_near_it_and_no_hub_is_asked(
    name: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "exp" / "whisper"
    model.mkdir(parents=True)
    (model / "config.yaml").write_text("model: Paraformer\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hub, "_download", None)  # calling it would be another error

    with pytest.raises(ModelNotFoundError) as caught:
        hub.resolve(name)

    assert said in str(caught.value)


def test_an_id_of_released_models_is_asked_for_though_a_folder_is_called_like_their_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "funasr").mkdir()  # as in a clone of this repository
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FUNASR_OFFLINE", "1")

    with pytest.raises(HubError, match="offline mode"):
        hub.resolve("funasr/of-tomorrow", hub="hf")


def test_a_download_that_fails_says_first_that_there_is_no_such_directory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*arguments: object) -> Path:
        raise HubError("cannot fetch owner/name from ModelScope")

    monkeypatch.setattr(hub, "_download", fail)

    with pytest.raises(HubError, match="there is no directory 'owner/name' here, and cannot fetch owner/na"):
        hub.resolve("owner/name")


def test_an_unknown_hub_is_an_option_error() -> None:
    with pytest.raises(OptionError, match="Use 'ms' or 'hf'"):
        hub.resolve("fsmn-vad", hub="mss")


def test_the_documented_names_map_to_the_documented_ids() -> None:
    assert len(ALIASES) == 18
    assert ALIASES["paraformer-zh"].ms == (
        "iic/speech_seaco_paraformer_large_asr_nat-zh-cn-16k-common-vocab8404-pytorch"
    )
    assert ALIASES["paraformer"].hf == ALIASES["paraformer-zh"].hf == "funasr/paraformer-zh"
    assert ALIASES["cam++"].hf == "funasr/campplus"
    assert find_alias("iic/emotion2vec_plus_base") is ALIASES["emotion2vec_plus_base"]
    assert find_alias("funasr/ct-punc") is ALIASES["ct-punc"]
    assert find_alias("own/model") is None


def test_a_model_that_hugging_face_does_not_have_comes_from_modelscope(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert hub._identify("ct-punc-c", "hf") == ("ms", ALIASES["ct-punc-c"].ms)
    assert "not on Hugging Face" in caplog.text


def test_repositories_of_graphs_belong_to_known_names_and_classes() -> None:
    for name, repository in ONNX.items():
        assert name in ALIASES
        assert repository.model in MODELS
        assert repository.ms.startswith("iic/")


def test_a_model_with_a_graph_of_its_own_is_taken_before_a_repository_of_graphs(
    run: Run, ms: FakeHub
) -> None:
    graphs = ONNX["fsmn-vad"].ms
    ms.repositories[graphs] = Repository({"master": {"config.yaml": b"{}", "model.onnx": b"graph"}})

    assert graphs.partition("/")[2] in run("show('fsmn-vad', graphs=True)", ms)
    folder = Path(run("show('fsmn-vad')", ms))
    (folder / "model.onnx").write_bytes(b"exported here")
    assert Path(run(NO_SOCKETS + "show('fsmn-vad', graphs=True)")) == folder
