"""What a user may call sound -> a Decoder. Files, URLs, bytes, file objects, arrays."""

from __future__ import annotations

import difflib
import io
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

from funasr.audio.decoders import ArrayDecoder, Decoder, PcmDecoder, SoundfileDecoder, check_rate
from funasr.audio.libav import AvDecoder
from funasr.audio.samples import array_samples, describe, is_array, is_number_list
from funasr.audio.sniff import SNIFF_BYTES, looks_like_container, may_be_mpeg
from funasr.download import download, is_url, shown_url, url_path
from funasr.errors import AudioDecodeError, InputError

DEFAULT_SOURCE_RATE = 16_000
"""Of sound that does not say its rate: arrays and raw PCM."""

PCM_SUFFIXES = (".pcm", ".raw")

MAX_STREAM_BYTES = 8 << 30
"""Of what cannot be sought in, such as a pipe, and is copied to the disk. As much as of a download."""


def name_of(source: Any) -> str:
    """What messages call a source: the path, the URL without its secrets, or a description."""
    if is_url(source):
        return shown_url(source)
    if isinstance(source, (str, os.PathLike)):
        return str(source)
    name = getattr(source, "name", None)
    if isinstance(name, str) and hasattr(source, "read"):
        return name
    return describe(source)


def open_decoder(source: Any, source_rate: int | None) -> tuple[Decoder, Callable[[], None]]:
    """A decoder for `source` and what frees the file behind it; call that after the decoder's `close`.

    Raises InputError for what cannot be sound, AudioDecodeError for sound that cannot be read; both name it.
    """
    rate = DEFAULT_SOURCE_RATE if source_rate is None else check_rate(source_rate, "the rate of the source")
    name = name_of(source)
    if is_array(source) or is_number_list(source) or (isinstance(source, (list, tuple)) and not source):
        return ArrayDecoder(array_samples(source), rate), _nothing
    if isinstance(source, (bytes, bytearray, memoryview)):
        data = bytes(source)
        is_pcm = not looks_like_container(data[:SNIFF_BYTES])
        return _decode(io.BytesIO(data), name, rate, is_pcm=is_pcm), _nothing
    if isinstance(source, (str, os.PathLike)):
        file, suffix, close = _open_named(source, name)
    elif hasattr(source, "read"):
        file, suffix, close = _open_object(source, name)
    else:
        raise InputError(
            f"cannot read {name} as sound: expected a path, a URL, bytes, a binary file object, an array or "
            "a list of numbers"
        )
    try:
        is_pcm = suffix in PCM_SUFFIXES and not looks_like_container(_peek(file))
        return _decode(file, name, rate, is_pcm=is_pcm), close
    except BaseException:
        close()
        raise


def _nothing() -> None:
    """Memory frees itself."""


def _open_named(source: str | os.PathLike[str], name: str) -> tuple[BinaryIO, str, Callable[[], None]]:
    if isinstance(source, str) and is_url(source):
        file = download(source)
        return file, Path(url_path(source)).suffix.lower(), file.close
    if not name:
        raise AudioDecodeError("the name of the sound file is empty")
    try:
        path = Path(source)
        file = path.open("rb")
    except FileNotFoundError as error:
        raise AudioDecodeError(f"no file {name!r}{_nearby(name)}") from error
    except IsADirectoryError as error:
        raise AudioDecodeError(f"{name!r} is a folder; give the files in it") from error
    except (OSError, ValueError, TypeError) as error:  # ValueError: a NUL inside the name
        raise AudioDecodeError(
            f"cannot open {name[:200]!r}: {getattr(error, 'strerror', None) or error}"
        ) from error
    if not file.seekable():  # a pipe, such as /dev/stdin
        try:
            with file:
                file = _copied(file, name)
        except OSError as error:
            raise AudioDecodeError(f"cannot read {name!r}: {error.strerror or error}") from error
    return file, path.suffix.lower(), file.close


