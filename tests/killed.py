"""A run in a process of its own, that may be killed after a step: `python killed.py FOLDER STEP` (0: never)."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import torch
from torch import nn

import acclimate as acc


def main(folder: Path, kill: int) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.Dropout(0.2), nn.ReLU(), nn.Linear(16, 3))
    adapter = acc.attach(model, acc.LoRA(rank=2), at="all", name="a")
    data = acc.as_batches((torch.randn(12, 6), torch.arange(12) % 3), size=3)

    def die(run: acc.Run) -> None:
        if run.step == kill:
            os.kill(os.getpid(), signal.SIGKILL)

    loop = acc.loops.finetune(epochs=2)
    acc.fit(model, data, acc.CrossEntropy(), loop, out=folder, every=1, callbacks=[die], progress=False)
    adapter.save(folder / "end.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
