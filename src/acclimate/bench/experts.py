"""Several experts on one frozen network, each taught its own way of seeing the digits, and tasks that need more than one.

    one, two, three    all pixels rearranged, by a permutation of its own: an expert for one is no use for another
    upper, lower       the pixels of one half rearranged; "upper+lower" is both at once, which no expert has seen
    clean              the images as they are; streaked has one row all bright, shifted is one column further on
    nw, ne, sw, se     the image at half its size in one corner: inputs that have no pixel in common

The network is the small one of `acclimate.bench.relearn`. An expert is taught once for each method and seed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn

from acclimate.bench.digits import Part
from acclimate.bench.relearn import known, network
from acclimate.data import Batches
from acclimate.engine import Adapter, Method, attach, only
from acclimate.loops import evaluate, finetune, fit
from acclimate.losses import CrossEntropy
from acclimate.methods import LoRA
from acclimate.rules import Gradient
from acclimate.sites import At

__all__ = [
    "CORNERS",
    "EXPERT",
    "LAYERS",
    "TASKS",
    "WHOLE",
    "Data",
    "accuracy",
    "experts",
    "given",
    "mixed",
    "seen",
    "taught",
]

LAYERS: At = ("0.weight", "2.weight", "4.weight", "6.weight")
"""All layers but the classifier."""
EXPERT = LoRA(rank=8)
WHOLE = ("one", "two", "three")
CORNERS = ("nw", "ne", "sw", "se")
Data = tuple[Tensor, Tensor]


def _rearranged(first: int, last: int, seed: int) -> Callable[[Tensor], Tensor]:
    order = torch.arange(64)
    order[first:last] = first + torch.randperm(last - first, generator=torch.Generator().manual_seed(seed))
    return lambda images: images[..., order]


def _in_corner(row: int, column: int) -> Callable[[Tensor], Tensor]:
    def shown(images: Tensor) -> Tensor:
        square = images.reshape(-1, 1, 8, 8)
        small = nn.functional.avg_pool2d(square, 2).mul(2)  # as bright as before, since a stroke is a pixel wide
        return nn.functional.pad(small, (column, 4 - column, row, 4 - row)).reshape(images.shape)

    return shown


def _streaked(images: Tensor) -> Tensor:
    streak = torch.zeros(8, 8)
    streak[3] = 1
    return images.maximum(streak.flatten())


TASKS: Mapping[str, Callable[[Tensor], Tensor]] = MappingProxyType(
    {
        **{name: _rearranged(0, 64, seed) for seed, name in enumerate(WHOLE)},
        "upper": _rearranged(0, 32, 50),
        "lower": _rearranged(32, 64, 51),
        "clean": lambda images: images,
        "streaked": _streaked,
        "shifted": lambda images: images.reshape(-1, 8, 8).roll(1, 2).reshape(images.shape),
        **{name: _in_corner(4 * (i // 2), 4 * (i % 2)) for i, name in enumerate(CORNERS)},
    }
)


def seen(task: str, images: Tensor) -> Tensor:
    """Images (..., 64) as a task shows them; tasks joined by ``+`` act in turn, and "" changes nothing.

    >>> x = torch.arange(64.0)
    >>> torch.equal(seen("upper+lower", x)[:32], seen("upper", x)[:32])
    True
    """
    for each in filter(None, task.split("+")):
        images = TASKS[each](images)
    return images


def given(task: str, part: Part, shots: int | None = None, seed: int = 0) -> Data:
    """A task's images (rows, 64) and labels; ``shots`` of them, drawn by the seed. "nw:02468" are some digits alone.

    >>> given("nw:02", "test")[1].unique()
    tensor([0, 2])
    """
    images, labels = known(part)
    task, _, some = task.partition(":")
    if some:
        among = torch.isin(labels, torch.tensor([int(digit) for digit in some]))
        images, labels = images[among], labels[among]
    if shots is not None:
        drawn = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))[:shots]
        images, labels = images[drawn], labels[drawn]
    return seen(task, images), labels


def mixed(tasks: Iterable[str], part: Part, shots: int | None = None, seed: int = 0) -> Data:
    """The rows of several tasks, one task after the other; nothing says which row is of which.

    >>> mixed(WHOLE, "train", shots=4)[0].shape
    torch.Size([12, 64])
    """
    found = [given(task, part, shots, seed + 10 * number) for number, task in enumerate(tasks)]
    return torch.cat([images for images, _ in found]), torch.cat([labels for _, labels in found])


def taught(model: nn.Module, data: Data, seed: int, epochs: int, lr: float, size: int = 128) -> None:
    """Teach what is enabled."""
    batches = Batches(*data, size, seed=seed)
    fit(
        model, batches, CrossEntropy(), finetune(epochs=epochs), Gradient(lr=lr), seed=seed, check=False, progress=False
    )


@functools.cache
def _expert(task: str, method: Method, at: At, seed: int, lr: float) -> dict[str, Tensor]:
    model = network()
    adapter = attach(model, method, at=at, seed=seed)
    taught(model, mixed(task.split(","), "train"), seed, epochs=20, lr=lr)
    return {key: tensor.detach().clone() for key, tensor in adapter.tensors().items()}


def experts(
    tasks: Iterable[str],
    method: Method | Mapping[str, Method] = EXPERT,
    seed: int = 0,
    at: At = LAYERS,
    lr: float = 3e-3,
) -> nn.Sequential:
    """The network with an expert for each task, by the task's name, all of them disabled; "clean,shifted" is taught both.

    ``method`` may be one for each.

    >>> model = experts(["one"])
    >>> accuracy(model, given("one", "test"), "one") - accuracy(model, given("one", "test")) > 60
    True
    """
    model = network()
    for task in tasks:
        own = method[task] if isinstance(method, Mapping) else method
        adapter = attach(model, own, at=at, name=task, seed=seed)
        with torch.no_grad():
            for key, tensor in adapter.tensors().items():
                tensor.copy_(_expert(task, own, at, seed, lr)[key])
        adapter.disable()
    return model


def accuracy(model: nn.Module, data: Data, *adapters: Adapter | str) -> float:
    """In percent, with these adapters and no others."""
    with only(model, *(each if isinstance(each, str) else each.name for each in adapters)):
        found = evaluate(model, data).accuracy
    assert found is not None
    return 100 * found
