"""A weight file -> a short text, another one for other weights, without reading them.

A graph carries that of the weights it was made of (`Graphs.open` of funasr_onnx compares), so that a model
which was trained further and not exported again does not go on saying what it said before.
"""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

KEY = "weights"
"""Of the fingerprint among the texts that travel in a graph."""
PAGES, PAGE = 64, 4096
"""How many stretches of how many bytes are read of a file without checksums."""


def fingerprint(path: Path) -> str:
    """Of the weights in a file: of its name and place nothing. Raises OSError.

    torch saves a zip archive, whose directory has a checksum of every tensor: 50 ms for a gigabyte. Of other
    files (safetensors, torch before 1.6) the size counts, and stretches of them: training moves every number.
    """
    digest = hashlib.sha256()
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                name = entry.filename.partition("/")[2]  # the first part is the name of the file
                if not name.startswith(".data/"):  # made of that name too
                    digest.update(f"{name} {entry.file_size} {entry.CRC}\n".encode())
    except zipfile.BadZipFile:
        size = path.stat().st_size
        digest.update(str(size).encode())
        with path.open("rb") as file:
            for number in range(PAGES):
                file.seek(max(size - PAGE, 0) * number // (PAGES - 1))
                digest.update(file.read(PAGE))
    return digest.hexdigest()[:32]
