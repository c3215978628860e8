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


def linear_relu(linear: nn.Module, x: Tensor) -> Tensor:
    """relu(linear(x)); fused where the layer can do it."""
    if isinstance(linear, PackedLinear):
        return linear.relu(x)
    y: Tensor = linear(x)
    return F.relu(y)


def prepare_for_inference(
    model: nn.Module, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32
) -> nn.Module:
    """Turn a loaded network into its fastest form on a device: it can no longer be trained or saved.

    On a CPU each linear layer is packed, one at a time, so that no two copies of all weights exist at once.
    A network with another form for inference gives it with its method `fused`; what LoRA learnt becomes part
    of the weights. Returns the model.
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
        pack_linears(model)
    return model


def pack_linears(model: nn.Module) -> None:
    """Replace every `nn.Linear` inside by its packed form, where this machine can run it."""
    for name, child in model.named_children():
        if isinstance(child, nn.Linear):
            if packing_supported(child.weight.dtype):
                setattr(model, name, PackedLinear(child))
        else:
            pack_linears(child)
