"""Less memory for little more time: what is frozen keeps nothing for the backward pass that its own gradient does not need.

    convolution by a frozen K                 K alone, not what entered
    batch norm whose scale is frozen          a factor for each channel
    relu                                      where it stopped: a byte for each number in the place of four

Biases may learn: their gradient is a sum of what comes back.

torch keeps what enters a convolution in case somebody asks for the gradient by its kernel, and its norms keep what they have
normalised. Outputs are the same to the bit, and gradients are the same sums. That backward passes beside frozen parts can do
without their activations is from Cai, Gan, Zhu, Han, "TinyTL: Reduce Memory, Not Parameters for Efficient On-Device Learning",
2020.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

__all__ = ["lean"]


class lean(TorchFunctionMode):
    """Inside, forwards with gradients keep less; the model is not touched.

    Under autocast, whose casts it would miss, it stands back.

    >>> from acclimate.engine import saved_bytes
    >>> model = torch.nn.Sequential(*(torch.nn.Conv2d(4, 4, 3, padding=1).requires_grad_(False) for _ in range(8)))
    >>> images = torch.randn(2, 4, 16, 16, requires_grad=True)
    >>> whole = saved_bytes(model, images)
    >>> with lean():
    ...     saved_bytes(model, images) < 0.2 * whole
    True
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        own = _LEAN.get(func) if torch.is_grad_enabled() else None
        first = args[0] if args else (kwargs or {}).get("input")
        if own is not None and isinstance(first, Tensor) and not torch.is_autocast_enabled(first.device.type):
            found = own(*args, **kwargs or {})
            if found is not None:
                return found
        return func(*args, **kwargs or {})


def _fixed(moving: tuple[Tensor | None, ...], *held: Tensor | None) -> bool:
    """Whether a gradient is asked for by some of the first, and by none of the rest."""
    asked = [each is not None and each.requires_grad for each in (*moving, *held)]
    return any(asked[: len(moving)]) and not any(asked[len(moving) :])


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, *how: Any) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.shape, ctx.how, ctx.biased = x.shape, how, None if bias is None else list(bias.shape)
        stride, padding, dilation, groups = how
        return torch.convolution(x, weight, bias, stride, padding, dilation, False, [0] * len(stride), groups)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        (weight,) = ctx.saved_tensors
        stride, padding, dilation, groups = ctx.how
        entered = gradient.new_empty(1).expand(ctx.shape)  # asked for its shape alone
        entering, _, biasing = ctx.needs_input_grad[:3]
        found, _, bias = torch.ops.aten.convolution_backward(
            gradient, entered, weight, ctx.biased, stride, padding, dilation, False, [0] * len(stride), groups,
            [entering, False, biasing],
        )  # fmt: skip
        return (found, None, bias, *[None] * len(ctx.how))


def _convolution(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor | None:
    places = weight.dim() - 2
    if not _fixed((input, bias), weight) or isinstance(padding, str) or input.dim() != weight.dim():
        return None
    how = [[each] * places if isinstance(each, int) else list(each) for each in (stride, padding, dilation)]
    found: Tensor = _Convolution.apply(input, weight, bias, *how, groups)  # type: ignore[no-untyped-call]
    return found


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, mean: Tensor, var: Tensor, weight: Any, bias: Any, eps: float) -> Tensor:
        factor = (var + eps).rsqrt()
        ctx.save_for_backward(factor if weight is None else factor * weight)
        return F.batch_norm(x, mean, var, weight, bias, False, 0.0, eps)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        (factor,) = ctx.saved_tensors
        shape = (-1,) + (1,) * (gradient.dim() - 2)
        entering, biasing = ctx.needs_input_grad[0], ctx.needs_input_grad[4]
        found = gradient * factor.to(gradient.dtype).view(shape) if entering else None
        bias = gradient.sum([axis for axis in range(gradient.dim()) if axis != 1]) if biasing else None
        return found, None, None, None, bias, None


def _norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor | None:
    if training or running_mean is None or running_var is None:
        return None
    if not _fixed((input, bias), running_mean, running_var, weight):
        return None
    found: Tensor = _Norm.apply(input, running_mean, running_var, weight, bias, eps)  # type: ignore[no-untyped-call]
    return found


class _Relu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, inplace: bool) -> Tensor:
        if inplace:
            ctx.mark_dirty(x)
        found = x.relu_() if inplace else x.relu()
        ctx.save_for_backward(found <= 0)
        return found

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        (stopped,) = ctx.saved_tensors
        return gradient.masked_fill(stopped, 0), None


def _relu(input: Tensor, inplace: bool = False) -> Tensor | None:
    return _Relu.apply(input, inplace) if _fixed((input,)) else None  # type: ignore[no-untyped-call]


_LEAN: dict[Any, Callable[..., Tensor | None]] = {
    torch.conv1d: _convolution,
    torch.conv2d: _convolution,
    torch.conv3d: _convolution,
    F.batch_norm: _norm,
    F.relu: _relu,
    torch.relu: _relu,
    Tensor.relu: _relu,
}
