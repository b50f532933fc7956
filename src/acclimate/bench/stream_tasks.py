"""Real networks and the streams that they meet: photographs under corruptions, words under noise, oil whose heat drifts.

cifar       CIFAR-10 as JPEG, under the common corruptions     ResNet-20, ResNet-56, and a ResNet-20 made robust
words       spoken commands as 49 x 10 MFCC                     a small convnet, learned here in seconds
oil         hourly temperature of a transformer, ETTh1          a small forecaster, learned here in seconds; truths are late

The photographs were encoded again with losses, so that the clean error of ResNet-20 on them is 19 % and not the 8 % of its paper.
ETTh1 is of Zhou, Zhang, Peng, Zhang, Li, Xiong, Zhang, "Informer: Beyond Efficient Transformer for Long Sequence Time-Series
Forecasting", 2021; the words of Warden, "Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition", 2018.
"""

from __future__ import annotations

import csv
import dataclasses
import functools
import io
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from acclimate.bench.resnet import normalised, read_resnet
from acclimate.data import Batches, generator
from acclimate.data.corruptions import COMMON
from acclimate.data.streams import Protocol, Source, corrupted, mark

__all__ = ["StreamTask", "stream_tasks"]

NETWORKS = {
    "ResNet-20": "cifar10_resnet20-12fca82f.th",
    "ResNet-56": "cifar10_resnet56-4bfd9763.th",
    "ResNet-20, robust": "cifar10_resnet20_ehanw_pgd.pth",
}
SAMPLES, BATCH = 100, 50
LONG, ROWS = ("gaussian_noise", "motion_blur", "fog", "contrast"), 450
"""Where severity swells and falls, and where classes come in runs: fewer corruptions, and nine batches under each."""
SORTED, MILD = 0.01, 0.1
"""Concentrations. In so few rows a run of the field's 0.1 is shorter than a batch, which then has most classes in it."""
SMALL = ("gaussian_noise", "brightness")
"""The corruptions of a quick look: one that the network cannot bear, and one that it hardly notices."""
WEEK, DAY, LEARNED, ASKED = 168, 24, 8640, 2880


@dataclass(frozen=True, eq=False)
class StreamTask:
    """A network, the streams it meets by name, and what is counted: ``error`` in percent, or the mean of ``squares``.

    Where not ``every`` method is asked, those that stand for their kinds are.
    """

    name: str
    model: nn.Module
    source: Source
    protocols: dict[str, Protocol]
    counts: Literal["error", "squares"] = "error"
    every: bool = True


def stream_tasks(data: Path, small: bool = False) -> list[StreamTask]:
    """All of them; ``data`` is the folder with ``cifar10``, ``speech``, ``timeseries`` and ``weights``. ``small`` is a quick look:
    ResNet-20 under two corruptions."""
    images, labels = _photographs(data / "cifar10" / "cifar10_test_jpg.tar.gz")
    source = corrupted(images, labels, normalised)
    chosen = dict(list(NETWORKS.items())[:1]) if small else NETWORKS
    said = "inputs in [0, 1] by ImageNet's mean and deviation"
    tasks = []
    for name, file in chosen.items():
        model = read_resnet(data / "weights" / file)
        first = name == next(iter(NETWORKS))
        few, many = (SMALL, SMALL) if small else (LONG, COMMON)
        orders = _orders(many, SAMPLES, said, model, few, ROWS, SORTED)
        if first and not small:
            orders["mild runs"] = dataclasses.replace(orders["shuffled"], correlation=MILD)
        tasks.append(StreamTask(f"cifar, {name}", model, source, orders, every=first))
    return tasks if small else [*tasks, _words(data), _oil(data)]


def _orders(
    conditions: tuple[str, ...],
    samples: int | None,
    said: str,
    model: nn.Module,
    long: tuple[str, ...],
    rows: int | None,
    concentration: float,
) -> dict[str, Protocol]:
    make = functools.partial(Protocol, severity=5, size=BATCH, normalisation=said, base=mark(model))
    return {
        "shuffled": make(conditions, samples=samples),
        "correlated": make(long, samples=rows, correlation=concentration),
        "gradual": make(long, samples=rows, order="gradual"),
    }


@functools.cache
def _photographs(archive: Path, each: int = 200) -> tuple[Tensor, Tensor]:
    """The first ``each`` test images of every class, (rows, 3, 32, 32) in [0, 1]; classes in the order of their names."""
    from PIL import Image

    with tarfile.open(archive) as held:
        names = sorted(member.name for member in held.getmembers() if member.name.endswith(".jpg"))
        classes = sorted({name.split("/")[-2] for name in names})
        wanted = {n for c in classes for n in [name for name in names if name.split("/")[-2] == c][:each]}
        images = {}
        for member in held:
            file = held.extractfile(member) if member.name in wanted else None
            if file is not None:
                with Image.open(io.BytesIO(file.read())) as opened:
                    images[member.name] = np.array(opened.convert("RGB"))
    order = sorted(images)
    pixels = torch.from_numpy(np.stack([images[name] for name in order])).permute(0, 3, 1, 2)
    return pixels / 255, torch.tensor([classes.index(name.split("/")[-2]) for name in order])


