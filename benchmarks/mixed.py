"""A batch of 32 rows, each with an adapter of its own."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch

import acclimate as acc
from benchmarks.measure import Row, by_turns
from benchmarks.networks import Chain, peft_lora

__all__ = ["rows"]

ROWS, RANK = 32, 8


def rows(rounds: int = 7) -> list[Row]:
    return [_measured(224, 64, 1, "10x", 10.0, rounds), _measured(8, 1024, 1, "no slower, within 2 %", 0.98, rounds)]


def _measured(sites: int, width: int, tokens: int, aim: str, least: float, rounds: int) -> Row:
    x = torch.randn(ROWS, tokens, width, generator=torch.Generator().manual_seed(0))
    ours, base = Chain(sites, width).eval(), Chain(sites, width)
    names = [f"a{n}" for n in range(ROWS)]
    peer = peft_lora(base, RANK, r"layers\.\d+", names[0]).eval()
    for name in names[1:]:
        peer.add_adapter(name, peer.peft_config[names[0]])
    theirs = dict(peer.named_parameters())
    with tempfile.TemporaryDirectory() as folder:
        for number, name in enumerate(names):
            adapter = acc.attach(ours, acc.LoRA(rank=RANK), at="all", name=name, seed=number)
            _give(adapter, theirs, name)
            adapter.save(Path(folder) / "a.safetensors")
            adapter.detach()
            acc.load(ours, Path(folder) / "a.safetensors", name=name)

    @torch.no_grad()
    def mine() -> torch.Tensor:
        with acc.rows(ours, names):
            return ours(x)

    @torch.no_grad()
    def other() -> torch.Tensor:
        return peer(x, adapter_names=names)

    torch.testing.assert_close(mine(), other(), rtol=1e-4, atol=1e-4)
    fast, slow = by_turns(mine, other, rounds)
    work = f"{ROWS} rows over {ROWS} adapters, {sites} sites d={width}"
    return Row(work, 1e3 * fast, 1e3 * slow, "ms", aim, slow / fast >= least)


@torch.no_grad()
def _give(adapter: acc.Adapter, theirs: dict[str, torch.nn.Parameter], name: str) -> None:
    generator = torch.Generator().manual_seed(int(name[1:]))
    for key, parameter in adapter.named_parameters():
        _, site, role = key.split("/")
        values = torch.randn(parameter.shape, generator=generator) * 0.1
        parameter.copy_(values)
        side = {"down": "lora_A", "up": "lora_B"}[role]
        theirs[f"base_model.model.{site.removesuffix('.weight')}.{side}.{name}.weight"].copy_(values)
