"""Languages that share half of their words: images with one half of the pixels rearranged, and spelled out without labels.

    spelling   pixels -> embed -> middle -> read -> pixels     nine of thirty pixels hidden: what a language is learned by
    ranking    pixels -> embed -> middle -> head -> ten scores, one for each query "which images show this digit?"

The base has seen images as they are. A language is an adapter at ``embed`` and ``read``, learned from unlabelled images.
"""

from __future__ import annotations

import copy
import functools

import torch
from torch import Tensor, nn

from acclimate.bench.experts import given
from acclimate.data import Batches
from acclimate.engine import Adapter, Method, attach, only
from acclimate.loops import finetune, fit, predict
from acclimate.losses import MeanSquares
from acclimate.methods import Full, LoRA
from acclimate.rules import Gradient

__all__ = ["MIDDLE", "Reader", "precision", "ranker", "speller", "spelling"]

MIDDLE = ("encoder.2.weight", "encoder.4.weight", "encoder.6.weight")
HIDDEN = 0.3
LANGUAGE = LoRA(rank=32)


class Reader(nn.Module):
    """An encoder with one of two ends: ``read`` spells, ``head`` ranks."""

    def __init__(self, encoder: nn.Module, end: str, out: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.end = end
        self.add_module(end, nn.Linear(128, out))

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.get_submodule(self.end)(self.encoder(x))
        return answer


def spelling(language: str) -> tuple[Tensor, Tensor]:
    """A language's images with pixels hidden, and whole, (rows, 64) each."""
    images = torch.cat([given(language, "train")[0]] * 3)
    shown = torch.rand(images.shape, generator=torch.Generator().manual_seed(0)) > HIDDEN
    return images * shown, images


def _spell(model: nn.Module, language: str, seed: int, epochs: int, lr: float) -> None:
    data, rule = Batches(*spelling(language), 128, seed=seed), Gradient(lr=lr)
    fit(model, data, MeanSquares(), finetune(epochs=epochs), rule, seed=seed, check=False, progress=False)


@functools.cache
def _base() -> Reader:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        sizes = ((64, 128), (128, 64), (64, 64), (64, 128))
        model = Reader(nn.Sequential(*(part for a, b in sizes for part in (nn.Linear(a, b), nn.ReLU()))), "read", 64)
    adapter = attach(model, Full(), at="all")
    _spell(model, "clean", 0, epochs=25, lr=3e-3)
    adapter.merge(keep=False)
    return model.eval()


@functools.cache
def _language(language: str, method: Method, seed: int) -> dict[str, Tensor]:
    model = copy.deepcopy(_base())
    adapter = attach(model, method, at=("encoder.0.weight", "read.weight"), seed=seed)
    _spell(model, language, seed, epochs=15, lr=5e-3)
    return {key: tensor.detach().clone() for key, tensor in adapter.tensors().items()}


def speller() -> Reader:
    """The network as spelling images as they are left it.

    >>> speller().end
    'read'
    """
    return copy.deepcopy(_base())


def ranker(*languages: str, seed: int = 0) -> Reader:
    """The encoder with a head that is drawn, and what was learned of each language, disabled.

    >>> [name for name in dict(ranker().named_modules()) if "." not in name]
    ['', 'encoder', 'head']
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Reader(copy.deepcopy(_base().encoder), "head", 10).eval()
    for language in languages:
        adapter = attach(model, LANGUAGE, at="encoder.0.weight", name=language, seed=seed)
        with torch.no_grad():
            for key, tensor in adapter.tensors().items():
                tensor.copy_(_language(language, LANGUAGE, seed)[key])
        adapter.disable()
    return model


def precision(model: nn.Module, language: str, *adapters: Adapter) -> float:
    """Mean average precision in percent over ten queries, each ranking all held-out images of a language."""
    images, labels = given(language, "test")
    with only(model, *(each.name for each in adapters)):
        scores = predict(model, (images,))
    found = []
    for query in range(10):
        hits = (labels == query)[scores[:, query].argsort(descending=True)].double()
        share = hits.cumsum(0) / torch.arange(1, len(hits) + 1)
        found.append(float((share * hits).sum() / hits.sum()))
    return 100 * sum(found) / len(found)
