"""What ``import acclimate`` costs beside ``import torch``, and what ``import peft`` costs, in fresh processes."""

from __future__ import annotations

import statistics
import subprocess
import sys

from benchmarks.measure import Row

__all__ = ["rows"]

CODE = """
import time
t = time.process_time()
import torch
u = time.process_time()
import {name}
print(u - t, time.process_time() - u)
"""


def _extra(name: str, rounds: int) -> tuple[float, float]:
    """Median CPU seconds of torch's import, and of the package's after it."""
    found = []
    for _ in range(rounds):
        run = subprocess.run([sys.executable, "-c", CODE.format(name=name)], capture_output=True, text=True, check=True)
        found.append([float(word) for word in run.stdout.split()])
    return statistics.median(f[0] for f in found), statistics.median(f[1] for f in found)


def rows(rounds: int = 5) -> list[Row]:
    torch_alone, ours = _extra("acclimate", rounds)
    _, peer = _extra("peft", rounds)
    total, peer_total = (torch_alone + ours) / torch_alone, (torch_alone + peer) / torch_alone
    return [Row("import, over torch's alone", total, peer_total, "x", "under 1.1x", total < 1.1)]
