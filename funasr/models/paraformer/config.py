"""config.yaml -> the settings of the Paraformer family, with the official field names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from funasr.config import pick, refuse_typed, section
from funasr.errors import ModelFilesError, OptionError
from funasr.models.paraformer.decoder import UNUSED_DECODER_KEYS, DecoderConfig
from funasr.nn.cif import UNUSED_PREDICTOR_KEYS, CifPredictorConfig, require_equal_widths
from funasr.nn.sanm import UNUSED_ENCODER_KEYS, SanmEncoderConfig
from funasr.nn.specaug import UNUSED_SPECAUG_KEYS, SpecAugLfrConfig
from funasr.values import checked

C = TypeVar("C", bound="ParaformerConfig")


@dataclass(frozen=True, kw_only=True)
class ParaformerConfig:
    """Everything a network and its loss need. Fields without a section of their own are `model_conf`'s."""

    vocab_size: int
    input_size: int
    """Width of a feature frame: n_mels * lfr_m."""
    encoder: SanmEncoderConfig
    decoder: DecoderConfig
    predictor: CifPredictorConfig
    specaug: SpecAugLfrConfig | None = None

    sos: int = 1
    eos: int = 2
    blank_id: int = 0
    ignore_id: int = -1
    lsm_weight: float = 0.0
    length_normalized_loss: bool = False
    predictor_weight: float = 0.0
    predictor_bias: int = 0
    """Extra tokens each sentence is trained to end with: 1 is `</s>`."""
    sampling_ratio: float = 0.2
    ctc_weight: float = 0.0
    """Share of a CTC loss on the encoder in training; where it is not 0 the network has a CTC head."""
    share_embedding: bool = False
    inner_dim: int = 256
    """Width of the hotword encoder (SeACo, Contextual)."""
    bias_encoder_type: str = "lstm"
    bias_encoder_bid: bool = False
    use_decoder_embedding: bool = False
    """Contextual: phrases use the decoder's token vectors instead of a table of their own."""
    NO_BIAS: int = 8377
    """Id that the hotword branch answers where no hotword is (SeACo)."""
    seaco_decoder: DecoderConfig | None = None
    seaco_lsm_weight: float = 0.0
    seaco_length_normalized_loss: bool = True
    seaco_weight: float = 0.01
    """SeACo: weight of the main decoder's loss beside that of the hotword branch."""
    train_decoder: bool = True
    """SeACo: whether there is such a loss at all."""

    @classmethod
    def from_official(cls: type[C], raw: Mapping[str, Any], vocab_size: int, input_size: int) -> C:
        """Raises ModelFilesError where config.yaml asks for parts that are not built here."""
        _check_class(raw, "encoder", "SANMEncoder", "SANMEncoderChunkOpt")
        _check_class(raw, "decoder", "ParaformerSANMDecoder", "ContextualParaformerDecoder")
        _check_class(raw, "predictor", "CifPredictorV2", "CifPredictorV3")
        model_conf = section(raw, "model_conf")
        refuse_typed(model_conf, {field.name for field in fields(cls)}, "model_conf")
        given = {
            field.name: raw.get(field.name, model_conf.get(field.name, field.default))
            for field in fields(cls)
            if field.type in ("int", "float", "bool", "str")
            if field.name not in ("vocab_size", "input_size")
        }
        try:
            scalars = checked(cls, given)
        except OptionError as error:
            raise ModelFilesError(f"model_conf: {error}") from error
        specaug = None
        if raw.get("specaug") is not None:
            _check_class(raw, "specaug", "SpecAugLFR")
            specaug = pick(
                SpecAugLfrConfig, section(raw, "specaug_conf"), "specaug_conf", UNUSED_SPECAUG_KEYS
            )
        seaco = None
        if raw.get("seaco_decoder") is not None:
            _check_class(raw, "seaco_decoder", "ParaformerSANMDecoder")
            seaco = _decoder(raw, "seaco_decoder_conf")
        encoder = pick(SanmEncoderConfig, section(raw, "encoder_conf"), "encoder_conf", UNUSED_ENCODER_KEYS)
        predictor = pick(
            CifPredictorConfig, section(raw, "predictor_conf"), "predictor_conf", UNUSED_PREDICTOR_KEYS
        )
        require_equal_widths(encoder, predictor)
        return cls(
            vocab_size=vocab_size,
            input_size=input_size,
            encoder=encoder,
            decoder=_decoder(raw, "decoder_conf"),
            predictor=predictor,
            specaug=specaug,
            seaco_decoder=seaco,
            **scalars,
        )


def _decoder(raw: Mapping[str, Any], name: str) -> DecoderConfig:
    return pick(DecoderConfig, section(raw, name), name, UNUSED_DECODER_KEYS)


def _check_class(raw: Mapping[str, Any], part: str, *known: str) -> None:
    if raw.get(part, known[0]) not in known:
        raise ModelFilesError(
            f"config.yaml: {part} is {raw[part]!r}; a {raw.get('model', 'Paraformer')} is built with "
            f"{' or '.join(known)}"
        )
