"""`torchrun funasr/bin/train_ds.py`: upstream's other name of funasr/bin/train.py."""

import sys
from pathlib import Path

if not __package__:  # run as a file, as torchrun does
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from funasr.bin.train import main

if __name__ == "__main__":
    sys.exit(main())
