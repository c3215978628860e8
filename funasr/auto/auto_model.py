"""AutoModel: the documented face of the toolkit. Keyword arguments come in here and go no further."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from funasr.arrays import Samples
from funasr.audio.inputs import Item, expand_input
from funasr.audio.load import AudioStream, load_audio, open_audio
from funasr.auto import build
from funasr.auto.align import align_items
from funasr.auto.options import CallOptions, SubModel, call_options, sort_options
from funasr.auto.output_dir import OutputDir
from funasr.auto.progress import progress_bar
from funasr.auto.punctuate import punctuate_items, punctuate_live
from funasr.config import merge
from funasr.errors import FunASRError, InputError, OptionError
from funasr.pipeline.cutting import DetectedSegments, SegmentStream
from funasr.pipeline.offline import OfflinePipeline, PipelineOptions, Progress, Recognizer
from funasr.result import Transcript
from funasr.stages.detector import Detector, DetectorStream
from funasr.stages.paraformer import DecodeOptions, ParaformerRecognizer
from funasr.stages.punctuation import Punctuator
from funasr.stages.sense_voice import SenseVoiceRecognizer, language_name
from funasr.text.sentences import make_sentences
from funasr.vad.segments import stream_pairs

logger = logging.getLogger(__name__)

STREAM_KEY = "funasr.stream"
"""Where the caller's `cache` dict holds our stream object between calls."""

LONGEST_STREAMING_CHUNK_MS = 15_000
"""As upstream: a detector called with a shorter chunk_size is fed a live stream."""

LONG_WITHOUT_VAD_S = 120.0


