"""Linear maps laid out for inference on a CPU.

oneDNN multiplies fastest with weights in a layout of its own; torch repacks them at each call, or gives fp32 to MKL,
which on processors of other makers than Intel reaches half of oneDNN's rate. So a model that is loaded to translate
gets its weights packed once. The rule looks at the processor only, never at a timing or the size of a batch.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mtkit.model.linear import Linear, has_onednn, packs_fp32
from mtkit.model.transformer import Transformer
from mtkit.runtime.device import InferencePrecision

# What a scale is at least, so that a row of zeros has one.
_SMALLEST = 1e-30

_multiply = torch.ops.mkldnn._linear_pointwise.default
_multiply_add = torch.ops.mkldnn._linear_pointwise.binary


class PackedLinear(nn.Module):
    """A linear map whose weights lie in oneDNN's layout.

    Its methods are functions that hold their parts: a step of decoding calls dozens of them for little work each, and
    to look parts up in a module takes a thirtieth of its time.

    Args:
        linear: Gives the weights.
        dtype: Of the product: float32 or bfloat16.

    Attributes:
        forward: Maps `(..., in_features)` to `(..., out_features)` of the type `dtype`.
        relu: Returns max(0, x W^T + b).
        add: Takes x and a residual; returns the residual + x W^T + b.
    """

    relu: Callable[[Tensor], Tensor]
    add: Callable[[Tensor, Tensor], Tensor]

    def __init__(self, linear: nn.Linear, dtype: torch.dtype) -> None:
        super().__init__()
        weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach().to(dtype))
        bias = None if linear.bias is None else linear.bias.detach().to(dtype)

        def forward(x: Tensor) -> Tensor:
            x = x if x.dtype is dtype else x.to(dtype)
            return _multiply(x, weight, bias, "none", [], "")  # type: ignore[no-any-return]

        def relu(x: Tensor) -> Tensor:
            x = x if x.dtype is dtype else x.to(dtype)
            return _multiply(x, weight, bias, "relu", [], "")  # type: ignore[no-any-return]

        def add(x: Tensor, residual: Tensor) -> Tensor:
            x = x if x.dtype is dtype else x.to(dtype)
            return _multiply_add(x, residual, weight, bias, "add")  # type: ignore[no-any-return]

        self.forward, self.relu, self.add = forward, relu, add


class Int8Linear(nn.Module):
    """A linear map of 8-bit integers: weights scaled by output channel, inputs by row, sums exact in 32 bits.

    The scale of a row is that of its own largest value, so that a sentence's result does not depend on its company.

    Args:
        linear: Gives the weights.
    """

    weight: Tensor
    scale: Tensor
    zero_point: Tensor
    bias: Tensor | None

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight = linear.weight.detach().float()
        scale = weight.abs().amax(1).clamp_min(_SMALLEST) / 127
        rounded = (weight / scale.unsqueeze(1)).round().to(torch.int8)
        self.register_buffer("weight", torch.ops.onednn.qlinear_prepack(rounded, None), False)
        self.register_buffer("scale", scale, False)
        self.register_buffer("zero_point", torch.zeros(len(scale), dtype=torch.int64), False)
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().float(), False)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(..., in_features)` to `(..., out_features)`, both float32."""
        row_scale = x.abs().amax(-1, keepdim=True).clamp_min_(_SMALLEST).mul_(1 / 127)
        # The processor multiplies unsigned by signed bytes: 128 stands for 0.
        shifted = (x / row_scale).round_().add_(128).to(torch.uint8)
        y = torch.ops.onednn.qlinear_pointwise.default(
            shifted, 1.0, 128, self.weight, self.scale, self.zero_point, None, 1.0, 0, torch.float32, "none", [], ""
        )
        return y.mul_(row_scale) if self.bias is None else torch.addcmul(self.bias, y, row_scale)

    def relu(self, x: Tensor) -> Tensor:
        """Return max(0, x W^T + b)."""
        return self(x).relu_()  # type: ignore[no-any-return]

    def add(self, x: Tensor, residual: Tensor) -> Tensor:
        """Return `residual` + x W^T + b."""
        return self(x).add_(residual)  # type: ignore[no-any-return]


class CastLinear(Linear):
    """A linear map in another type than its weights were stored in; for machines without oneDNN.

    Args:
        linear: Gives the weights.
        dtype: Of the product.
    """

    def __init__(self, linear: nn.Linear, dtype: torch.dtype) -> None:
        out_features, in_features = linear.weight.shape
        super().__init__(in_features, out_features, linear.bias is not None, linear.weight.device, dtype)
        self.load_state_dict({name: tensor.to(dtype) for name, tensor in linear.state_dict().items()})
        self.requires_grad_(False)

    def forward(self, input: Tensor) -> Tensor:
        """Map `(..., in_features)` to `(..., out_features)` of the weights' type."""
        return super().forward(input.to(self.weight.dtype))


def prepare_for_inference(model: Transformer, precision: InferencePrecision) -> None:
    """Lay out a model for translation, in place; it can then be neither trained nor saved.

    Args:
        model: In evaluation mode, on the device where it is to work.
        precision: Of the matrix products with weights; int8 needs a CPU that `has_int8` in `mtkit.runtime.device`.
    """
    device = next(model.parameters()).device
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    for name, module in list(model.named_modules()):
        if isinstance(module, Linear):
            parent, _, attribute = name.rpartition(".")
            setattr(model.get_submodule(parent), attribute, _lay_out(module, precision, device))
        elif isinstance(module, nn.LayerNorm) and device.type != "cpu":
            module.to(dtype)  # only a CPU's takes an input of another type than its weights
    model.activation_dtype = dtype


def _lay_out(linear: Linear, precision: InferencePrecision, device: torch.device) -> nn.Module:
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    if precision == "int8":
        return Int8Linear(linear)
    if device.type == "cpu" and (packs_fp32() if dtype == torch.float32 else has_onednn()):
        return PackedLinear(linear, dtype)
    return linear if dtype == torch.float32 else CastLinear(linear, dtype)
