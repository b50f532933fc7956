"""Train the digits' convnet on clean images, in plain torch, and write its checkpoint beside it with what it reaches.

python scripts/train_digits.py
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from acclimate.bench.conditions import CONDITIONS
from acclimate.bench.convnet import CHECKPOINT, DigitsNet, accuracy
from acclimate.bench.digits import digits
from acclimate.data import Batches, generator

SEVERITIES = (0.6, 1.0)


def train(epochs: int = 40, seed: int = 0) -> DigitsNet:
    """Adam on a one-cycle learning rate, without augmentation."""
    torch.manual_seed(seed)
    model = DigitsNet().train()
    batches = Batches(*digits("train"), size=64, seed=seed, drop_last=True)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-2, total_steps=epochs * len(batches))
    for epoch in range(epochs):
        for batch in batches.epoch(epoch):
            optimiser.zero_grad()
            F.cross_entropy(model(batch.inputs), batch.labels, label_smoothing=0.05).backward()
            optimiser.step()
            schedule.step()
    return model.eval()


def measure(model: DigitsNet) -> dict[str, dict[str, float]]:
    """Accuracy on the held-out images by severity and condition; the noise is drawn with seed 0."""
    images, labels = digits("test")
    return {
        str(severity): {
            name: round(accuracy(model, condition(images, severity, generator(0)), labels), 4)
            for name, condition in CONDITIONS.items()
        }
        for severity in SEVERITIES
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=CHECKPOINT)
    out = parser.parse_args().out
    model = train()
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, out)
    stated = {
        "accuracy": measure(model),
        "bytes": out.stat().st_size,
        "sha256": hashlib.sha256(out.read_bytes()).hexdigest(),
    }
    out.with_suffix(".json").write_text(json.dumps(stated, indent=2) + "\n")
    print(out.with_suffix(".json").read_text())


if __name__ == "__main__":
    main()
