"""Export: every model as files that another engine runs with the same results, or no file at all."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import soundfile
import torch

from funasr import AutoModel
from funasr.auto.export import INT8_NAMES, NAMES
from funasr.bin.export import main
from funasr.errors import ExportError, InputError, ModelNotFoundError, OptionError
from funasr.export import model as exporting
from funasr.export.onnx import write_graph
from funasr.export.trials import Material
from funasr.modeldir import ModelDir
from funasr.nn.graph import Graph
from tests import small_dirs
from tests.tiny_models import make_campplus, make_ct_punc, make_paraformer, make_vad, talk

MODELS: dict[str, Callable[[Path], Path]] = {
    "Paraformer": partial(make_paraformer, model="Paraformer"),
    "BiCifParaformer": make_paraformer,
    "SeacoParaformer": partial(make_paraformer, model="SeacoParaformer"),
    "ContextualParaformer": partial(make_paraformer, model="ContextualParaformer"),
    "ParaformerStreaming": partial(make_paraformer, model="ParaformerStreaming"),
    "SenseVoiceSmall": small_dirs.make_sense_voice,
    "MonotonicAligner": small_dirs.make_aligner,
    "FsmnVADStreaming": make_vad,
    "CTTransformer": make_ct_punc,
    "CTTransformerStreaming": partial(make_ct_punc, model="CTTransformerStreaming"),
    "CAMPPlus": make_campplus,
}
GRAPHS = {
    "SeacoParaformer": ["model", "model_eb"],
    "ContextualParaformer": ["model", "model_eb"],
    "ParaformerStreaming": ["decoder", "model"],
}
SOUND = talk(("quiet", 0.7), ("loud", 1.6), ("quiet", 1.2), ("loud", 1.1), ("quiet", 0.5))


@pytest.fixture(scope="module")
def paraformer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_paraformer(tmp_path_factory.mktemp("paraformer"), "Paraformer")


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "talk.wav"
    soundfile.write(path, SOUND, 16000, subtype="FLOAT")
    return path


def test_every_exported_class_is_tried_here() -> None:
    from funasr.registry import EXPORTS

    assert set(EXPORTS) - set(MODELS) <= {"ERes2NetV2"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name == "CAMPPlus" else ()) for name in MODELS]
)
def test_an_exported_directory_gives_the_results_of_torch(
    name: str, tmp_path: Path, recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made, out = MODELS[name](tmp_path / "made"), tmp_path / "out"

    status = main(
        [f"++model={made}", f"++output_dir={out}", f"++input={recording}"]
        if name not in ("CTTransformer", "CTTransformerStreaming", "MonotonicAligner")
        else [f"++model={made}", f"++output_dir={out}"]
    )

    printed = capsys.readouterr()
    assert (status, printed.err) == (0, "")
    assert printed.out.splitlines()[-1] == str(out)
    assert "largest difference to torch" in printed.out
    assert sorted(path.stem for path in out.glob("*.onnx")) == GRAPHS.get(name, ["model"])
    assert not list(out.glob("*.pt")) + list(out.glob(".*"))
    given: Any = ["a b c 好 天 x y a b c 去 来 a b"] if name.startswith("CT") else str(recording)
    if name == "MonotonicAligner":
        return  # its call is another's test; here the stage has compared both
    torch_says, onnx_says = (
        AutoModel(model=str(path), engine=engine, ncpu=1).generate(input=given)
        for path, engine in ((made, "torch"), (out, "onnx"))
    )
    assert len(torch_says) == len(onnx_says)
    for one, other in zip(torch_says, onnx_says, strict=True):
        assert one.keys() == other.keys()
        for key in one:
            if key in ("confidence", "spk_embedding"):
                np.testing.assert_allclose(_numbers(other[key]), _numbers(one[key]), atol=1e-3)
            else:
                assert str(other[key]) == str(one[key])


def _numbers(value: Any) -> np.ndarray:
    """Of a list, an array or a tensor."""
    return np.array(value.tolist() if hasattr(value, "tolist") else value)


def test_integer_weights_are_a_second_file_and_their_words_are_counted(
    paraformer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([f"++model={paraformer}", f"++output_dir={tmp_path}", "++quantize=true"]) == 0

    assert {path.name for path in tmp_path.glob("*.onnx")} == {"model.onnx", "model_quant.onnx"}
    assert "with integer weights" in capsys.readouterr().out
    kinds = {node.op_type for node in onnx.load(tmp_path / "model_quant.onnx").graph.node}
    assert "MatMulInteger" in kinds
    heard = AutoModel(model=str(tmp_path), quantize=True, ncpu=1).generate(input=SOUND)
    assert heard[0]["text"]


def test_the_method_writes_beside_the_weights(tmp_path: Path) -> None:
    folder = make_paraformer(tmp_path / "model", "Paraformer")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    assert AutoModel(model=str(folder)).export(quantize=False, device="cpu") == str(folder)

    after = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert after.pop("model.onnx")
    assert after == before


def test_a_graph_that_differs_from_the_network_is_not_kept(
    paraformer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def write_another(graph: Graph, folder: Path, **options: Any) -> Path:
        path = write_graph(graph, folder, **options)
        changed = onnx.load(path)
        bias = next(one for one in changed.graph.initializer if one.name.endswith("norm1.weight"))
        bias.raw_data = (np.frombuffer(bias.raw_data, np.float32) + np.float32(0.05)).tobytes()
        onnx.save(changed, path)
        return path

    monkeypatch.setattr(exporting, "write_graph", write_another)

    assert main([f"++model={paraformer}", f"++output_dir={tmp_path}"]) == 2

    assert list(tmp_path.iterdir()) == []
    assert "torch" in capsys.readouterr().err
    with pytest.raises(ExportError):
        AutoModel(model=str(paraformer)).export(output_dir=tmp_path)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"type": "torchscript"}, "not built"),
        ({"type": "onx"}, "must be 'onnx'"),
        ({"opset_version": 5}, "11 to 20"),
        ({"quantise": True}, "Did you mean 'quantize'"),
        ({"quantize": "yes"}, "True or False"),
        ({"input": 5}, "input is 5; it must be a recording"),
        ({"input": []}, r"input is \[\]; it must be a recording"),
        ({"output_dir": __file__}, "cannot make the folder"),
        ({"output_dir": "/proc/no/such"}, "cannot make the folder"),
    ],
)
def test_options_that_cannot_be_are_named(paraformer: Path, given: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        AutoModel(model=str(paraformer)).export(**given)


def test_a_model_without_a_graph_says_which_have_one(paraformer: Path) -> None:
    from funasr.export.onnx import network_graphs

    with pytest.raises(ModelNotFoundError, match="SeacoParaformer"):
        network_graphs(__import__("torch").nn.Linear(1, 1))


def test_too_little_sound_is_told(paraformer: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "nothing.wav", np.zeros(0), 16000)

    with pytest.raises(ExportError, match="is there enough sound"):
        AutoModel(model=str(paraformer)).export(input=str(tmp_path / "nothing.wav"), output_dir=tmp_path)


def test_the_help_has_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])

    said = capsys.readouterr().out
    assert [name for name in ("model", *NAMES, *INT8_NAMES) if f"++{name}=" not in said] == []


def test_the_command_needs_a_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["++quantize=true"]) == 2
    assert "++model" in capsys.readouterr().err


@pytest.mark.parametrize("opset", [14, 17])
def test_the_opset_is_the_one_asked_for(paraformer: Path, tmp_path: Path, opset: int) -> None:
    AutoModel(model=str(paraformer)).export(output_dir=tmp_path, opset_version=opset)

    assert [one.version for one in onnx.load(tmp_path / "model.onnx").opset_import if not one.domain] == [
        opset
    ]


def test_what_was_known_by_the_name_of_its_weights_says_its_class_without_them(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    torch.save({}, tmp_path / "model" / "pretrained_eres2netv2.ckpt")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "model.onnx").touch()

    exporting.copy_files(ModelDir.open(tmp_path / "model"), tmp_path / "out")

    assert ModelDir.open(tmp_path / "out").model == "ERes2NetV2"


def test_a_long_text_is_no_file_name(tmp_path: Path) -> None:
    texts = ["好" * 2000, "One thing. And another.", str(tmp_path / "none.wav")]

    assert Material.of(texts[:2]).texts == tuple(texts[:2])
    with pytest.raises(InputError, match="no file"):
        Material.of(texts)


def test_sound_in_which_nothing_is_said_can_be_compared(tmp_path: Path) -> None:
    folder = make_paraformer(tmp_path / "model", "SeacoParaformer")
    soundfile.write(tmp_path / "short.wav", SOUND[16000:17600], 16000, subtype="FLOAT")

    AutoModel(model=folder).export(output_dir=tmp_path / "out", input=str(tmp_path / "short.wav"))

    heard = AutoModel(model=tmp_path / "out", engine="onnx").generate(str(tmp_path / "short.wav"))
    assert heard[0]["text"] == ""
