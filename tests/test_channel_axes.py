"""A method that acts on a block's output acts along its channels, wherever they lie and whatever the block is made of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from models import noise
from table import METHODS, distance, outputs, same, shake
from torch import Tensor, nn

from acclimate import adapters, attach, load
from acclimate.engine import Method, MethodError
from acclimate.sites import SiteError


class LastToFirst(nn.Module):
    """As ConvNeXt's blocks: linear layers with the channels last, and what is handed on has them first."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.mix(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Says(nn.Sequential):
    """A block that says how many channels it gives."""

    out_channels = 6

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__(*layers)
        self.out_channels = 6


def image() -> Tensor:
    return noise(2, 6, 5, 4)


def series() -> Tensor:
    return noise(2, 6, 5)


PAIRS: dict[str, tuple[Callable[[], nn.Module], Callable[[], Tensor], str]] = {
    "image": (lambda: nn.Sequential(nn.Sequential(nn.Conv2d(6, 6, 1), nn.Identity())), image, "0.0"),
    "norm": (lambda: nn.Sequential(nn.Sequential(nn.BatchNorm2d(6), nn.Identity())), image, "0.0"),
    "series": (lambda: nn.Sequential(nn.Sequential(nn.Conv1d(6, 6, 1), nn.Identity())), series, "0.0"),
    "activation": (lambda: nn.Sequential(nn.Identity(), nn.Conv2d(6, 6, 1)), image, ""),
    "channels last": (lambda: nn.Sequential(nn.Sequential(nn.Linear(4, 4), nn.Identity())), image, "0.0"),
    "said": (lambda: nn.Sequential(Says(nn.Conv2d(6, 6, 1), nn.Identity())), image, "0.0"),
    "last to first": (lambda: nn.Sequential(LastToFirst()), image, ""),
    "pooled": (lambda: nn.Sequential(nn.Sequential(nn.Conv2d(6, 6, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())), image, ""),
}  # fmt: skip
CALLS = [name for name, method in METHODS.items() if method.kind == "call" and method.at != ""]


OTHERWISE = {
    ("pooled", "BeneathNorm"): "it adds to what a norm is given, and what pools is none",
    ("channels last", "SecondHead"): "it reads what enters a linear layer, and what a block puts out",
}


def _made(make: Callable[[], nn.Module], batch: Tensor, method: Method, at: str) -> nn.Module:
    torch.manual_seed(0)
    model = make().eval()
    shake(attach(model, method, at=at, name="a", data=batch, seed=1))
    return model


@pytest.mark.parametrize("pair", PAIRS)
@torch.no_grad()
def test_at_a_block_it_does_what_it_does_at_the_layer_inside(pair: str, tmp_path: Path) -> None:
    """Those that have no business at such a block say so, and the others are as good as at the layer, also from a file."""
    make, batch, typed = PAIRS[pair]
    acted = []
    for name in (name for name in CALLS if (pair, name) not in OTHERWISE):
        method = METHODS[name]
        try:
            model = _made(make, batch(), method, "0")
            got = outputs(model, batch())
        except (SiteError, MethodError):
            continue
        if typed and not method.relays:
            assert distance(got, outputs(_made(make, batch(), method, typed), batch())) < 1e-6, name
        adapters(model)["a"].save(tmp_path / f"{name}.safetensors")
        torch.manual_seed(0)
        fresh = make().eval()
        load(fresh, tmp_path / f"{name}.safetensors")
        assert same(outputs(fresh, batch()), got), name
        acted.append(name)
    assert {"Bottleneck", "ReFT", "Ladder", "AdapterBias"} & METHODS.keys() <= set(acted)
    assert len(acted) > 6
