"""Packed layers compute what plain ones do."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

from funasr.nn import packed
from funasr.nn.packed import (
    ColumnLinear,
    PackedLinear,
    conv_relu,
    linear_relu,
    pack_linears,
    packing_supported,
    prepare_for_inference,
)

needs_packing = pytest.mark.skipif(
    not packing_supported(torch.float32), reason="this torch has no oneDNN linear operators"
)


@pytest.mark.parametrize("form", [pytest.param(PackedLinear, marks=needs_packing), ColumnLinear])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 1, 48), (1, 10, 48), (3, 167, 48), (7, 48), (2, 0, 48)])
def test_packed_and_plain_agree(
    bias: bool, shape: tuple[int, ...], form: type[PackedLinear | ColumnLinear]
) -> None:
    torch.manual_seed(0)
    plain, x = nn.Linear(48, 70, bias=bias), torch.randn(shape)
    fast = form(plain)

    with torch.inference_mode():
        torch.testing.assert_close(fast(x), plain(x), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(linear_relu(fast, x), plain(x).relu(), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(linear_relu(plain, x), plain(x).relu())


@needs_packing
def test_inputs_need_not_be_contiguous() -> None:
    torch.manual_seed(0)
    plain, x = nn.Linear(48, 70), torch.randn(2, 48, 9).transpose(1, 2)

    with torch.inference_mode():
        torch.testing.assert_close(PackedLinear(plain)(x), plain(x), atol=1e-5, rtol=1e-5)


@pytest.mark.skipif(not packing_supported(torch.bfloat16), reason="no bfloat16 in this processor")
def test_bfloat16_packs_too() -> None:
    torch.manual_seed(0)
    plain, x = nn.Linear(48, 70).bfloat16(), torch.randn(2, 9, 48).bfloat16()

    with torch.inference_mode():
        torch.testing.assert_close(PackedLinear(plain)(x), plain(x), atol=0.05, rtol=0.05)


def test_without_the_operators_layers_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "packing_supported", lambda dtype: False)
    model = nn.Sequential(nn.Linear(3, 4))

    pack_linears(model)

    assert type(model[0]) is nn.Linear


@needs_packing
def test_every_linear_layer_inside_is_packed_once() -> None:
    inner = nn.Linear(4, 4)
    model = nn.Sequential(nn.Linear(3, 4), nn.ModuleDict({"a": inner, "b": nn.LayerNorm(4)}))

    prepare_for_inference(model)
    prepare_for_inference(model)

    assert [type(part).__name__ for part in model.modules()] == [
        "Sequential",
        "PackedLinear",
        "ModuleDict",
        "PackedLinear",
        "LayerNorm",
    ]
    assert not any(p.requires_grad for p in model.parameters())


@needs_packing
@pytest.mark.parametrize(("dtype", "form"), [(torch.float32, ColumnLinear), (torch.bfloat16, PackedLinear)])
def test_a_network_of_ever_new_lengths_is_left_to_mkl(dtype: torch.dtype, form: type[nn.Module]) -> None:
    if not packing_supported(dtype):
        pytest.skip("no bfloat16 in this processor")
    model = nn.Sequential(nn.Sequential(nn.Linear(3, 4)))
    model.new_lengths = True  # type: ignore[assignment]

    prepare_for_inference(model, dtype=dtype)

    assert type(model[0][0]) is form


@pytest.mark.parametrize("supported", [True, False])
@pytest.mark.parametrize("way", ["alone", "around", "around itself"])
def test_a_convolution_with_what_follows_it_in_one_pass(
    way: str, supported: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not supported:
        monkeypatch.setattr(packed, "packing_supported", lambda dtype: False)
    torch.manual_seed(0)
    conv = nn.Conv2d(4, 4, 3, padding=1).requires_grad_(False)
    x = torch.randn(2, 4, 9, 7).contiguous(memory_format=torch.channels_last)
    around = {"alone": None, "around": torch.randn(2, 4, 9, 7), "around itself": x}[way]
    expected = (conv(x) + (0 if around is None else around)).relu()

    with torch.inference_mode():
        got = conv_relu(conv, x.clone(), None if around is None else around.clone())

    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


def test_sixteen_bits_leave_predictors_alone() -> None:
    model = nn.ModuleDict({"predictor": nn.LayerNorm(3), "encoder": nn.LayerNorm(3)})

    prepare_for_inference(model, dtype=torch.bfloat16)

    assert [part.weight.dtype for part in model.values()] == [torch.float32, torch.bfloat16]


@needs_packing
def test_packed_weights_cannot_be_saved_by_accident() -> None:
    layer = PackedLinear(nn.Linear(3, 4))

    with pytest.raises(TypeError, match="packed"):
        pickle.dumps(layer)
    with pytest.raises(TypeError, match="packed"):
        copy.deepcopy(layer)
    with pytest.raises(TypeError, match="packed"):
        layer.state_dict()
