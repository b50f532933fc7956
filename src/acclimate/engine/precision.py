"""Which precision a forward runs in, and which is the fastest that this machine multiplies in."""

from __future__ import annotations

import torch

__all__ = ["fastest", "forward_precision"]


def fastest(device: torch.device) -> torch.dtype | None:
    """bfloat16 where the hardware multiplies it (tensor cores, AMX), else None: emulated, it is several times slower.

    >>> fastest(torch.device("cpu")) in (None, torch.bfloat16)
    True
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else None
    if device.type == "cpu":
        return torch.bfloat16 if torch.cpu._is_amx_tile_supported() else None
    return None


def forward_precision(name: str | None, device: torch.device) -> torch.dtype | None:
    """What ``precision=`` means here; None is the model's own. Raises `ValueError` for a name that is none."""
    if name in (None, "fp32"):
        return None
    if name == "bf16":
        return torch.bfloat16
    if name == "fastest":
        return fastest(device)
    raise ValueError(f"precision={name!r} is none of 'fp32', 'bf16' and 'fastest' (what this machine multiplies in)")
