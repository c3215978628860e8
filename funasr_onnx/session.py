"""The one place that talks to onnxruntime: a graph file -> named arrays in, named arrays out."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from funasr.errors import ModelFilesError


class OnnxSession:
    """A loaded graph. Immutable; any number of threads may run it at once."""

    def __init__(
        self,
        path: str | Path,
        *,
        device_id: str | int = "-1",
        intra_op_num_threads: int = 4,
        further: Sequence[str] = (),
    ) -> None:
        """`device_id` "-1" is the CPU, else the number of a CUDA device.

        `further`: outputs that the file computes and does not list (`funasr.nn.graph.Graph.further`); those
        that it does not know are left out.

        Raises ModelFilesError when the file is missing or no graph. Without a CUDA build of onnxruntime a
        RuntimeWarning says so and the CPU does the work (as upstream).
        """
        import onnxruntime as ort

        self.path = Path(path)
        if not self.path.is_file():
            raise ModelFilesError(f"no ONNX graph {str(path)!r}: expected a file such as model.onnx")
        options = ort.SessionOptions()
        options.intra_op_num_threads = intra_op_num_threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        for key, value in _waiting(ort.__version__).items():
            options.add_session_config_entry(key, value)
        try:
            self._session = ort.InferenceSession(
                _with_outputs(self.path, further),
                options,
                providers=_providers(ort.get_available_providers(), str(device_id)),
            )
        except Exception as error:  # onnxruntime has a class of its own for each cause
            raise ModelFilesError(f"cannot load {self.path} as an ONNX graph: {error}") from error
        self.input_shapes: dict[str, list[int | str | None]] = {
            one.name: list(one.shape) for one in self._session.get_inputs()
        }
        """Input name -> shape; an axis of any length is a name or None."""
        self.optional_inputs: dict[str, list[int | str | None]] = {
            one.name: list(one.shape) for one in self._session.get_overridable_initializers()
        }
        """Inputs that may be left out, and their shapes."""
        self.output_shapes: dict[str, list[int | str | None]] = {
            one.name: list(one.shape) for one in self._session.get_outputs()
        }
        self.output_names: tuple[str, ...] = tuple(self.output_shapes)
        self.metadata: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)
        """Texts that travel in the file."""

    def run(
        self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None
    ) -> list[NDArray[Any]]:
        """Arrays by input name -> the outputs asked for (all by default), in that order."""
        results: list[NDArray[Any]] = self._session.run(list(outputs) if outputs else None, dict(inputs))
        return results


def _waiting(version: str) -> dict[str, str]:
    """How threads wait for the next node: looking for work for a moment, then asleep.

    Waking them for each takes a fifth of the time. Looking for longer they take it from others: two processes
    on two cores were 1.7 times as slow, and 1.1 times as now. Versions before 1.26 cannot tell for how long.
    """
    if tuple(int(part) for part in version.split(".")[:2]) < (1, 26):
        return {"session.intra_op.allow_spinning": "0"}
    return {"session.intra_op.spin_duration_us": "30", "session.force_spinning_stop": "1"}


def _providers(available: Sequence[str], device_id: str) -> list[Any]:
    if device_id == "-1":
        return ["CPUExecutionProvider"]
    if "CUDAExecutionProvider" not in available:
        warnings.warn(
            f"device_id is {device_id!r} and this onnxruntime has no CUDA: the CPU is used. "
            "For a GPU run: pip install onnxruntime-gpu",
            RuntimeWarning,
            stacklevel=3,
        )
        return ["CPUExecutionProvider"]
    return [("CUDAExecutionProvider", {"device_id": device_id}), "CPUExecutionProvider"]


def _with_outputs(path: Path, names: Sequence[str]) -> str | bytes:
    """What onnxruntime is given to load: the file, or its content with more float outputs in its list.

    Two messages one behind the other are one, in protocol buffers, and their lists are joined.
    """
    if not names:
        return str(path)
    content = path.read_bytes()
    outputs = [
        # ValueInfoProto: 1 name, 2 type; TypeProto: 1 tensor; Tensor: 1 element type, of which 1 is float.
        _field(12, _field(1, name.encode()) + _field(2, _field(1, b"\x08\x01")))
        for name in names
        if name.encode() in content
    ]
    return content + _field(7, b"".join(outputs)) if outputs else str(path)


def _field(number: int, content: bytes) -> bytes:
    """A field of bytes in a protocol buffer; of fewer than 128 * 128."""
    size = len(content)
    length = bytes([size]) if size < 128 else bytes([size % 128 + 128, size // 128])
    return bytes([number * 8 + 2]) + length + content
