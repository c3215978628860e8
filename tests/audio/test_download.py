"""Sound and lists from a web server; the server is ours, on 127.0.0.1."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import numpy as np
import pytest

from funasr.audio.inputs import expand_input
from funasr.audio.load import load_audio
from funasr.download import download, shown_url
from funasr.errors import InputError
from tests.audio.making import RATE, encoded, tone, wav_bytes

SAMPLES = np.round(tone() * 32768) / np.float32(32768)


class Handler(BaseHTTPRequestHandler):
    stop: threading.Event
    asked: ClassVar[list[tuple[str, str | None]]] = []

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/moved.wav":
            self.send_response(302)
            self.send_header("Location", "/a.wav")
            self.end_headers()
            return
        if path == "/elsewhere.wav":
            self.send_response(302)
            self.send_header("Location", "file:///etc/hostname")
            self.end_headers()
            return
        if path == "/slow.wav":
            self.stop.wait(20)
            return
        self.asked.append((self.path, self.headers.get("Authorization")))
        bodies = {
            "/a.wav": wav_bytes(SAMPLES),
            "/b.mp3": encoded(tone(), RATE, "mp3", "libmp3lame"),
            "/%E4%BC%9A%E8%AE%AE%201.wav": wav_bytes(SAMPLES),
            "/c.pcm": b"\x00\x40\x00\xc0",
            "/list.scp": b"A https://example.com/a.wav\nB b.wav\n",
            "/page.wav": b"<html>Please log in</html>",
            "/broken.wav": wav_bytes(SAMPLES),
            "/endless.wav": wav_bytes(SAMPLES),
        }
        if path not in bodies:
            self.send_error(404, "Not Found")
            return
        body = bodies[path]
        self.send_response(200)
        claimed = {"/broken.wav": 2 * len(body), "/endless.wav": None}.get(path, len(body))
        if claimed is not None:
            self.send_header("Content-Length", str(claimed))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    Handler.stop = threading.Event()
    with pytest.MonkeyPatch.context() as patch, ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        for name in list(os.environ):
            if name.lower().endswith("_proxy"):
                patch.delenv(name)
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        Handler.stop.set()
        httpd.shutdown()
        thread.join()


def test_sound_is_fetched(server: str) -> None:
    np.testing.assert_array_equal(load_audio(f"{server}/a.wav"), SAMPLES)
    np.testing.assert_array_equal(load_audio(f"{server}/moved.wav?signature=1"), SAMPLES)
    assert len(load_audio(f"{server}/b.mp3")) == RATE // 2
    assert load_audio(f"{server}/c.pcm").tolist() == [0.5, -0.5]


def test_addresses_may_be_written_as_people_write_them(server: str) -> None:
    np.testing.assert_array_equal(load_audio(f"{server}/会议 1.wav?a=b c&d=%20"), SAMPLES)
    np.testing.assert_array_equal(load_audio(f"{server}/%E4%BC%9A%E8%AE%AE%201.wav"), SAMPLES)
    assert [path for path, _ in Handler.asked[-2:]] == [
        "/%E4%BC%9A%E8%AE%AE%201.wav?a=b%20c&d=%20",
        "/%E4%BC%9A%E8%AE%AE%201.wav",
    ]


def test_a_user_and_a_password_go_into_a_header_of_the_first_request_only(server: str) -> None:
    address = server.replace("http://", "http://ann:p%40ss@")

    np.testing.assert_array_equal(load_audio(f"{address}/a.wav"), SAMPLES)

    assert Handler.asked[-1] == ("/a.wav", "Basic YW5uOnBAc3M=")  # ann:p@ss


def test_a_list_is_fetched(server: str) -> None:
    items = expand_input(f"{server}/list.scp")
    assert [(item.key, item.source) for item in items] == [("A", "https://example.com/a.wav"), ("B", "b.wav")]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/gone.wav", "the server answered 404 Not Found"),
        ("/broken.wav", r"broken off after \d+ of \d+ bytes"),
        ("/elsewhere.wav", "the server answered 302"),
        ("/page.wav", r"cannot decode http://127\.0\.0\.1:\d+/page\.wav"),
    ],
)
def test_a_failed_download_names_the_address_and_the_cause(server: str, path: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        load_audio(f"{server}{path}?token=secret")
    assert path in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_server_that_stalls_is_given_up(server: str) -> None:
    with pytest.raises(InputError, match=r"slow\.wav: timed out"):
        download(f"{server}/slow.wav", timeout=0.2)


def test_a_server_that_is_not_there_is_named() -> None:
    with pytest.raises(InputError, match=r"cannot download http://127\.0\.0\.1:1/a\.wav: .*refused"):
        load_audio("http://127.0.0.1:1/a.wav")


@pytest.mark.parametrize("path", ["/a.wav", "/endless.wav"])
def test_no_more_is_fetched_than_allowed(server: str, path: str) -> None:
    with pytest.raises(InputError, match="bytes"):
        download(f"{server}{path}", max_bytes=1000)


@pytest.mark.parametrize(
    "url", ["http://", "http://[::1", "https:///a.wav", "http://a b/c.wav", "http://\x00/"]
)
def test_addresses_that_are_none_are_input_errors(url: str) -> None:
    with pytest.raises(InputError, match="cannot download http"):
        load_audio(url)


def test_names_passwords_and_queries_do_not_get_into_messages() -> None:
    url = "https://user:password@example.com:8443/a/b.wav?key=secret#part"
    assert shown_url(url) == "https://example.com:8443/a/b.wav"
    assert "secret" not in shown_url("http://[::1/a.wav?key=secret")
    assert shown_url("http://ann:secret@host:port/a.wav") == "http://host:port/a.wav"
    assert shown_url("http://ann:sec/ret@[host/a.wav") == "http://[host/a.wav"


@pytest.mark.parametrize("url", ["http://ann:secret@host:port/a.wav", "http://a b/c.wav?secret"])
def test_neither_does_the_cause(url: str) -> None:
    with pytest.raises(InputError, match="it is not a valid URL") as caught:
        download(url)
    assert "secret" not in str(caught.value)
