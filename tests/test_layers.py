"""Who may import whom, read from the source: the rule that docs/architecture.md draws."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

LAYERS = [
    {"errors", "values", "config", "result", "arrays", "aliases", "download", "fingerprint"},
    {"audio", "features", "text", "decode", "vad", "speakers", "hub", "modeldir", "registry"},
    {"stages", "pipeline", "register", "utils"},
    {"nn", "models", "funasr_onnx"},
    {"auto", "train", "export"},
    {"bin", "serve", "bulk"},
]
LEVEL = {part: level for level, parts in enumerate(LAYERS) for part in parts}
ARROWS = {
    ("pipeline", "stages"),
    ("models", "nn"),
    ("auto", "export"),
    ("auto", "train"),
    ("train", "export"),
}
"""Imports inside one layer that are meant; layer 0 is one room."""

BACK_ENDS = {
    "torch": {"nn", "models", "train", "export"},
    "onnxruntime": {"funasr_onnx", "export"},
}
IN_FUNCTIONS = {("auto", "torch")}
"""Allowed inside functions, so that importing the module stays cheap."""


def part_of(path: Path) -> str:
    """`funasr/nn/cif.py` -> "nn"; every file of funasr_onnx -> "funasr_onnx"; `funasr/__init__.py` -> ""."""
    names = path.relative_to(ROOT).with_suffix("").parts
    if names[0] == "funasr_onnx":
        return "funasr_onnx"
    return "" if names[1] == "__init__" else names[1]


def imports(tree: ast.Module) -> Iterator[tuple[str, int, bool]]:
    """(dotted module, line, whether it stands at module level) of every import in a file."""
    at_import = {id(node) for top in tree.body for node in _outside_functions(top)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno, id(node) in at_import) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative imports hide the layer"
            for alias in node.names:
                name = f"{node.module}.{alias.name}" if node.module == "funasr" else str(node.module)
                yield name, node.lineno, id(node) in at_import


def _outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
        for child in ast.iter_child_nodes(node):
            yield from _outside_functions(child)


def faults(path: Path, source: str) -> Iterator[str]:
    part = part_of(path)
    for name, line, at_import in imports(ast.parse(source)):
        top, _, rest = name.partition(".")
        target = top if top == "funasr_onnx" else rest.partition(".")[0]
        where = f"{path.relative_to(ROOT)}:{line}"
        if top in BACK_ENDS and part not in BACK_ENDS[top] and (at_import or (part, top) not in IN_FUNCTIONS):
            yield f"{where}: {part or 'the package'} imports {top}"
        if top not in ("funasr", "funasr_onnx") or not part or not target or target == part:
            if part == target == "models" and _family(name) not in ("", path.parent.name):
                yield f"{where}: a model folder imports another: {name}"
            continue
        if target not in LEVEL:
            continue  # a name of the package itself, such as __version__
        lower = LEVEL[target] < LEVEL[part] or LEVEL[target] == LEVEL[part] == 0
        if not lower and (part, target) not in ARROWS:
            yield f"{where}: {part} (layer {LEVEL[part]}) imports {target} (layer {LEVEL[target]})"


def _family(name: str) -> str:
    return [*name.split("."), "", "", ""][2]


def sources() -> list[Path]:
    return sorted([*(ROOT / "funasr").rglob("*.py"), *(ROOT / "funasr_onnx").rglob("*.py")])


def test_every_part_has_a_layer() -> None:
    parts = {part_of(path) for path in sources()} - {"", "bundled"}

    assert parts <= set(LEVEL), f"give {parts - set(LEVEL)} a layer here and in docs/architecture.md"


def test_imports_go_down_the_layers_only_and_back_ends_stay_in_their_rooms() -> None:
    found = [fault for path in sources() for fault in faults(path, path.read_text(encoding="utf-8"))]

    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("file", "line", "caught"),
    [
        ("funasr/text/x.py", "from funasr.audio.load import load_audio", True),
        ("funasr/text/x.py", "from funasr import audio", True),
        ("funasr/features/x.py", "def f():\n    import torch", True),
        ("funasr/auto/x.py", "import torch", True),
        ("funasr/auto/x.py", "def f():\n    import torch", False),
        ("funasr/models/paraformer/x.py", "from funasr.models.fsmn_vad.network import FsmnVad", True),
        ("funasr/models/paraformer/x.py", "from funasr.nn.cif import CifPredictor", False),
        ("funasr_onnx/x.py", "from funasr.nn.fsmn import FsmnConfig", True),
        ("funasr_onnx/x.py", "import onnxruntime\nfrom funasr.vad.options import VadOptions", False),
        ("funasr/pipeline/x.py", "from funasr.stages.vad import SpeechDetector", False),
        ("funasr/stages/x.py", "from funasr.pipeline.offline import run", True),
    ],
)
def test_the_rule_catches_what_it_should(file: str, line: str, caught: bool) -> None:
    assert bool(list(faults(ROOT / file, line))) is caught
