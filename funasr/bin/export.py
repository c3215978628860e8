"""`funasr-export ++model=... ++quantize=true`: a model's ONNX files, beside its weights or in ++output_dir.

Prints what was written, how near it is to torch, and at last the folder. Exit status: 0 all is well; 2 the
command or the model is wrong, or a graph does not do what its network does: then no file is left.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from funasr.auto.export import INT8_NAMES, NAMES, UNUSED, export
from funasr.auto.options import sort_options
from funasr.config import parse_overrides
from funasr.errors import FunASRError, OptionError

EXAMPLE = "funasr-export ++model=paraformer-zh ++quantize=true ++output_dir=exported"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="funasr-export",
        allow_abbrev=False,
        epilog=f"settings: model, {', '.join((*NAMES, *INT8_NAMES))}. Example: {EXAMPLE}",
    )
    parser.add_argument("settings", nargs="*", metavar="++name=value")
    known, rest = parser.parse_known_args(argv)
    try:
        settings = parse_overrides([*known.settings, *rest])
        if not settings.get("model"):
            raise OptionError(f"no ++model=... given. Example: {EXAMPLE}")
        own = {name: settings.pop(name) for name in (*NAMES, *INT8_NAMES, *UNUSED) if name in settings}
        done = export(sort_options(settings), own, tell=print)
    except FunASRError as error:
        print(f"funasr-export: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("funasr-export: interrupted; nothing was written", file=sys.stderr)
        return 130
    print(done.folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