class AutoModel:
    """One recognizer, with a voice activity detector before it and a punctuation model after it if you like.

    A detector or a punctuation model alone does its work too.

    >>> model = AutoModel(model="paraformer-zh", vad_model="fsmn-vad")
    >>> model.generate(input="meeting.mp3")
    [{'key': 'meeting', 'text': ..., 'timestamp': [[start_ms, end_ms], ...], 'confidence': [...]}]

    Options are those of `LoadOptions` and `CallOptions` (auto/options.py), `vad_model`, `vad_model_revision`,
    `vad_kwargs`, `punc_model`, `punc_model_revision`, `punc_kwargs`, and any key of the model's config.yaml
    (`frontend_conf={...}`). Nothing is kept between calls: one AutoModel may be used by any number of threads
    at once.

    Raises OptionError for unknown names and bad values, ModelNotFoundError, HubError, ModelFilesError,
    MissingDependencyError.
    """

    def __init__(self, **kwargs: Any) -> None:
        options = sort_options(kwargs)
        if "spk_model" in options.sub_models:
            raise OptionError("spk_model: this version has no models of that kind yet; leave the option out")
        self._defaults = options.call
        self._main = build.load(options)
        self._check_itn(options.call)
        for kind in options.sub_models:
            if self._main.aligner is not None:
                raise OptionError(f"{options.model!r} only finds times for a text; leave {kind} out")
            if self._main.recognizer is None:
                what = "a voice activity detector" if self._main.detector else "a punctuation model"
                raise OptionError(f"{options.model!r} is {what} itself; leave {kind} out")
        self._vad = _load_sub_model("vad_model", options.sub_models.get("vad_model"))
        self._punc = _load_sub_model("punc_model", options.sub_models.get("punc_model"))
        self.kwargs = merge(self._main.config, kwargs)
        """The model's settings and what was given."""
        self.vad_kwargs = dict(self._vad.config) if self._vad else {}
        self.punc_kwargs = dict(self._punc.config) if self._punc else {}

    @property
    def model_path(self) -> str:
        """The directory the model was read from."""
        return str(self._main.path or "")

    @property
    def model(self) -> Any:
        """The stage that does the work: a recognizer, a Detector, a Punctuator or an Aligner."""
        return self._main.recognizer or self._main.detector or self._main.punctuator or self._main.aligner

    @property
    def vad_model(self) -> Any:
        """The detector in front of the recognizer, or None."""
        return self._vad.detector if self._vad else None

    @property
    def punc_model(self) -> Any:
        """The Punctuator behind the recognizer, or None."""
        return self._punc.punctuator if self._punc else None

    def generate(
        self,
        input: Any,
        input_len: Any = None,
        progress_callback: Callable[[int, int], None] | None = None,
        **cfg: Any,
    ) -> list[dict[str, Any]]:
        """Recognize, detect speech in, or punctuate any documented form of input: one record each, in order.

        `input`: a path, URL, bytes, file object, array, tensor, a list of these, a list file (wav.scp,
        .jsonl, .txt), or features (B, T, D) with `input_len` and `data_type="fbank"`. Other options are those
        of `CallOptions`, and of `VadOptions` by their own names. `progress_callback(done, total)` counts
        inputs.

        A recognizer's records have `key`, `text`, for models with times `timestamp` ([[start_ms, end_ms]],
        one pair a word; and `words`, where blanks in the text do not part them), and `confidence` (one float
        a word); `return_raw_text=True` adds the text without marks as `raw_text`, `sentence_timestamp=True`
        the sentences as `sentence_info`. An aligner's, of `input=(sound, text)` (or lists of either) with
        `data_type=("sound", "text")`, have `key`, `text` and `timestamp`. A detector's have
        `key` and `value`: [[start_ms, end_ms]], and on a live stream (`cache={}` kept by the caller,
        `is_final=True` at its end) `[start, -1]` and `[-1, end]` where only one of the two is known yet. A
        punctuation model's have `key`, `text` and `punc_array` (a label a word); a live text has a `cache`
        too. An input that fails gives a record with `error`, and the others go on, unless `on_error="raise"`.

        Raises OptionError for unknown options, InputError for an input of no known form.
        """
        options = self._call_options(cfg, input_len=input_len, progress_callback=progress_callback)
        if self._main.detector is not None:
            return self._detect(self._main.detector, input, options)
        if self._main.punctuator is not None:
            if self._main.punctuator.live and options.cache is not None:
                return punctuate_live(self._main.punctuator, input, options)
            options = replace(options, data_type="text")
            return punctuate_items(self._main.punctuator, self._items(input, options), options)
        records = []
        with progress_bar(enabled=not options.disable_pbar) as bar:
            for transcript in self._recognize(self._items(input, options), options, bar):
                record = transcript.to_dict()
                if options.return_raw_text:
                    record["raw_text"] = transcript.raw_text
                if options.sentence_timestamp:
                    record["sentence_info"] = _sentence_info(transcript, options)
                records.append(record)
        return records

    __call__ = generate

    def transcribe(
        self, input: Any, *, on_progress: Callable[[Progress], None] | None = None, **cfg: Any
    ) -> Iterator[Transcript]:
        """`generate` with typed results, each as soon as it is ready. `input` may also come from `expand`."""
        options = self._call_options(cfg)
        if self._main.recognizer is None and self._main.aligner is None:
            raise OptionError(f"{self._main.name!r} does not transcribe speech; use generate()")
        return self._recognize(self._items(input, options), options, on_progress)

    def expand(self, input: Any, **cfg: Any) -> list[Item]:
        """The inputs that `input` stands for (list files are read), with the keys their results will have."""
        return self._items(input, self._call_options(cfg))

    def _call_options(self, cfg: dict[str, Any], **more: Any) -> CallOptions:
        options = call_options(self._defaults, cfg | {k: v for k, v in more.items() if v is not None})
        self._check_itn(options)
        return options

    def _check_itn(self, options: CallOptions) -> None:
        if options.itn and not isinstance(self._main.recognizer, SenseVoiceRecognizer):
            raise OptionError(
                f"use_itn: {self._main.name!r} writes numbers as they are spoken; SenseVoice can write digits"
            )

    def _items(self, input: Any, options: CallOptions) -> list[Item]:
        if isinstance(input, list) and input and all(isinstance(item, Item) for item in input):
            return input
        return expand_input(input, data_type=options.data_type, key=options.key, input_len=options.input_len)

    # Recognition

    def _recognize(
        self, items: Sequence[Item], options: CallOptions, on_progress: Callable[[Progress], None] | None
    ) -> Iterator[Transcript]:
        if self._main.aligner is not None:
            yield from align_items(self._main.aligner, items, options)
            return
        recognizer = self._main.recognizer
        assert recognizer is not None
        decode = self._decode_options(recognizer, options)
        with ExitStack() as stack:
            output = stack.enter_context(OutputDir(options.output_dir)) if options.output_dir else None
            if options.data_type == "fbank":
                results = _recognize_features(recognizer, items, decode, self.punc_model)
            else:
                pipeline = OfflinePipeline(recognizer, self._new_detector_stream(options), self.punc_model)
                how = self._pipeline_options(options, on_progress)
                results = pipeline.run(items, self._opener(recognizer.rate, options), decode, how)
            for done, transcript in enumerate(results, 1):
                if output is not None:
                    output.write_transcript(transcript)
                if options.progress_callback is not None:
                    options.progress_callback(done, len(items))
                yield transcript

    def _decode_options(self, recognizer: Recognizer, options: CallOptions) -> DecodeOptions:
        given = options.hotword if options.hotword is not None else options.hotwords
        hotwords = None
        if given is not None:
            if isinstance(recognizer, ParaformerRecognizer) and recognizer.network.accepts_hotwords:
                hotwords, _ = recognizer.hotwords(given)
            else:
                logger.warning(
                    "model %r takes no hotwords; paraformer-zh does. They are ignored.", self._main.name
                )
        times = options.pred_timestamp or options.output_timestamp or options.return_time_stamps
        if isinstance(recognizer, SenseVoiceRecognizer):
            return DecodeOptions(
                timestamps=times,
                language=language_name(options.language),
                itn=options.itn,
                ban_unknown_emotion=options.ban_emo_unk,
            )
        if options.language is not None:
            logger.info(
                "model %r has no choice of language; language=%r changes nothing",
                self._main.name,
                options.language,
            )
        return DecodeOptions(hotwords=hotwords, timestamps=times)

    def _pipeline_options(
        self, options: CallOptions, on_progress: Callable[[Progress], None] | None
    ) -> PipelineOptions:
        return PipelineOptions(
            limits=options.batch_limits,
            merge_length_ms=int(options.merge_length_s * 1000) if options.merge_vad else None,
            raise_errors=options.on_error == "raise",
            on_progress=on_progress,
        )

    def _new_detector_stream(self, options: CallOptions) -> Callable[[], SegmentStream] | None:
        if self._vad is None:
            if options.vad:
                raise OptionError(f"{next(iter(options.vad))!r} needs a vad_model, and there is none")
            return None
        detector = self._vad.detector
        assert detector is not None
        chosen = detector.options.override(options.vad)
        return lambda: DetectedSegments(detector.file_stream(chosen))

    def _opener(self, rate: int, options: CallOptions) -> Callable[[Item], AudioStream]:
        def open_sound(item: Item) -> AudioStream:
            sound = open_audio(item.source, rate, source_rate=options.fs, channels=options.channels)
            if self._vad is None and sound.duration is not None and sound.duration > LONG_WITHOUT_VAD_S:
                logger.warning(
                    "%s is %.0f s long and goes through the network in one piece; vad_model='fsmn-vad' "
                    "would cut it into sentences",
                    item.key,
                    sound.duration,
                )
            return sound

        return open_sound

    # Detection

    def _detect(self, detector: Detector, input: Any, options: CallOptions) -> list[dict[str, Any]]:
        chosen = detector.options.override(options.vad)
        if self._is_live(input, options):
            return [self._feed(detector, input, options, chosen)]
        items = self._items(input, options)
        records: list[dict[str, Any]] = []
        with ExitStack() as stack:
            output = stack.enter_context(OutputDir(options.output_dir)) if options.output_dir else None
            for done, item in enumerate(items, 1):
                record = self._detect_one(detector, item, options, chosen)
                records.append(record)
                if output is not None:
                    output.write_segments(record)
                if options.progress_callback is not None:
                    options.progress_callback(done, len(items))
        return records

    def _detect_one(
        self, detector: Detector, item: Item, options: CallOptions, chosen: Any
    ) -> dict[str, Any]:
        try:
            with open_audio(item.source, detector.fs, source_rate=options.fs) as sound:
                segments = detector.segments((block[0] for block in sound), chosen)
        except FunASRError as error:
            if options.on_error == "raise":
                raise
            logger.warning("%s: %s", item.key, error)
            return {"key": item.key, "value": [], "error": str(error)}
        return {"key": item.key, "value": [[segment.start_ms, segment.end_ms] for segment in segments]}

    def _is_live(self, input: Any, options: CallOptions) -> bool:
        """As upstream: a short chunk_size means a live stream, but never for a file."""
        if isinstance(input, (str, Path)) or hasattr(input, "read"):
            return False
        if isinstance(input, (list, tuple)) and not all(isinstance(x, (int, float)) for x in input):
            return False
        if options.is_streaming_input is not None:
            return options.is_streaming_input
        return isinstance(options.chunk_size, int) and options.chunk_size < LONGEST_STREAMING_CHUNK_MS

    def _feed(self, detector: Detector, input: Any, options: CallOptions, chosen: Any) -> dict[str, Any]:
        cache = options.cache if options.cache is not None else {}
        stream = cache.get(STREAM_KEY)
        if stream is None:
            stream = cache[STREAM_KEY] = detector.stream(chosen, chunk_ms=options.chunk_size)
        if not isinstance(stream, DetectorStream):
            raise InputError("cache belongs to another model; begin every stream with cache={}")
        events = stream.accept(_chunk(input, detector.fs, options.fs))
        if options.is_final:
            events += stream.flush()
            cache.clear()
        return {"key": str(options.key or "stream"), "value": stream_pairs(events)}


