"""What `import funasr` does: next to nothing. The figure in seconds is benchmarks/import_time.py's."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = ("torch", "onnxruntime", "numpy", "scipy", "omegaconf", "av", "soundfile", "soxr", "modelscope",
         "modelscope_hub", "huggingface_hub", "requests", "rich")  # fmt: skip

WATCH = """
import json, logging, random, sys, warnings
events = []
forbidden = ("socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.putenv")
sys.addaudithook(lambda event, arguments: events.append(event) if event in forbidden else None)
random.seed(7); expected = random.getstate()
filters = list(warnings.filters)
{line}
print(json.dumps({{
    "modules": sorted({{name.partition(".")[0] for name in sys.modules}}),
    "handlers": len(logging.getLogger().handlers) + len(logging.getLogger("funasr").handlers),
    "level": logging.getLogger("funasr").level,
    "random": random.getstate() == expected,
    "filters": warnings.filters == filters,
    "events": events,
}}))
"""


def watch(line: str) -> dict[str, object]:
    run = subprocess.run(
        [sys.executable, "-c", WATCH.format(line=line)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert run.stderr == ""
    seen: dict[str, object] = json.loads(run.stdout)
    return seen


@pytest.mark.parametrize("line", ["import funasr", "import funasr, funasr_onnx"])
def test_importing_loads_no_back_end_opens_no_socket_and_touches_nothing_global(line: str) -> None:
    seen = watch(line)

    assert not set(HEAVY) & set(seen["modules"])  # type: ignore[call-overload]
    assert seen["events"] == []
    assert (seen["handlers"], seen["level"]) == (0, 0)
    assert seen["random"]
    assert seen["filters"]


def test_looking_at_automodel_loads_no_torch() -> None:
    seen = watch("import funasr; funasr.AutoModel")

    assert not {"torch", "onnxruntime", "modelscope", "huggingface_hub"} & set(seen["modules"])  # type: ignore[call-overload]
    # numpy sets two variables for OpenBLAS and takes them away again: not ours.
    assert set(seen["events"]) <= {"os.putenv"}  # type: ignore[call-overload]
    assert (seen["handlers"], seen["random"]) == (0, True)
