"""An http(s) URL -> an open temporary file."""

from __future__ import annotations

import base64
import re
import tempfile
from typing import TYPE_CHECKING, BinaryIO, cast
from urllib.parse import quote, unquote, urlsplit

from funasr.errors import InputError

if TYPE_CHECKING:
    from urllib.request import Request

TIMEOUT_SECONDS = 30.0
"""For the connection and for each wait for more data."""

MAX_BYTES = 8 << 30
"""10 hours of 48 kHz stereo int16 are 7 GB."""

_CHUNK = 1 << 20


def is_url(value: object) -> bool:
    """A string that starts with http:// or https://."""
    return isinstance(value, str) and value[:8].lower().startswith(("http://", "https://"))


def shown_url(url: str) -> str:
    """The URL without user name, password and query, which may hold secrets and end in logs."""
    try:
        parts = urlsplit(url)
        return f"{parts.scheme}://{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}{parts.path}"
    except ValueError:
        return re.sub("//.*@", "//", re.split("[?#]", url)[0])


def url_path(url: str) -> str:
    """The path within a URL, in plain characters; all before the query of one that cannot be parsed."""
    try:
        return unquote(urlsplit(url).path)
    except ValueError:
        return unquote(re.split("[?#]", url)[0])


def download(url: str, *, timeout: float = TIMEOUT_SECONDS, max_bytes: int = MAX_BYTES) -> BinaryIO:
    """The body as a temporary file that is gone once closed, positioned at its start.

    Raises InputError when the server cannot be reached, refuses, stalls for `timeout` seconds, breaks off, or
    sends more than `max_bytes`.
    """
    # Here because they take longer to import than all else in this package.
    import http.client
    import urllib.error
    import urllib.request

    shown = shown_url(url)
    file = cast(BinaryIO, tempfile.TemporaryFile(prefix="funasr-"))  # noqa: SIM115 - handed to the caller
    try:
        with urllib.request.urlopen(_request(url), timeout=timeout) as response:
            declared = response.headers.get("Content-Length", "")
            expected = int(declared) if declared.isascii() and declared.isdigit() else None
            if expected is not None and expected > max_bytes:
                raise InputError(
                    f"cannot download {shown}: {expected} bytes, at most {max_bytes} are fetched"
                )
            received = 0
            while chunk := response.read(_CHUNK):
                received += len(chunk)
                if received > max_bytes:
                    raise InputError(f"cannot download {shown}: more than {max_bytes} bytes")
                file.write(chunk)
        if expected is not None and received < expected:
            raise InputError(f"cannot download {shown}: broken off after {received} of {expected} bytes")
    except InputError:
        file.close()
        raise
    except urllib.error.HTTPError as error:
        file.close()
        error.close()
        raise InputError(
            f"cannot download {shown}: the server answered {error.code} {error.reason}"
        ) from error
    except (ValueError, http.client.InvalidURL) as error:  # their messages may hold the password
        file.close()
        raise InputError(f"cannot download {shown}: it is not a valid URL") from error
    except (OSError, http.client.HTTPException) as error:
        file.close()
        cause = getattr(error, "reason", None) or error
        raise InputError(f"cannot download {shown}: {cause or type(error).__name__}") from error
    file.seek(0)
    return file


def _request(url: str) -> Request:
    """Characters that a URL cannot hold (Chinese, blanks) are escaped; user and password go into a header."""
    from urllib.request import Request

    parts = urlsplit(url)
    plain = parts._replace(
        netloc=parts.netloc.rpartition("@")[2],
        path=quote(parts.path, safe="%/:@!$&'()*+,;=~"),
        query=quote(parts.query, safe="%/:@!$&'()*+,;=~?"),
    )
    request = Request(plain.geturl(), headers={"User-Agent": "funasr"})
    if parts.username is not None:
        secret = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        request.add_unredirected_header("Authorization", f"Basic {base64.b64encode(secret).decode()}")
    return request
