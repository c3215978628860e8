"""Linear layers whose weight is stored as oneDNN wants it: much faster on a CPU for short inputs.

Plain `nn.Linear` lets MKL reorder the weight on every call. Here it is reordered once, at loading, which
changes results by rounding only. The operators are private to torch, so everything that touches them is in
this file, and `pack_linear` leaves a layer as it is when they are missing.
"""

from __future__ import annotations

from typing import NoReturn

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from funasr.nn.lora import merge_lora

SINGLE = ("predictor",)
"""Parts that stay float32 whatever the rest is: sums of firing weights need the digits."""


def packing_supported(dtype: torch.dtype) -> bool:
    """Can this torch, on this machine, run packed linear layers of that type?"""
    if not torch._C._has_mkldnn or not hasattr(torch.ops, "mkldnn"):
        return False
    ops = torch.ops.mkldnn
    if not hasattr(ops, "_reorder_linear_weight") or not hasattr(ops, "_linear_pointwise"):
        return False
    if dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return dtype == torch.float32


class PackedLinear(nn.Module):
    """An `nn.Linear` for CPU inference. The weight is opaque: it cannot be saved or trained."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        weight = linear.weight.detach()
        # A plain attribute: an opaque tensor must not take part in state_dict() or .to().
        self._packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight)
        self._bias = None if linear.bias is None else linear.bias.detach()

    def forward(self, x: Tensor) -> Tensor:
        return self._apply_packed(x, "none")

    def relu(self, x: Tensor) -> Tensor:
        """relu(forward(x)), in one pass."""
        return self._apply_packed(x, "relu")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a packed layer cannot be copied or pickled: load the network again instead")

    def _save_to_state_dict(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("a packed network has no weights to save: save it before prepare_for_inference")

    def _apply_packed(self, x: Tensor, then: str) -> Tensor:
        y: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._packed, self._bias, then, [], "")
        return y


class ColumnLinear(nn.Module):
    """An `nn.Linear` for CPU inference over inputs of ever new lengths, its weight transposed in memory.

    That is all that MKL needs. For each new length oneDNN first makes code: two thirds of a millisecond.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        columns = linear.weight.detach().t().contiguous()
        self.weight = nn.Parameter(columns.t(), requires_grad=False)
        self.bias = None if linear.bias is None else nn.Parameter(linear.bias.detach(), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)

    def relu(self, x: Tensor) -> Tensor:
        """relu(forward(x))."""
        return F.linear(x, self.weight, self.bias).relu_()


def linear_relu(linear: nn.Module, x: Tensor) -> Tensor:
    """relu(linear(x)); fused where the layer can do it."""
    if isinstance(linear, (PackedLinear, ColumnLinear)):
        return linear.relu(x)
    y: Tensor = linear(x)
    return F.relu(y)


def conv_relu(conv: nn.Conv2d, x: Tensor, around: Tensor | None = None) -> Tensor:
    """relu(conv(x)), or relu(conv(x) + around), in one pass where torch can; `around` may be overwritten."""
    if (
        x.device.type != "cpu"
        or torch.is_grad_enabled()
        or torch.onnx.is_in_onnx_export()
        or not packing_supported(x.dtype)
        or not hasattr(torch.ops.mkldnn, "_convolution_pointwise_")
    ):
        y: Tensor = conv(x)
        return F.relu_(y if around is None else y.add_(around))
    of = (conv.weight, conv.bias, conv.padding, conv.stride, conv.dilation, conv.groups)
    if around is None:
        y = torch.ops.mkldnn._convolution_pointwise(x, *of, "relu", [], "")
    else:
        y = torch.ops.mkldnn._convolution_pointwise_.binary(around, x, *of, "add", 1.0, "relu", [], "")
    return y


def prepare_for_inference(
    model: nn.Module, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32
) -> nn.Module:
    """Turn a loaded network into its fastest form on a device: it can no longer be trained or saved.

    On a CPU each linear layer is packed, one at a time, so that no two copies of all weights exist at once.
    A network with another form for inference gives it with its method `fused`; one with batches of ever new
    lengths says so with `new_lengths`. What LoRA learnt becomes part of the weights. Returns the model.
    """
    device = torch.device(device)
    merge_lora(model)
    if callable(getattr(model, "fused", None)):
        model = model.fused()  # type: ignore[operator]
    model.eval().requires_grad_(False)
    model.to(device)
    for name, part in model.named_children():
        part.to(torch.float32 if name in SINGLE else dtype)
    for parameter in model.parameters(recurse=False):
        parameter.data = parameter.data.to(dtype)
    if device.type == "cpu":
        new_lengths = getattr(model, "new_lengths", False) and dtype == torch.float32
        pack_linears(model, ColumnLinear if new_lengths else PackedLinear)
    return model


def pack_linears(model: nn.Module, form: type[PackedLinear | ColumnLinear] = PackedLinear) -> None:
    """Replace every `nn.Linear` inside by its packed form, where this machine can run it."""
    for name, child in model.named_children():
        if isinstance(child, nn.Linear):
            if form is ColumnLinear or packing_supported(child.weight.dtype):
                setattr(model, name, form(child))
        else:
            pack_linears(child, form)
