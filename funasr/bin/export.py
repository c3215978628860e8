"""`funasr-export ++model=... ++quantize=true`: a model's ONNX files, beside its weights or in ++output_dir.

Prints what was written, how near it is to torch, and at last the folder. Exit status: 0 all is well; 2 the
command or the model is wrong, or a graph does not do what its network does: then no file is left.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from funasr.auto.export import INT8_NAMES, NAMES, UNUSED, export
from funasr.auto.options import sort_options
from funasr.bin.arguments import SettingsParser
from funasr.config import parse_overrides
from funasr.errors import FunASRError, OptionError

EXAMPLE = "funasr-export ++model=paraformer-zh ++quantize=true ++output_dir=exported"
EPILOG = f"""\
settings:
  ++model=NAME          alias, hub id or directory
  ++output_dir=DIR      where to; the default is beside the weights
  ++quantize=false      true: write *_quant.onnx as well, with integer weights
  ++opset_version=14    11 to 20
  ++input=FILE          a recording or .txt file, or a list of these, to try the graphs out on; the default is
                        ten short English recordings
  ++type=onnx           the only one there is
  ++signed=true         integer weights: int8; false: uint8, which upstream writes
  ++reduce_range=false  integer weights of 7 bits, for processors without VNNI
  ++lstm=true           LSTM layers have integer weights too
Any other setting is one of AutoModel: ++hub=hf ++model_revision=v2.0.4

example: {EXAMPLE}
"""


def main(argv: Sequence[str] | None = None) -> int:
    about = "Write the ONNX files of a model, and try them out beside torch."
    parser = SettingsParser("funasr-export", about, EPILOG)
    try:
        settings = parse_overrides(parser.read(argv)[1])
        if not settings.get("model"):
            raise OptionError(f"no ++model=... given. Example: {EXAMPLE}")
        own = {name: settings.pop(name) for name in (*NAMES, *INT8_NAMES, *UNUSED) if name in settings}
        done = export(sort_options(settings), own, tell=print)
    except FunASRError as error:
        print(f"funasr-export: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"funasr-export: cannot write the files: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("funasr-export: interrupted; nothing was written", file=sys.stderr)
        return 130
    print(done.folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
