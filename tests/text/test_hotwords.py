"""Every documented way to write hotwords, and what is said about those that cannot be used."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


def refuse(url: str) -> str:
    raise InputError(f"no network for {url}")


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.text(max_size=30),
        st.text(alphabet='[]{}"\\n,: a7.~/txt\0今', max_size=30),
        st.text(max_size=10).map(lambda name: name + ".txt"),
        st.lists(st.one_of(st.text(max_size=5), st.tuples(st.text(max_size=3), st.floats()))),
        st.dictionaries(st.text(max_size=5), st.one_of(st.floats(), st.integers(), st.none())),
    )
)
def test_any_input_gives_phrases_with_positive_weights_or_an_error_of_ours(value: object) -> None:
    try:
        hotwords = parse_hotwords(value, fetch=refuse)  # type: ignore[arg-type]
    except InputError:
        return
    assert all(hotword.text == " ".join(hotword.text.split()) != "" for hotword in hotwords)
    assert all(0 < hotword.weight < float("inf") for hotword in hotwords)


def test_json_of_absurd_depth_is_refused() -> None:
    with pytest.raises(InputError, match="JSON"):
        parse_hotwords("[" * 200_000)


def test_words_that_python_reads_as_numbers_are_words() -> None:
    assert pairs("a nan inf 1e5 ٣") == [
        ("a", USUAL),
        ("nan", USUAL),
        ("inf", USUAL),
        ("1e5", USUAL),
        ("٣", USUAL),
    ]


def test_ten_thousand_phrases_are_read_and_encoded_in_no_time() -> None:
    characters = [chr(0x4E00 + i) for i in range(1000)]
    tokenizer = CharTokenizer(["<blank>", "<s>", "</s>", *characters, "<unk>"])
    lines = "\n".join(characters[i % 1000] + characters[i // 1000] + characters[i % 7] for i in range(10_000))
    begin = time.perf_counter()

    encoded = encode_hotwords(parse_hotwords(lines), tokenizer)

    assert len(encoded.ids) == 10_000
    assert time.perf_counter() - begin < 2  # 0.1 s on a quiet machine


@pytest.fixture
def server() -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            self.send_response(200 if path in ("/words.txt", "/gbk.txt") else 404)
            self.end_headers()
            self.wfile.write("魔搭 30\n".encode("gbk" if path == "/gbk.txt" else "utf-8"))

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


@pytest.mark.parametrize(
    "url",
    [
        "http://a b/x.txt?token=hunter2",
        "http://user:hunter2@[bad/x.txt",
        "http://user:hunter2@127.0.0.1:port/x.txt?token=hunter2",
        "HTTP://user:hunter2@127.0.0.1:1/x.txt?token=hunter2",
    ],
)
def test_a_url_that_cannot_be_fetched_is_named_without_its_secrets(url: str) -> None:
    with pytest.raises(InputError, match=r"cannot download http://") as caught:
        parse_hotwords(url)

    assert "hunter2" not in str(caught.value)


def test_a_list_that_is_no_text_is_named_without_its_secrets(server: str) -> None:
    with pytest.raises(InputError, match=r"/gbk\.txt is not UTF-8") as caught:
        fetch_text(f"{server}/gbk.txt?token=hunter2")

    assert "hunter2" not in str(caught.value)


def test_a_url_that_fails_is_named_with_its_cause(server: str) -> None:
    with pytest.raises(InputError, match="404"):
        fetch_text(f"{server}/other")
    with pytest.raises(InputError, match="more than 3 bytes"):
        fetch_text(f"{server}/words.txt", limit_bytes=3)