def _nearby(name: str) -> str:
    """What there is instead of a missing file: a folder that lacks it, or a file of almost that name."""
    if name.rstrip().endswith("|"):
        return ": it is a command, and commands in lists are not run"
    path = Path(name)
    try:
        names = os.listdir(path.parent)
    except OSError:
        return f": there is no folder {str(path.parent)!r}"
    # Names without suffixes: that two files are .wav does not make them alike.
    stems = {Path(other).stem: other for other in names[:10_000]}
    close = difflib.get_close_matches(path.stem, stems, n=1, cutoff=0.8)
    return f". Did you mean {stems[close[0]]!r}?" if close else ""


def _open_object(source: Any, name: str) -> tuple[BinaryIO, str, Callable[[], None]]:
    suffix = Path(name).suffix.lower()
    try:
        start = source.tell() if _seekable(source) else 0
        if start and not source.read(1):
            start = 0  # written and not rewound: sound at the very end is nobody's intention
        if _seekable(source):
            source.seek(start)
        if isinstance(source, (io.BytesIO, io.BufferedReader)) and _seekable(source) and start == 0:
            return source, suffix, _nothing
        # Anything else (pipes, archive members, uploads, other people's classes) goes through a file of our
        # own: decoders seek, and an error inside a C library's callback cannot be raised.
        copy = _copied(source, name)
    except AudioDecodeError:
        raise
    except Exception as error:
        if isinstance(source, io.TextIOBase):
            raise InputError(f"{name} is open as text; open sound with mode 'rb'") from error
        raise AudioDecodeError(f"cannot read {name}: {error or type(error).__name__}") from error
    return copy, suffix, copy.close


def _copied(source: Any, name: str) -> BinaryIO:
    """What is left in a stream, as a temporary file at its start that is gone once closed."""
    copy = cast(BinaryIO, tempfile.TemporaryFile(prefix="funasr-"))  # noqa: SIM115 - the caller closes it
    try:
        received = 0
        while chunk := source.read(1 << 20):
            received += len(chunk)
            if received > MAX_STREAM_BYTES:
                raise AudioDecodeError(
                    f"{name} sends more than {MAX_STREAM_BYTES} bytes: too much for one sound"
                )
            copy.write(chunk)
    except BaseException:
        copy.close()
        raise
    copy.seek(0)
    return copy


def _seekable(file: Any) -> bool:
    return bool(hasattr(file, "seekable") and file.seekable())


def _peek(file: BinaryIO) -> bytes:
    head = file.read(SNIFF_BYTES)
    file.seek(0)
    return head


def _decode(file: BinaryIO, name: str, rate: int, *, is_pcm: bool) -> Decoder:
    if is_pcm:
        return PcmDecoder(file, name, rate)
    head = _peek(file)
    if not head:
        raise AudioDecodeError(f"{name} is empty (0 bytes)")
    causes: list[str] = []
    empty: Decoder | None = None
    for library, open_with in _libraries(head):
        file.seek(0)
        try:
            decoder = open_with(file, name)
        except AudioDecodeError as error:
            causes.append(f"{error} ({library})")
            continue
        try:
            check_rate(decoder.rate, "the rate in its header")
        except InputError as error:
            decoder.close()
            raise AudioDecodeError(f"cannot decode {name}: {error}") from error
        if isinstance(decoder, SoundfileDecoder) and decoder.is_empty:
            # A recorder that was cut off leaves a length of 0 in the header. libav does not believe it.
            empty = decoder
        else:
            return decoder
    if empty is not None:
        return empty
    raise AudioDecodeError(
        f"cannot decode {name}: {'; '.join(causes)}. Is it sound, and complete? Raw PCM without a header "
        "needs a name ending .pcm or .raw, or to be passed as bytes."
    )


def _libraries(head: bytes) -> Sequence[tuple[str, Callable[[BinaryIO, str], Decoder]]]:
    """Who is asked to decode a file that begins so, in order.

    libsndfile stops at the first damage in MP3 (without an error) and in FLAC; libav goes on after it.
    libsndfile also writes to stderr while it looks at an MP3, so it never sees one.
    """
    libav = ("libav", AvDecoder)
    libsndfile = ("libsndfile", SoundfileDecoder)
    if may_be_mpeg(head):
        return (libav,)
    return (libav, libsndfile) if head.startswith(b"fLaC") else (libsndfile, libav)
