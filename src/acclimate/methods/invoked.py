"""A low-rank update from the words on that call for it: what stands before them the base has read, and nobody reads it again.

    y_t + scale B A x_t        for t from the last place on where ``tokens`` stand in the row;  y_t before, and in rows without them

Keys and values before the call are the base's own, so one cache serves the base and every adapter that is called later. The
tokens of each row are said, ``with given(prompt=ids)``, or by the wrapper `Invoked`; places are counted from the end, so what is
said of a prompt holds for the words that are generated after it. Where nothing is said, this is `LoRA` at every place.

Greenewald, Lastras, Parnell et al., "Activated LoRA: Fine-tuned LLMs for Intrinsics", 2025 (aLoRA). Like all that reads
what is said, it breaks the graph of a model that is compiled.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from acclimate.engine import MethodError
from acclimate.engine.calling import FORWARD
from acclimate.methods.given import given, said
from acclimate.methods.lora import LoRA
from acclimate.sites import Site
from acclimate.sites.layout import Matrix

__all__ = ["InvokedLoRA", "Invoked", "since"]


class InvokedLoRA(LoRA):
    """``tokens`` are the words that call, in their order. It cannot be merged, because a weight knows no places.

    >>> InvokedLoRA(rank=32, tokens=(5, 7)).tokens
    (5, 7)
    """

    tokens: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.tokens or min(self.tokens) < 0:
            raise MethodError(f"tokens={self.tokens} call nothing: give the numbers of one word or more, from 0 up")

    def refuses(self, site: Site) -> str:
        alone = type(site.layout) is Matrix and site.part is None and len(site.readers) == 1
        hooked = {
            "forward",
            FORWARD,
        } & site.module.__dict__.keys()  # such a call reads the adapted weight, and there is none
        return (
            ""
            if alone and site.called and not hooked
            else "tells the places apart that pass one linear layer's own call"
        )

    def fits(self, site: Site) -> bool:
        return super().fits(site) and not self.refuses(site)

    class Module(LoRA.Module):
        broadcasts = False
        method: InvokedLoRA
        weight = None  # type: ignore[assignment]

        def output(self, x: Tensor, y: Tensor) -> Tensor:
            ids, full = said("prompt"), super().output(x, y)
            if ids is None:
                return full
            if len(ids) != len(y):
                raise MethodError(f"the prompt is said of {len(ids)} rows, and {len(y)} passed: say it of each row")
            length = y.shape[1] if y.dim() > 2 else 1
            left = torch.arange(length, 0, -1, device=y.device)  # places from each on
            after = left <= since(ids.to(y.device), self.method.tokens).unsqueeze(1)  # (rows, places)
            return torch.where(after.reshape(*after.shape, *(1,) * (y.dim() - 2)), full, y)

        def beside(self, x: Tensor, y: Tensor, W: Tensor, b: Tensor | None) -> Tensor:
            """So that it is refused beneath what needs the weight, and not passed over."""
            return self.output(x, y)


def since(ids: Tensor, tokens: tuple[int, ...]) -> Tensor:
    """How many places there are in each row (rows, length) from the last time on that ``tokens`` stand there; 0 where they do not.

    >>> since(torch.tensor([[5, 7, 1, 5, 7], [5, 7, 1, 1, 5], [1, 1, 7, 5, 1]]), (5, 7))
    tensor([2, 5, 0])
    """
    length, words = ids.shape[1], len(tokens)
    if length < words:
        return ids.new_zeros(len(ids))
    there = (ids.unfold(1, words, 1) == ids.new_tensor(tokens)).all(-1)  # (rows, starts)
    left = torch.arange(length, words - 1, -1, device=ids.device)
    return left.where(there, length + 1).amin(1) * there.any(1)


class Invoked(nn.Module):
    """A model whose token ids, ``input_ids`` or its first argument, are said as its prompt while it runs.

    >>> Invoked(nn.Embedding(9, 2))(torch.tensor([[5, 7]])).shape
    torch.Size([1, 2, 2])
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        with given(prompt=kwargs["input_ids"] if "input_ids" in kwargs else args[0]):
            return self.model(*args, **kwargs)
