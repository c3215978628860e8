"""Words of live streams: the same, at the same times, however the sound is cut, shared or interrupted."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from funasr.arrays import Samples
from funasr.errors import InputError, ModelFilesError
from funasr.features.config import FrontendConfig
from funasr.features.frontend import WavFrontend
from funasr.result import Token, Transcript
from funasr.stages.paraformer import DecodeOptions
from funasr.stages.protocols import ChunkShape
from funasr.stages.streaming import ParaformerStream, ParaformerStreamer
from tests.stages.scripted import ROW, TOKENIZER, Failing, Hearing, Scripted, noise, silence, streamer

SHAPES = (ChunkShape(), ChunkShape(left=5), ChunkShape(size=8, right=4), ChunkShape(size=1, right=0))
SOUND = noise(5.3)
SIZES = st.one_of(st.integers(0, 3), st.integers(0, 3000), st.integers(0, 40000))


def straight(sound: Samples, shape: ChunkShape | None = None) -> tuple[Token, ...]:
    stream = streamer(shape=shape).stream()
    return stream.accept(sound) + stream.flush()


def pieces_of(sound: Samples, sizes: list[int]) -> list[Samples]:
    """Consecutive pieces; the sizes come round again until nothing is left."""
    pieces: list[Samples] = []
    start = 0
    while start < len(sound):
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(sound[start : start + size])
        start += size
    return pieces


def shown(words: tuple[Token, ...]) -> list[tuple[str, int | None, int | None]]:
    return [(word.text, word.start_ms, word.end_ms) for word in words]


# Words and times, by pencil


def test_a_word_is_told_as_soon_as_its_rows_are_decided() -> None:
    stream = streamer(Scripted({2: "今", 6: "天", 14: "好"})).stream()

    # Ten rows are a stride; the last five of them are only looked ahead at.
    assert stream.accept(silence(9.9)) == ()
    assert [word.text for word in stream.accept(silence(0.1))] == ["今"]
    assert [word.text for word in stream.accept(silence(10))] == ["天", "好"]
    assert stream.flush() == ()


def test_a_word_lasts_from_just_before_its_fire_to_the_next_one() -> None:
    stream = streamer(Scripted({2: "今", 6: "天", 12: "好"})).stream()

    words = stream.accept(silence(20)) + stream.flush()

    # Row 2 has fired at 3.0; a word begins 2 rows before that. The first step knew five rows, and the second
    # fifteen: the next word may begin up to two rows before that, so 今 and 好 end one row before.
    assert shown(words) == [("今", 60, 240), ("天", 300, 660), ("好", 660, 840)]


def test_no_word_lasts_longer_than_twelve_rows_nor_beyond_the_sound() -> None:
    stream = streamer(Scripted({2: "今", 33: "天"})).stream(ChunkShape(size=40, right=0))

    words = stream.accept(silence(34.5)) + stream.flush()

    assert shown(words) == [("今", 60, 780), ("天", 1920, 2070)]


def test_a_word_of_pieces_has_their_time_their_ids_and_the_least_of_their_confidence() -> None:
    stream = streamer(Scripted({3: "hel@@", 7: "lo", 11: "今"})).stream()

    [word, _] = stream.accept(silence(30)) + stream.flush()

    assert (word.text, word.start_ms, word.end_ms, word.ids) == ("hello", 120, 600, (5, 6))
    assert word.confidence == pytest.approx(0.93)


def test_a_word_that_goes_on_in_the_next_stride_waits_in_the_tail() -> None:
    stream = streamer(Scripted({3: "hel@@", 7: "lo"})).stream()

    assert stream.accept(silence(10)) == ()
    assert [word.text for word in stream.tail] == ["hel"]
    assert [word.text for word in stream.accept(silence(10))] == ["hello"]
    assert stream.tail == ()


def test_single_letters_wait_for_more_of_them() -> None:
    stream = streamer(Scripted({3: "a", 7: "i", 16: "今"})).stream()

    assert stream.accept(silence(20)) == ()
    assert [word.text for word in stream.tail] == ["AI"]
    assert [word.text for word in stream.accept(silence(10))] == ["AI", "今"]


def test_flush_hands_out_what_was_held_back_and_then_nothing() -> None:
    stream = streamer(Scripted({3: "a", 18: "天"})).stream()

    assert stream.accept(silence(19)) == ()
    assert [word.text for word in stream.flush()] == ["a", "天"]
    assert stream.flush() == ()
    assert stream.tail == ()


def test_by_strides_a_word_that_is_cut_is_not_put_together() -> None:
    stream = streamer(Scripted({3: "hel@@", 7: "lo", 8: "wor@@", 9: "ld"})).stream(whole_words=False)

    words = stream.accept(silence(30)) + stream.flush()

    assert [word.text for word in words] == ["lo", "world"]
    assert stream.tail == ()


def test_a_last_stride_is_one_with_what_was_looked_ahead_at() -> None:
    """As upstream, where the last call of a stream brings a whole stride."""
    engine = streamer(Scripted({3: "hel@@", 7: "lo"}))

    stream = engine.stream(whole_words=False)
    [words] = engine.advance([stream], [silence(10)], last=True)
    assert [word.text for word in words] == ["hello"]

    stream = engine.stream(whole_words=False)
    [words] = engine.advance([stream], [silence(10.1)], last=True)
    assert [word.text for word in words] == ["lo"]


def test_special_ids_are_not_shown_and_a_word_amid_unknown_ones_is_less_certain() -> None:
    stream = streamer(Scripted({0: "</s>", 1: "<unk>", 2: "今"})).stream()

    [word] = stream.accept(silence(20)) + stream.flush()

    assert word.text == "今"
    assert word.confidence == pytest.approx(0.98 / 2)


def test_the_last_rows_are_heard_unless_they_are_less_than_one() -> None:
    for rows, heard in ((10, 10), (10.99, 10), (11, 11), (11.5, 12)):
        stream = streamer(Scripted(dict.fromkeys(range(40), "今"))).stream()
        words = stream.accept(silence(rows)) + stream.flush()
        assert len(words) == heard


# Whatever the pieces


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(SHAPES),
    st.lists(
        st.one_of(st.integers(0, 3), st.integers(0, 3000), st.integers(0, 40000)), min_size=1, max_size=8
    ),
    st.integers(0, len(SOUND)),
)
def test_words_and_times_do_not_depend_on_the_pieces(
    shape: ChunkShape, sizes: list[int], length: int
) -> None:
    sizes = [*sizes, 1600]  # so that it ends
    sound = SOUND[:length]
    stream = streamer(shape=shape).stream()

    words: tuple[Token, ...] = ()
    for piece in pieces_of(sound, sizes):
        words += stream.accept(piece)
    words += stream.flush()

    assert words == straight(sound, shape)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(SHAPES), st.lists(st.integers(700, 20000), min_size=1, max_size=6))
def test_pickled_and_resumed_elsewhere_is_straight_through(shape: ChunkShape, sizes: list[int]) -> None:
    state = streamer(shape=shape).stream().state
    words: tuple[Token, ...] = ()
    for piece in pieces_of(SOUND, sizes):
        stream = streamer().stream(state=pickle.loads(pickle.dumps(state)))
        words += stream.accept(piece)
        state = stream.state
    words += streamer().stream(state=state).flush()

    assert words == straight(SOUND, shape)


def test_one_sample_at_a_time() -> None:
    sound = SOUND[:12000]
    stream = streamer().stream(ChunkShape(size=4, right=2))

    words = tuple(word for sample in sound for word in stream.accept(sample[None])) + stream.flush()

    assert words == straight(sound, ChunkShape(size=4, right=2))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 20000)), max_size=40))
def test_interleaved_streams_are_each_alone(turns: list[tuple[int, int]]) -> None:
    engine = streamer()
    sounds = [noise(1.9, seed) for seed in range(5)]
    streams = [engine.stream(SHAPES[i % len(SHAPES)]) for i in range(5)]
    words: list[tuple[Token, ...]] = [()] * 5
    given_out = [0] * 5
    for index, size in turns:
        piece = sounds[index][given_out[index] : given_out[index] + size]
        words[index] += streams[index].accept(piece)
        given_out[index] += len(piece)
    for i, stream in enumerate(streams):
        words[i] += stream.accept(sounds[i][given_out[i] :]) + stream.flush()

    assert words == [straight(sound, stream.shape) for sound, stream in zip(sounds, streams, strict=True)]


def test_streams_that_advance_together_share_calls_and_are_each_alone() -> None:
    network = Hearing()
    engine = streamer(network)
    sounds = [noise(seconds, seed) for seed, seconds in enumerate((3.0, 0.2, 1.8, 0.0))]
    streams = [engine.stream() for _ in sounds]

    first = engine.advance(streams, sounds)
    assert network.steps == [2, 2, 2, 1, 1]
    rest = engine.advance(streams, [silence(0)] * 4, last=True)

    assert network.steps[5:] == [4]
    assert [one + two for one, two in zip(first, rest, strict=True)] == [straight(sound) for sound in sounds]


def test_threads_share_one_recognizer() -> None:
    engine = streamer()

    def listen(seed: int) -> tuple[Token, ...]:
        stream = engine.stream()
        sound = noise(4.0, seed)
        return tuple(w for piece in pieces_of(sound, [700]) for w in stream.accept(piece)) + stream.flush()

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(listen, range(32)))

    assert found == [straight(noise(4.0, seed)) for seed in range(32)]


# States and faults


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 9), st.lists(st.integers(900, 30000), min_size=1, max_size=4))
def test_after_a_failed_step_the_same_call_can_be_made_again(at: int, sizes: list[int]) -> None:
    stream = streamer(Failing(Hearing(), at)).stream()
    words: tuple[Token, ...] = ()
    faults = 0
    for piece in [*pieces_of(SOUND, sizes), None]:
        before = stream.state
        while True:
            try:
                words += stream.flush() if piece is None else stream.accept(piece)
                break
            except MemoryError:
                faults += 1
                assert stream.state is before

    assert faults == 1 if at <= 8 else faults == 0  # 8 strides and what is left
    assert words == straight(SOUND)


def test_where_one_of_several_fails_none_has_moved() -> None:
    engine = streamer(Failing(Hearing(), 1))
    streams = [engine.stream(), engine.stream()]
    states = [stream.state for stream in streams]

    with pytest.raises(MemoryError):
        engine.advance(streams, [noise(2.0), noise(1.0)])

    assert [stream.state for stream in streams] == states


def test_a_state_is_frozen_and_small_and_does_not_grow() -> None:
    stream = streamer().stream()
    most = 0
    for second in range(300):
        stream.accept(noise(1.0, second))
        most = max(most, stream.nbytes)
    before = stream.state

    with pytest.raises(FrozenInstanceError):
        before.frames = 0  # type: ignore[misc]
    assert not before.waiting.flags.writeable
    assert most < 10 * ROW * 4 + 30_000
    assert len(pickle.dumps(before)) < 80_000


def test_the_callers_array_may_be_used_again() -> None:
    buffer = np.empty(1234, dtype=np.float32)
    stream = streamer().stream()
    words: tuple[Token, ...] = ()
    for piece in pieces_of(SOUND, [1234]):
        buffer[: len(piece)] = piece
        words += stream.accept(buffer[: len(piece)])

    assert words + stream.flush() == straight(SOUND)


def test_a_flushed_stream_takes_no_more_sound() -> None:
    stream = streamer().stream()
    stream.flush()

    with pytest.raises(InputError, match="flushed"):
        stream.accept(silence(1))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_no_sound_are_refused_and_the_stream_goes_on(bad: float) -> None:
    stream = streamer().stream()
    wrong = SOUND.copy()
    wrong[40] = bad

    with pytest.raises(InputError, match=f"sample 40 of {len(SOUND)} is {bad}"):
        stream.accept(wrong)
    assert stream.accept(SOUND) + stream.flush() == straight(SOUND)


@pytest.mark.parametrize("wrong", [np.zeros((2, 9), np.float32), np.zeros(9, np.int16)])
def test_arrays_that_are_no_mono_floats_are_refused(wrong: Samples) -> None:
    with pytest.raises(InputError, match=r"expected one channel"):
        streamer().stream().accept(wrong)


def test_a_stream_is_not_given_twice() -> None:
    engine = streamer()
    stream = engine.stream()

    with pytest.raises(InputError, match="twice"):
        engine.advance([stream, stream], [silence(1), silence(1)])


def test_a_state_keeps_its_shape() -> None:
    state = streamer(shape=ChunkShape(size=8, right=4)).stream().state

    assert streamer().stream(state=state).shape.size == 8
    with pytest.raises(InputError, match="cannot go on with"):
        streamer().stream(ChunkShape(), state)


def test_a_front_end_that_does_not_fit_chunks_is_refused() -> None:
    frontend = WavFrontend(FrontendConfig(dither=0.0, lfr_m=7, lfr_n=2))

    with pytest.raises(ModelFilesError, match="do not line up with chunks"):
        ParaformerStreamer(Hearing(), frontend, TOKENIZER)


# As a recognizer of utterances


def test_utterances_are_streamed_through_side_by_side() -> None:
    network = Hearing()
    sounds = [noise(2.0, 1), silence(0), noise(0.7, 2), noise(4.0, 3)]

    found = streamer(network).recognize(sounds)

    assert [transcript.tokens for transcript in found] == [
        straight(sound) if len(sound) else () for sound in sounds
    ]
    assert [transcript.duration_ms for transcript in found] == [2000, 0, 700, 4000]
    assert max(network.steps) == 3
    assert not any(transcript.timed for transcript in found)


def test_times_are_shown_when_they_are_asked_for() -> None:
    [transcript] = streamer(Scripted({2: "今", 6: "天"})).recognize(
        [silence(20)], DecodeOptions(timestamps=True)
    )

    assert transcript.text == "今 天"
    assert transcript.to_dict()["timestamp"] == [[60, 240], [300, 840]]


def test_the_words_of_a_stream_are_in_order_and_within_the_sound() -> None:
    for seed in range(20):
        sound = noise(0.31 * seed, seed)
        # As upstream: a symbol amid the parts of a word stands where it was written, not when it was said.
        words = [word for word in straight(sound) if word.text != "$"]
        ends = [0, *(word.end_ms for word in words)]
        starts = [*(word.start_ms for word in words), len(sound) // 16]
        known = [ms for pair in zip(starts, ends[1:], strict=False) for ms in pair if ms is not None]
        assert known == sorted(known)
        assert all(0 <= ms <= len(sound) // 16 for ms in known)


def test_the_text_of_a_stream_is_that_of_all_its_pieces_joined_at_once() -> None:
    """The recognizer of whole utterances joins all pieces in one go."""
    pieces = ["今", "hel@@", "好", "lo", "a", "i", "天", "$", "wor@@", "ld", "a", "今", "i", "wor@@"]
    script = {3 * i: piece for i, piece in enumerate(pieces)}
    stream: ParaformerStream = streamer(Scripted(script)).stream(ChunkShape(size=2, right=1))

    words = tuple(word for piece in pieces_of(silence(50), [500]) for word in stream.accept(piece))
    words += stream.flush()

    at_once = TOKENIZER.words([Token(text=piece) for piece in pieces])
    assert [word.text for word in words] == [word.text for word in at_once]
    assert Transcript(key="", tokens=words).text == "今好hello AI天$world a今i"
