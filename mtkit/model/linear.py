"""Linear maps whose training in fp32 on a CPU goes through oneDNN."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional


class Linear(nn.Linear):
    """`nn.Linear`; in fp32 training on an x86 CPU with AVX-512 its three matrix products are oneDNN's.

    torch gives fp32 products to MKL, which on processors of other makers than Intel reaches a third of what oneDNN
    does. The rule looks at the processor only, never at a timing.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Map `(..., in_features)` to `(..., out_features)`."""
        if (
            input.dtype == torch.float32
            and input.device.type == "cpu"
            and input.requires_grad
            and torch.is_grad_enabled()
            and not torch.is_autocast_enabled("cpu")
            and has_onednn()
        ):
            return _OneDnnLinear.apply(input, self.weight, self.bias)  # type: ignore[no-any-return, no-untyped-call]
        return super().forward(input)

    def relu(self, x: Tensor) -> Tensor:
        """Return max(0, x W^T + b)."""
        return functional.relu(self(x))

    def add(self, x: Tensor, residual: Tensor) -> Tensor:
        """Return `residual` + x W^T + b."""
        return residual + self(x)  # type: ignore[no-any-return]


class _OneDnnLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.has_bias = bias is not None
        return multiply(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        x, weight = ctx.saved_tensors
        grad_rows = grad.reshape(-1, grad.size(-1))
        grad_weight = multiply_rows(grad_rows, x.reshape(-1, x.size(-1)))
        return multiply(grad, weight.t()), grad_weight, grad_rows.sum(0) if ctx.has_bias else None


def multiply(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return x W^T + b for tensors on a CPU, without a gradient: `(..., in)`, `(out, in)` and `(out,)` to `(..., out)`.

    Products of fp32 are oneDNN's where that is the faster library; see `Linear`.
    """
    if x.dtype == torch.float32 and has_onednn():
        return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")  # type: ignore[no-any-return]
    return functional.linear(x, weight, bias)


def multiply_rows(left: Tensor, right: Tensor) -> Tensor:
    """Return left^T right, `(rows, m)` and `(rows, n)` to `(m, n)`, as `multiply` does."""
    if left.dtype != torch.float32 or not has_onednn():
        return left.t() @ right
    if left.size(1) > right.size(1):  # oneDNN wants the narrower one first
        return multiply(right.t(), left.t()).t()
    return multiply(left.t(), right.t())


@cache
def has_onednn() -> bool:
    """Return whether products go through oneDNN here, whatever the layout of their weights."""
    return packs_fp32() and torch.backends.cpu.get_cpu_capability().startswith("AVX512")


@cache
def packs_fp32() -> bool:
    """Return whether products of fp32 with weights in oneDNN's own layout are the fastest here: from AVX2 on."""
    return (
        torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and torch.backends.cpu.get_cpu_capability().startswith(("AVX2", "AVX512"))
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )
