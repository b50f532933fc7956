"""Real pairs of domains for small networks, the target without its labels.

digits      MNIST, USPS                                   LeNet, from scratch            5000 rows each
            MNIST in colour, MNIST-M                      LeNet in colour, from scratch  4000 rows
reviews     books, films, electronics, kitchens           a head on MiniLM's sentences   500 rows each, 12 pairs
surf        amazon, caltech, dslr, webcam             two linear layers on histograms  157 to 1123 rows, 12 pairs
bones       distal, middle, proximal phalanx: their age   a convnet on outlines          408 rows and fewer, 6 pairs

LeCun, Bottou, Bengio, Haffner, "Gradient-Based Learning Applied to Document Recognition", 1998; Hull, "A Database for Handwritten
Text Recognition Research", 1994; MNIST-M of Ganin, Lempitsky, "Unsupervised Domain Adaptation by Backpropagation", 2015; Blitzer,
Dredze, Pereira, "Biographies, Bollywood, Boom-boxes and Blenders", 2007; SURF of Office-Caltech of Gong, Shi, Sha, Grauman,
"Geodesic Flow Kernel for Unsupervised Domain Adaptation", 2012; Cao, Huang, Pietka, Gilsanz, "Digital Hand Atlas", in
Dau et al., "The UCR Time Series Archive", 2019. The whole target is adapted on without labels, and scored.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acclimate.bench.minilm import encode_texts, minilm
from acclimate.bench.on_arrays import domains

__all__ = ["DomainTask", "LeNet", "domain_tasks"]

Rows = tuple[Tensor, Tensor]
REVIEWS, TOKENS = 250, 64
BONES = ("Distal", "Middle", "Proximal")


@dataclass(frozen=True, eq=False)
class DomainTask:
    """A network as a seed makes it, labelled source rows, and target rows whose labels are for scoring alone.

    ``epochs`` is how long every way is taught, from the network as it is made. ``images`` says that views of the inputs make sense.
    """

    name: str
    make: Callable[[int], nn.Module]
    source: Rows
    target: Rows
    epochs: int
    images: bool = False


class LeNet(nn.Module):
    """Two convolutions of 5, two linear layers, for images of 28 pixels; colour images are cut to them."""

    acclimate_roles: ClassVar[dict[str, str]] = {"classifier": "head"}

    def __init__(self, channels: int = 1, classes: int = 10) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, 16, 5)
        self.second = nn.Conv2d(16, 32, 5)
        self.hidden = nn.Linear(512, 128)
        self.classifier = nn.Linear(128, classes)

    def forward(self, x: Tensor) -> Tensor:
        """x (rows, channels, 28, 28)."""
        for layer in (self.first, self.second):
            x = F.max_pool2d(F.relu(layer(x)), 2)
        return self.classifier(F.relu(self.hidden(x.flatten(1))))


class TwoLayers(nn.Module):
    """Two linear layers on given features."""

    acclimate_roles: ClassVar[dict[str, str]] = {"classifier": "head"}

    def __init__(self, features: int, classes: int, width: int = 64) -> None:
        super().__init__()
        self.hidden = nn.Linear(features, width)
        self.classifier = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """x (rows, features)."""
        return self.classifier(F.relu(self.hidden(x)))


class OutlineNet(nn.Module):
    """Three convolutions along an outline and the mean over it."""

    acclimate_roles: ClassVar[dict[str, str]] = {"classifier": "head"}

    def __init__(self, classes: int = 3, width: int = 32) -> None:
        super().__init__()
        sizes = zip((1, width, width), (7, 5, 3), strict=True)
        self.layers = nn.ModuleList(nn.Conv1d(channels, width, size, padding="same") for channels, size in sizes)
        self.classifier = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """x (rows, 1, places)."""
        for layer in self.layers:
            x = F.relu(layer(x))
        return self.classifier(x.mean(2))


def domain_tasks(data: Path, small: bool = False) -> Iterator[DomainTask]:
    """All pairs, one after the other; ``data`` is the folder with ``digits``, ``text`` and ``timeseries``. ``small`` is a quick
    look: the bones, and nothing else."""
    if not small:
        yield from _digits(data / "digits")
        yield from _reviews(data / "text" / "amazon")
        yield from _surf(data)
    yield from _bones(data / "timeseries")


def _seeded(make: Callable[[], nn.Module]) -> Callable[[int], nn.Module]:
    def made(seed: int) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return make().eval()

    return made


def _pairs(
    kind: str, found: dict[str, Rows], make: Callable[[], nn.Module], epochs: int, images: bool = False
) -> Iterator[DomainTask]:
    for source, target in itertools.permutations(found, 2):
        name = f"{kind}, {source} to {target}"
        yield DomainTask(name, _seeded(make), found[source], found[target], epochs, images)


def _digits(folder: Path) -> Iterator[DomainTask]:
    grey = {name.upper(): _numbers(folder / f"{name}5k.npz") for name in ("mnist", "usps")}
    yield from _pairs("digits", grey, LeNet, 5, images=True)
    with np.load(folder / "mnist_m_4k.npz", allow_pickle=False) as found:
        photographs = torch.from_numpy(found["X"]).movedim(-1, 1)[..., 2:30, 2:30].float() / 255
        labels = torch.from_numpy(found["y"]).long()
    images, numbers = grey["MNIST"]
    colour = {"MNIST": (images.expand(-1, 3, -1, -1).contiguous(), numbers), "MNIST-M": (photographs, labels)}
    yield from itertools.islice(_pairs("digits", colour, functools.partial(LeNet, 3), 5, images=True), 1)


def _numbers(path: Path) -> Rows:
    with np.load(path, allow_pickle=False) as found:
        images, labels = torch.from_numpy(found["imgs"]).float()[:, None], torch.from_numpy(found["labs"]).long()
    return F.interpolate(images / 255, size=(28, 28), mode="bilinear", align_corners=False), labels


def _reviews(folder: Path) -> Iterator[DomainTask]:
    names = ("books", "dvd", "electronics", "kitchen")
    texts = {name: [_texts(folder / f"{name}_{side}.review") for side in ("negative", "positive")] for name in names}
    found = {}
    model, tokenizer = minilm()
    for name, (negative, positive) in texts.items():
        labels = torch.tensor([0] * len(negative) + [1] * len(positive))
        found[name] = (_sentences(model, tokenizer, negative + positive), labels)
    yield from _pairs("reviews", found, functools.partial(TwoLayers, 384, 2), 20)


def _surf(data: Path) -> Iterator[DomainTask]:
    found = {
        name: (torch.from_numpy(rows).float(), torch.from_numpy(labels))
        for name, (rows, labels) in domains(data).items()
    }
    yield from _pairs("surf", found, functools.partial(TwoLayers, 800, 10), 20)


def _texts(path: Path) -> list[str]:
    """The first reviews of a file, which is marked up and no XML."""
    found = re.findall(r"<review_text>\s*(.*?)\s*</review_text>", path.read_text(encoding="latin-1"), re.DOTALL)
    return found[:REVIEWS]


@torch.no_grad()
def _sentences(model: nn.Module, tokenizer: object, texts: list[str]) -> Tensor:
    """Means over tokens, of length 1 and times 20, which a head of small weights can tell apart: (rows, 384)."""
    parts = []
    order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
    for start in range(0, len(texts), 32):
        inputs = encode_texts(tokenizer, [texts[row] for row in order[start : start + 32]], TOKENS)
        states, mask = model(**inputs).last_hidden_state, inputs["attention_mask"][..., None].float()
        parts.append(20 * F.normalize((states * mask).sum(1) / mask.sum(1)))
    return torch.cat(parts)[torch.tensor(order).argsort()]


def _bones(folder: Path) -> Iterator[DomainTask]:
    found = {}
    for bone in BONES:
        parts = [
            np.load(folder / f"{bone}PhalanxOutlineAgeGroup_{part}.npy", allow_pickle=False)
            for part in ("TRAIN", "TEST")
        ]
        rows = torch.from_numpy(np.concatenate(parts)).float()
        found[bone.lower()] = (rows[:, None, 1:].contiguous(), rows[:, 0].long() - 1)
    yield from _pairs("bones", found, OutlineNet, 60)