def _load_sub_model(kind: str, sub: SubModel | None) -> build.Loaded | None:
    if sub is None:
        return None
    loaded = build.load(
        sort_options({**sub.kwargs, "model": sub.name}, where=kind.replace("_model", "_kwargs"))
    )
    if kind == "vad_model" and loaded.detector is None:
        raise OptionError(f"vad_model={sub.name!r} is no voice activity detector; 'fsmn-vad' is one")
    if kind == "punc_model" and loaded.punctuator is None:
        raise OptionError(f"punc_model={sub.name!r} is no punctuation model; 'ct-punc' is one")
    return loaded


def _chunk(input: Any, rate: int, source_rate: int | None) -> Samples:
    """A piece of a live stream as samples. Rates must agree: pieces cannot be resampled one by one."""
    if source_rate is not None and source_rate != rate:
        raise InputError(f"a live stream must come at {rate} Hz, not fs={source_rate}; resample it first")
    if isinstance(input, (bytes, bytearray)):  # never a container: a piece of sound may begin like one
        input = np.frombuffer(input[: len(input) // 2 * 2], dtype="<i2")
    return load_audio(input, rate, source_rate=rate)


def _recognize_features(
    recognizer: ParaformerRecognizer | SenseVoiceRecognizer,
    items: Sequence[Item],
    decode: DecodeOptions,
    punctuator: Punctuator | None,
) -> Iterator[Transcript]:
    for item in items:
        features = np.asarray(item.source, dtype=np.float32)
        lengths = np.asarray([len(features)], dtype=np.int64)
        [result] = recognizer.recognize_features(features[None], lengths, decode)
        result = replace(result, key=item.key)
        yield punctuator.mark_words([result])[0] if punctuator is not None else result


def _sentence_info(transcript: Transcript, options: CallOptions) -> list[dict[str, Any]]:
    """One entry a sentence, or a speech segment that has words: upstream's keys, times in ms."""
    if transcript.punctuated and transcript.timed:
        return [
            sentence.to_dict(english=options.en_post_proc, raw_text=options.return_raw_text)
            for sentence in make_sentences(transcript)
        ]
    sentences = []
    for segment in transcript.segments:
        first, stop = segment.first_token, segment.stop_token
        if first == stop:
            continue
        text = transcript.text_of(first, stop)
        sentence: dict[str, Any] = {
            "text": text,
            "sentence": text,
            "start": segment.start_ms,
            "end": segment.end_ms,
        }
        if transcript.timed:
            tokens = transcript.tokens[first:stop]
            sentence["timestamp"] = [[token.start_ms, token.end_ms] for token in tokens]
        sentences.append(sentence)
    return sentences