class Commands(nn.Module):
    """MFCC (rows, 1, 49, 10) to logits (rows, 12)."""

    acclimate_roles = {"fc": "head"}

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, 32, (5, 3), stride=(2, 1), padding=(2, 1), bias=False), nn.BatchNorm2d(32)
        self.conv2, self.bn2 = nn.Conv2d(32, 48, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(48)
        self.conv3, self.bn3 = nn.Conv2d(48, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64)
        self.fc = nn.Linear(64, 12)

    def forward(self, x: Tensor) -> Tensor:
        for conv, norm in ((self.conv1, self.bn1), (self.conv2, self.bn2), (self.conv3, self.bn3)):
            x = F.relu(norm(conv(x)))
        return self.fc(x.mean((2, 3)))


def _words(data: Path) -> StreamTask:
    rows = []
    with tarfile.open(data / "speech" / "speech_commands_1000_mfcc.tar.gz") as held:
        for member in held:
            file = held.extractfile(member) if member.name.endswith(".bin") else None
            if file is not None:
                rows.append((np.frombuffer(file.read(), np.int8), int(member.name[:-4].rsplit("_", 1)[1])))
    sounds = torch.from_numpy(np.stack([sound for sound, _ in rows])).float().view(-1, 1, 49, 10)
    labels = torch.tensor([label for _, label in rows])
    learn, ask = torch.randperm(len(rows), generator=generator(0)).tensor_split([600])
    mean, deviation = sounds[learn].mean((0, 2), keepdim=True), sounds[learn].std((0, 2), keepdim=True) + 1e-6
    sounds = (sounds - mean) / deviation
    model = _learned(Commands, sounds[learn], labels[learn], F.cross_entropy, epochs=25, moved=6)
    held_out = sounds[ask]

    def seen(index: Tensor, condition: str, severity: int, drawn: Generator) -> Tensor:
        found = held_out[index]
        if condition == "noise":
            return found + 0.2 * severity * torch.randn(found.shape, generator=drawn)
        return found - 0.4 * severity * (torch.arange(10) == 0)  # the first coefficient is how loud it is

    said = "MFCC by their mean and deviation on the words learned from; noise of 0.2 deviations a severity, loudness less by 0.4"
    both = ("noise", "quiet")
    return StreamTask(
        "words, convnet", model, Source(labels[ask], both, seen), _orders(both, None, said, model, both, None, MILD)
    )


class Forecaster(nn.Module):
    """A week of hours, (rows, 168), to the next day, (rows, 24), both relative to the last hour."""

    acclimate_roles = {"head": "head"}

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.norm, self.head = nn.Linear(WEEK, 64), nn.BatchNorm1d(64), nn.Linear(64, DAY)

    def forward(self, x: Tensor) -> Tensor:
        last = x[:, -1:]
        return last + self.head(F.relu(self.norm(self.enter(x - last))))


def _oil(data: Path) -> StreamTask:
    with open(data / "timeseries" / "ETTh1.csv", newline="", encoding="utf-8") as file:
        oil = [float(row["OT"]) for row in csv.DictReader(file)]
    series = torch.tensor(oil[: LEARNED + 2 * ASKED])
    series = (series - series[:LEARNED].mean()) / series[:LEARNED].std()
    windows = series.unfold(0, WEEK + DAY, 1)  # (starts, hours)
    inputs, truth = windows[:, :WEEK], windows[:, WEEK:]
    learned = LEARNED - WEEK - DAY
    model = _learned(Forecaster, inputs[:learned], truth[:learned], F.mse_loss, epochs=3)
    asked = inputs[-ASKED:]

    def seen(index: Tensor, condition: str, severity: int, drawn: Generator) -> Tensor:
        return asked[index]

    protocol = Protocol(
        ("as it came",), 1, None, DAY, "in time", delay=2, base=mark(model),
        normalisation="temperature by its mean and deviation in the months learned from",
    )  # fmt: skip
    source = Source(truth[-ASKED:], ("as it came",), seen)
    return StreamTask("oil, forecaster", model, source, {"in time": protocol}, "squares")


def _learned(
    make: Callable[[], nn.Module],
    inputs: Tensor,
    labels: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    epochs: int,
    moved: int = 0,
) -> nn.Module:
    """A network taught from nothing; inputs are moved by up to ``moved`` places along their third axis."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = make().train()
    batches, drawn = Batches(inputs, labels, 50, seed=0), generator(1)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 6e-3, total_steps=epochs * len(batches))
    for epoch in range(epochs):
        for batch in batches.epoch(epoch):
            shown = _moved(batch.inputs, moved, drawn) if moved else batch.inputs
            optimiser.zero_grad()
            torch.autograd.backward(loss(model(shown), batch.labels))  # type: ignore[arg-type]
            optimiser.step()
            schedule.step()
    return model.eval()


def _moved(inputs: Tensor, most: int, drawn: Generator) -> Tensor:
    places = torch.randint(-most, most + 1, (len(inputs),), generator=drawn).tolist()
    return torch.stack([row.roll(place, 1) for row, place in zip(inputs, places, strict=True)])
