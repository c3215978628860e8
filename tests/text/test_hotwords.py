"""Every documented way to write hotwords, and what is said about those that cannot be used."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from funasr.errors import InputError
from funasr.text.hotwords import Hotword, encode_hotwords, fetch_text, parse_hotwords
from funasr.text.tokenizer import CharTokenizer

USUAL = 20.0


def pairs(value: object) -> list[tuple[str, float]]:
    return [(hotword.text, hotword.weight) for hotword in parse_hotwords(value)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("阿里巴巴 达摩院", [("阿里巴巴", USUAL), ("达摩院", USUAL)]),
        ("阿里巴巴 20 达摩院 30.5 a", [("阿里巴巴", 20.0), ("达摩院", 30.5), ("a", USUAL)]),
        ("2024", [("2024", USUAL)]),
        ("a,b，c、d", [("a", USUAL), ("b", USUAL), ("c", USUAL), ("d", USUAL)]),
        ("", []),
        ("   ", []),
        (["阿里巴巴", "hello  world"], [("阿里巴巴", USUAL), ("hello world", USUAL)]),
        ([("达摩院", 30), ["a", "5"], Hotword(text="b")], [("达摩院", 30.0), ("a", 5.0), ("b", USUAL)]),
        ({"阿里巴巴": 20, "A股": 40.5}, [("阿里巴巴", 20.0), ("A股", 40.5)]),
        ('{"阿里巴巴": 20}', [("阿里巴巴", 20.0)]),
        ('["a", ["b", 7]]', [("a", USUAL), ("b", 7.0)]),
        (
            "阿里巴巴 30\n\n  hello world\n达摩院",
            [("阿里巴巴", 30.0), ("hello world", USUAL), ("达摩院", USUAL)],
        ),
        ("a\n2024\n", [("a", USUAL), ("2024", USUAL)]),
        (["a", "", "a"], [("a", USUAL)]),
        ([], []),
    ],
)
def test_all_forms_are_read(value: object, expected: list[tuple[str, float]]) -> None:
    assert pairs(value) == expected


def test_a_file_has_a_phrase_a_line_and_blank_lines_count_for_nothing(tmp_path: Path) -> None:
    path = tmp_path / "hotwords.txt"
    path.write_text("\ufeff阿里巴巴 20\r\n\r\nhello world\r\n   \r\n", encoding="utf-8")

    expected = [("阿里巴巴", 20.0), ("hello world", USUAL)]
    assert pairs(str(path)) == expected
    assert pairs(path) == expected


def test_a_url_is_fetched_by_the_function_given() -> None:
    asked: list[str] = []

    def fetch(url: str) -> str:
        asked.append(url)
        return "魔搭 40\n"

    assert parse_hotwords("https://host/words.txt", fetch=fetch) == (Hotword(text="魔搭", weight=40.0),)
    assert asked == ["https://host/words.txt"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("missing.txt", r"no hotword file 'missing\.txt'"),
        (Path("missing.txt"), r"no hotword file 'missing\.txt'"),
        ('{"a": ', "begin like JSON"),
        ({"a": "much"}, "'a' has the weight 'much'"),
        ({"a": 0}, "weight 0: expected a number above 0"),
        ({"a": float("nan")}, "weight nan"),
        ({"a": True}, "weight True"),
        ({1: 2}, "must be a string, not 1"),
        ("a -3", "weight -3"),
        ("b\na -3\n", "weight -3"),
        ([1], "holds 1"),
        (7, "from a int"),
        (b"a", "from a bytes"),
    ],
)
def test_what_cannot_be_read_is_named(value: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        pairs(value)


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "hotwords.txt"
    path.write_bytes(b"\xff\xfe\xfd")

    with pytest.raises(InputError, match=r"hotwords\.txt"):
        parse_hotwords(path)


def test_the_usual_weight_leaves_the_network_alone_and_none_weakens_it() -> None:
    assert [Hotword(text="a", weight=weight).strength for weight in (1, 20, 30, 40)] == [1, 1, 1.5, 2]


def test_each_phrase_is_reported_and_only_those_that_can_be_spelt_reach_the_network() -> None:
    tokenizer = CharTokenizer(["<blank>", "<s>", "</s>", "魔", "搭", "a", "<unk>"])

    encoded = encode_hotwords(parse_hotwords({"魔搭": 20, "魔法": 20, "a": 30, "A": 40}), tokenizer)

    assert encoded.ids == ((3, 4), (5,))
    assert encoded.weights == (1.0, 2.0)
    assert encoded.not_encoded == ("魔法",)
    assert [report.encoded for report in encoded.reports] == [True, False, True, True]


@pytest.fixture
def server() -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/words.txt" else 404)
            self.end_headers()
            self.wfile.write("魔搭 30\n".encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_address[1]}"
        httpd.shutdown()
        thread.join()


def test_a_list_behind_a_url_is_fetched(server: str) -> None:
    assert pairs(f"{server}/words.txt") == [("魔搭", 30.0)]


def test_a_url_that_fails_is_named_with_its_cause(server: str) -> None:
    with pytest.raises(InputError, match="404"):
        fetch_text(f"{server}/other")
    with pytest.raises(InputError, match="larger than"):
        fetch_text(f"{server}/words.txt", limit_bytes=3)
