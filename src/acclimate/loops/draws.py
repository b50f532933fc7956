"""Randomness of one's own: draws that nobody else sees, and that see nobody else's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["Draws"]


class Draws:
    """A random state that goes on from one use to the next; the global one is left as it was.

    >>> draws, before = Draws(0, torch.device("cpu")), torch.get_rng_state()
    >>> with draws():
    ...     _ = torch.rand(1)
    >>> bool((torch.get_rng_state() == before).all())
    True
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        self.devices = [device] if device.type == "cuda" else []
        places = [torch.device("cpu"), *self.devices]
        self.states = [torch.Generator(place).manual_seed(seed).get_state() for place in places]

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with torch.random.fork_rng(devices=self.devices):
            torch.set_rng_state(self.states[0])
            for device, state in zip(self.devices, self.states[1:], strict=True):
                torch.cuda.set_rng_state(state, device)
            yield
            self.states = [torch.get_rng_state(), *(torch.cuda.get_rng_state(device) for device in self.devices)]
