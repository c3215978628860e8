"""The names that `AutoModel.export` and `funasr-export` accept -> ONNX files on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from funasr.auto.build import open_directory
from funasr.auto.options import AutoModelOptions
from funasr.auto.output_dir import nothing_left
from funasr.auto.torch_network import has_torch, plain_network
from funasr.errors import MissingDependencyError, OptionError, did_you_mean, install_extra

if TYPE_CHECKING:
    from funasr.export.model import Exported, ExportOptions

EXPORT_COMMAND = install_extra("export")
INT8_NAMES = ("signed", "reduce_range", "lstm")
NAMES = ("type", "quantize", "opset_version", "output_dir", "input")
"""Settings of an export; all others of a command are those of the model."""
UNUSED = ("device", "fallback_num", "fallback-num", "calib_num", "verbose", "disable_update")
"""Of upstream. A graph is the same wherever it was made."""


def export(
    options: AutoModelOptions, given: Mapping[str, Any], tell: Callable[[str], None] = lambda line: None
) -> Exported:
    """`given` are the settings of the export. `tell` is called with lines about what was written.

    Raises OptionError, ExportError, MissingDependencyError, and what loading a model raises.
    """
    if not has_torch():
        raise MissingDependencyError("torch", "export", EXPORT_COMMAND)
    from funasr.export.model import export_model
    from funasr.export.trials import Material

    how = export_options(given)
    directory = open_directory(options)
    inputs = given.get("input")
    material = None
    if inputs is not None:
        material = Material.of(_paths(inputs))
    with nothing_left(how.output_dir):
        return export_model(directory, partial(plain_network, directory, options.load), how, material, tell)


def _paths(inputs: object) -> list[str | Path]:
    """One recording or several. Raises OptionError for anything else, and for none."""
    several = inputs if isinstance(inputs, (list, tuple)) else [inputs]
    if not several or not all(isinstance(one, (str, Path)) for one in several):
        raise OptionError(f"input is {inputs!r}; it must be a recording, a .txt file, or a list of these")
    return list(several)


def export_options(given: Mapping[str, Any]) -> ExportOptions:
    """Raises OptionError for a name that there is not, and for a value that cannot be."""
    from funasr.export.model import ExportOptions
    from funasr.export.quantize import Int8Options
    from funasr.values import checked

    known = (*NAMES, *INT8_NAMES, *UNUSED)
    for name in given:
        if name not in known:
            raise OptionError(f"export has no option {name!r}{did_you_mean(name, known) or '.'}")
    int8 = Int8Options(**checked(Int8Options, {name: given[name] for name in INT8_NAMES if name in given}))
    folder = given.get("output_dir")
    plain = ("type", "quantize", "opset_version")
    chosen = checked(ExportOptions, {name: given[name] for name in plain if name in given})
    return ExportOptions(output_dir=None if folder is None else Path(folder), int8=int8, **chosen)
