"""AutoModel: the documented face of the toolkit. Keyword arguments come in here and go no further."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from funasr.audio.inputs import Item, expand_input
from funasr.audio.load import AudioStream, open_audio
from funasr.auto import build
from funasr.auto.align import align_items
from funasr.auto.detect import detect_items, feed, is_live
from funasr.auto.engine import settled
from funasr.auto.features import recognize_features
from funasr.auto.hear import chunk_shape, hear, is_live_speech
from funasr.auto.live import open_stream, open_two_pass, require_live
from funasr.auto.options import CallOptions, SubModel, call_options, sort_options
from funasr.auto.output_dir import OutputDir
from funasr.auto.progress import progress_bar
from funasr.auto.punctuate import punctuate_items, punctuate_live
from funasr.auto.records import record_of
from funasr.auto.rewrite import HotwordReporter, rewriter
from funasr.auto.voices import embed_items, similarity, speaker_options
from funasr.config import merge
from funasr.errors import InputError, OptionError
from funasr.pipeline.cutting import DetectedSegments, SegmentStream
from funasr.pipeline.offline import OfflinePipeline, PipelineOptions, Progress, Recognizer
from funasr.pipeline.recordings import stream_recordings
from funasr.pipeline.stream import RecognitionStream
from funasr.pipeline.stream_state import StreamState
from funasr.pipeline.twopass import TwoPassStream
from funasr.result import Transcript
from funasr.speakers.cluster import ClusterOptions, require_scikit_learn
from funasr.stages.paraformer import DecodeOptions, ParaformerRecognizer
from funasr.stages.sense_voice import SenseVoiceRecognizer, language_name
from funasr.stages.streaming import ParaformerStreamer

logger = logging.getLogger(__name__)

LONG_WITHOUT_VAD_S = 120.0


class AutoModel:
    """One recognizer, with a voice activity detector before it and a punctuation model after it if you like.

    A speaker model beside it tells who says what. A detector, a punctuation model or a speaker model alone
    does its work too.

    >>> model = AutoModel(model="paraformer-zh", vad_model="fsmn-vad")
    >>> model.generate(input="meeting.mp3")
    [{'key': 'meeting', 'text': ..., 'timestamp': [[start_ms, end_ms], ...], 'confidence': [...]}]

    Options are those of `LoadOptions` and `CallOptions` (auto/options.py), `vad_model`, `vad_model_revision`,
    `vad_kwargs`, `punc_model`, `punc_model_revision`, `punc_kwargs`, `spk_model`, `spk_model_revision`,
    `spk_kwargs` (`cb_kwargs` in it are those of `ClusterOptions`), and any key of the model's config.yaml
    (`frontend_conf={...}`). Nothing is kept between calls: one AutoModel may be used by any number of threads
    at once.

    Raises OptionError for unknown names and bad values, ModelNotFoundError, HubError, ModelFilesError,
    MissingDependencyError.
    """

    def __init__(self, model: str | os.PathLike[str] | None = None, **kwargs: Any) -> None:
        kwargs = {"model": model, **kwargs}
        options = self._options = settled(sort_options(kwargs))
        self._defaults = options.call
        self._main = build.load(options)
        self._check_text(options.call)
        for kind in options.sub_models:
            if self._main.aligner is not None:
                if kind != "vad_model":
                    raise OptionError(f"{options.model!r} only finds times for a text; leave {kind} out")
            elif self._main.recognizer is None:
                what = "a voice activity detector" if self._main.detector else "a punctuation model"
                what = "a speaker model" if self._main.encoder else what
                raise OptionError(
                    f"{options.model!r} is {what} itself; leave {kind} out, or name a recognizer as the model"
                )
        self._vad = _load_sub_model("vad_model", options.sub_models.get("vad_model"))
        self._punc = _load_sub_model("punc_model", options.sub_models.get("punc_model"))
        self._cb_kwargs, speakers = _without_cb_kwargs(options.sub_models.get("spk_model"))
        if speakers is not None:
            require_scikit_learn()  # now, and not after an hour of recognition
        self._spk = _load_sub_model("spk_model", speakers)
        self.kwargs = merge(self._main.config, kwargs)
        """The model's settings and what was given."""
        self.vad_kwargs = dict(self._vad.config) if self._vad else {}
        self.punc_kwargs = dict(self._punc.config) if self._punc else {}
        self.spk_kwargs = dict(self._spk.config) if self._spk else {}

    @property
    def model_path(self) -> str:
        """The directory the model was read from."""
        return str(self._main.path or "")

    @property
    def model(self) -> Any:
        """The stage that does the work: a recognizer, Detector, Punctuator, Aligner or SpeakerEncoder."""
        main = self._main
        return main.recognizer or main.detector or main.punctuator or main.aligner or main.encoder

    @property
    def vad_model(self) -> Any:
        """The detector in front of the recognizer, or None."""
        return self._vad.detector if self._vad else None

    @property
    def punc_model(self) -> Any:
        """The Punctuator behind the recognizer, or None."""
        return self._punc.punctuator if self._punc else None

    @property
    def spk_model(self) -> Any:
        """The SpeakerEncoder beside the recognizer, or None."""
        return self._spk.encoder if self._spk else None

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
        one pair a word; and `words`, where blanks in the text do not part them), and `confidence` (one
        float a word); `return_raw_text=True` adds the words as they were heard, without marks, as
        `raw_text`, `sentence_timestamp=True` the sentences as `sentence_info`. With a `spk_model` there
        always is `sentence_info`, with `spk`: 0, 1 and so on as speakers are first heard, or a name of
        `speakers={"name": sound}`. A streaming recognizer called piece by piece (`cache={}` kept by the
        caller, `is_final=True` at the end) gives the `text` of each call. A speaker model alone gives `key`
        and `spk_embedding`, a tensor (1, E).
        An aligner's, of `input=(sound, text)` (or lists of either) with `data_type=("sound", "text")`, have
        `key`, `text` and `timestamp`. A detector's have `key` and `value`: [[start_ms, end_ms]], and on a
        live stream (`cache={}` kept by the caller, `is_final=True` at its end) `[start, -1]` and `[-1,
        end]` where only one of the two is known yet. A punctuation model's have `key`, `text` and
        `punc_array` (a label a word); a live text has a `cache` too. An input that fails gives a record
        with `error`, and the others go on, unless `on_error="raise"`.

        Raises OptionError for unknown options, InputError for an input of no known form.
        """
        options = self._call_options(cfg, input_len=input_len, progress_callback=progress_callback)
        if self._main.detector is not None:
            if is_live(input, options):
                return [feed(self._main.detector, input, options)]
            return detect_items(self._main.detector, self._items(input, options), options)
        if self._main.punctuator is not None:
            if self._main.punctuator.live and options.cache is not None:
                return punctuate_live(self._main.punctuator, input, options)
            options = replace(options, data_type="text")
            return punctuate_items(self._main.punctuator, self._items(input, options), options)
        if self._main.encoder is not None:
            return embed_items(self._main.encoder, self._items(input, options), options)
        recognizer = self._main.recognizer
        if isinstance(recognizer, ParaformerStreamer) and is_live_speech(input, options):
            if self._vad is not None or self._spk is not None:
                raise OptionError(
                    "cache= feeds a live stream to the recognizer alone: leave out vad_model and spk_model, "
                    "or use stream() or two_pass(), which join them"
                )
            return [hear(recognizer, self.punc_model, input, options)]
        reporter = None
        if options.return_hotword_report and recognizer is not None:
            reporter = HotwordReporter(recognizer, options)
            options = replace(options, hotword=reporter.given)
        speakers = self._spk is not None and options.return_spk_res
        with progress_bar(enabled=not options.disable_pbar) as bar:
            results = self._recognize(self._items(input, options), options, bar)
            return [record_of(transcript, options, reporter, speakers=speakers) for transcript in results]

    __call__ = generate

    def transcribe(
        self, input: Any, *, on_progress: Callable[[Progress], None] | None = None, **cfg: Any
    ) -> Iterator[Transcript]:
        """`generate` with typed results, each as soon as it is ready. `input` may also come from `expand`."""
        options = self._call_options(cfg)
        if self._main.recognizer is None and self._main.aligner is None:
            raise OptionError(f"{self._main.name!r} does not transcribe speech; use generate()")
        return self._recognize(self._items(input, options), options, on_progress)

    def stream(self, *, state: StreamState | None = None, **cfg: Any) -> RecognitionStream:
        """A live stream of a streaming recognizer, with the detector and the punctuation model there are.

        Options are those of `generate` that fit; chunks and memory are [0, 10, 5], 4 and 1 unless given.
        `state`: that of another stream of the same models and options, to go on where that one stood.
        """
        require_live(cfg)
        options = self._call_options(cfg)
        return open_stream(
            self._main.name, self._main.recognizer, self.vad_model, self.punc_model, options, state
        )

    def two_pass(
        self, draft: AutoModel | None = None, *, state: StreamState | None = None, **cfg: Any
    ) -> TwoPassStream:
        """A live stream in which each utterance is recognized when it ends, `draft` saying so far meanwhile.

        Needs a `vad_model`. `draft` is an AutoModel of a streaming recognizer, whose detector and punctuation
        are not used. With a `spk_model` every utterance has a speaker. Else as `stream`.
        """
        require_live(cfg)
        options = self._call_options(cfg)
        recognizer = self._main.recognizer
        if recognizer is None:
            raise OptionError(f"{self._main.name!r} does not turn speech into words; two_pass() needs that")
        return open_two_pass(
            recognizer,
            self.vad_model,
            self.punc_model,
            self.spk_model,
            getattr(draft, "model", draft),
            self._decode_options(recognizer, options),
            options,
            state,
        )

    def verify(self, first: Any, second: Any, *, fs: int | None = None) -> float:
        """How alike the voices in two sounds are: the cosine of their embeddings, -1 to 1.

        For a speaker model, alone or beside a recognizer. `fs` is the rate of arrays and raw bytes. Raises
        OptionError without a speaker model, InputError for sounds that cannot be used.
        """
        encoder = self._main.encoder or self.spk_model
        if encoder is None:
            raise OptionError(f"{self._main.name!r} knows no voices; verify() needs spk_model='cam++'")
        return similarity(encoder, first, second, fs)

    def expand(self, input: Any, **cfg: Any) -> list[Item]:
        """The inputs that `input` stands for (list files are read), with the keys their results will have."""
        return self._items(input, self._call_options(cfg))

    def _call_options(self, cfg: dict[str, Any], **more: Any) -> CallOptions:
        options = call_options(self._defaults, cfg | {k: v for k, v in more.items() if v is not None})
        self._check_text(options)
        return options

    def _check_text(self, options: CallOptions) -> None:
        if options.itn and self._main.recognizer is None:
            raise OptionError(f"use_itn: {self._main.name!r} does not turn speech into words; leave it out")
        rewriter(options, writes_digits=isinstance(self._main.recognizer, SenseVoiceRecognizer))

    def _items(self, input: Any, options: CallOptions) -> list[Item]:
        if isinstance(input, list) and input and all(isinstance(item, Item) for item in input):
            return input
        return expand_input(input, data_type=options.data_type, key=options.key, input_len=options.input_len)

    # Recognition

    def _recognize(
        self, items: Sequence[Item], options: CallOptions, on_progress: Callable[[Progress], None] | None
    ) -> Iterator[Transcript]:
        if self._main.aligner is not None:
            new_stream = self._new_detector_stream(options)
            yield from align_items(self._main.aligner, items, options, new_stream)
            return
        recognizer = self._main.recognizer
        assert recognizer is not None
        if options.data_type not in (None, "sound", "fbank"):
            raise InputError(
                f"data_type is {options.data_type!r}; {self._main.name!r} takes sound, or features as 'fbank'"
            )
        decode = self._decode_options(recognizer, options)
        speakers = self._spk is not None and options.return_spk_res
        if isinstance(recognizer, ParaformerStreamer):
            recognizer = recognizer.with_shape(chunk_shape(options, recognizer.shape))
        with ExitStack() as stack:
            output = stack.enter_context(OutputDir(options.output_dir)) if options.output_dir else None
            if options.data_type == "fbank":
                if speakers:
                    raise OptionError("features tell no voices apart: give sound, or return_spk_res=False")
                if isinstance(recognizer, ParaformerStreamer):
                    raise InputError(f"{self._main.name!r} is a streaming model, and takes sound only")
                results = recognize_features(recognizer, items, decode, options.batch_limits, self.punc_model)
            elif isinstance(recognizer, ParaformerStreamer) and self._vad is None and not speakers:
                results = stream_recordings(
                    recognizer,
                    items,
                    self._opener(recognizer.rate, options),
                    decode,
                    raise_errors=options.on_error == "raise",
                    on_progress=on_progress,
                )
                if self.punc_model is not None:
                    results = (marked for one in results for marked in self.punc_model.mark_words([one]))
            else:
                pipeline = OfflinePipeline(
                    recognizer, self._new_detector_stream(options), self.punc_model, self.spk_model
                )
                how = self._pipeline_options(options, on_progress)
                results = pipeline.run(items, self._opener(recognizer.rate, options), decode, how)
            writes_digits = isinstance(recognizer, SenseVoiceRecognizer)
            rewrite = rewriter(options, writes_digits=writes_digits).rewrite
            for done, transcript in enumerate(map(rewrite, results), 1):
                if output is not None:
                    output.write_transcript(transcript)
                if options.progress_callback is not None:
                    options.progress_callback(done, len(items))
                yield transcript

    def export(
        self,
        input: Any = None,
        *,
        type: str = "onnx",
        quantize: bool = False,
        opset_version: int = 14,
        output_dir: str | os.PathLike[str] | None = None,
        **cfg: Any,
    ) -> str:
        """Write the model as ONNX -> the directory: that of its weights, or `output_dir`.

        `quantize=True` writes the graphs with integer weights too. Each is compared with torch on `input`,
        recordings or texts; without, on short recordings that come with the package. Sub-models are not
        exported. Raises ExportError where a graph does not do what the network does; no file is left then.
        """
        from funasr.auto.export import export

        given = {"input": input, "type": type, "quantize": quantize, "opset_version": opset_version, **cfg}
        done = export(self._options, {**given, "output_dir": output_dir}, tell=logger.info)
        return str(done.folder)

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
        times = options.times
        if options.output_timestamp is None and self._spk is not None and options.return_spk_res:
            times = True
        if times and not getattr(getattr(recognizer, "network", None), "can_be_timed", True):
            logger.warning(
                "the ONNX graph of %r has nothing to take times from; engine='torch' does", self._main.name
            )
            times = False
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
        if hotwords is not None:
            hotwords = replace(hotwords, scale=options.clas_scale)
        return DecodeOptions(hotwords=hotwords, timestamps=times)

    def _pipeline_options(
        self, options: CallOptions, on_progress: Callable[[Progress], None] | None
    ) -> PipelineOptions:
        return PipelineOptions(
            limits=options.batch_limits,
            merge_length_ms=int(options.merge_length_s * 1000) if options.merge_vad else None,
            speakers=speaker_options(self.spk_model, options, self._cb_kwargs),
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
            whole = self._vad is None and not isinstance(self._main.recognizer, ParaformerStreamer)
            if whole and sound.duration is not None and sound.duration > LONG_WITHOUT_VAD_S:
                logger.warning(
                    "%s is %.0f s long and goes through the network in one piece; vad_model='fsmn-vad' "
                    "would cut it into sentences",
                    item.key,
                    sound.duration,
                )
            return sound

        return open_sound


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
    if kind == "spk_model" and loaded.encoder is None:
        raise OptionError(f"spk_model={sub.name!r} is no speaker model; 'cam++' is one")
    return loaded


def _without_cb_kwargs(sub: SubModel | None) -> tuple[dict[str, Any], SubModel | None]:
    """`spk_kwargs` -> how voices are clustered (`cb_kwargs` among them), and how the model is built."""
    if sub is None:
        return {}, None
    rest = {name: value for name, value in sub.kwargs.items() if name != "cb_kwargs"}
    given = sub.kwargs.get("cb_kwargs") or {}
    ClusterOptions.from_official(given)
    return dict(given), replace(sub, kwargs=rest)
