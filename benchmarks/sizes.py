"""Bytes on disk of methods whose bases are random: trained values and a seed here, bases too where PEFT saves them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import acclimate as acc
from benchmarks.measure import Row
from benchmarks.networks import Chain

__all__ = ["rows"]

SITES, WIDTH, RANK = 8, 1024, 8


def rows() -> list[Row]:
    from peft import RandLoraConfig, VeraConfig, get_peft_model

    kinds: dict[str, tuple[acc.Method, Any]] = {
        "RandLoRA": (acc.RandLoRA(rank=RANK), RandLoraConfig(r=RANK, target_modules=r"layers\.\d+")),
        "VeRA": (acc.VeRA(rank=RANK), VeraConfig(r=RANK, target_modules=r"layers\.\d+")),
    }
    found = []
    for name, (method, config) in kinds.items():
        with tempfile.TemporaryDirectory() as folder:
            adapter = acc.attach(Chain(SITES, WIDTH), method, at="all")
            trained = sum(4 * parameter.numel() for parameter in adapter.parameters()) / 2**20
            mine = adapter.save(Path(folder) / "a.safetensors").stat().st_size / 2**20
            peer = get_peft_model(Chain(SITES, WIDTH), config)
            peer.save_pretrained(str(Path(folder) / "peft"))
            other = (Path(folder) / "peft" / "adapter_model.safetensors").stat().st_size / 2**20
        aim = "trained values and 32 kB"
        found.append(Row(f"{name} on disk, 8 of 1024^2", mine, other, "MB", aim, mine <= trained + 1 / 32, trained))
    return found
