"""Full lists of the reference's parameter names and shapes -> the compact ones in shapes/.

    python tests/golden/make_shapes.py paraformer=LIST.json bicif-paraformer=LIST.json ...

A LIST is {name: [shape, dtype]}, dumped from the reference's classes at the released sizes. Names that differ
in their layer number alone become one line, `{0..48}` in place of the number. They are facts that a
checkpoint has to agree with, not code.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

HERE = Path(__file__).parent


def compact(shapes: dict[str, list[int]]) -> dict[str, list[int]]:
    """{"a.0.b": s, "a.1.b": s} -> {"a.{0..1}.b": s}."""
    groups: dict[tuple[str, tuple[int, ...]], list[int]] = {}
    short: dict[str, list[int]] = {}
    for name, shape in shapes.items():
        numbered = re.fullmatch(r"(.*\.(?:decoders|encoders|tp_encoders))\.(\d+)\.(.*)", name)
        if numbered:
            stem = f"{numbered[1]}.{{}}.{numbered[3]}"
            groups.setdefault((stem, tuple(shape)), []).append(int(numbered[2]))
        else:
            short[name] = shape
    for (stem, shape), numbers in groups.items():
        assert numbers == list(range(len(numbers))), stem
        short[stem.replace("{}", f"{{0..{len(numbers) - 1}}}")] = list(shape)
    return short


def main() -> None:
    for argument in sys.argv[1:]:
        kind, _, path = argument.partition("=")
        shapes = {name: entry[0] for name, entry in json.loads(Path(path).read_text()).items()}
        lines = ",\n".join(f" {json.dumps(name)}: {shape}" for name, shape in compact(shapes).items())
        (HERE / "shapes" / f"{kind}.json").write_text("{\n" + lines + "\n}\n")


if __name__ == "__main__":
    main()
