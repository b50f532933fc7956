"""Scikit-learn's handwritten digits: 1,797 images of 8 by 8, ten classes.

Images near each other are often by one hand, so the last 600 are held out as they lie: a split that is drawn would
show a test writer's other digits to the training.

Alpaydin, Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

__all__ = ["TEST", "Part", "columns", "digits"]

Part = Literal["train", "test"]
TEST = 600
"""How many images are held out."""


def digits(part: Part = "train") -> tuple[Tensor, Tensor]:
    """Images (rows, 1, 8, 8) in [0, 1] and labels (rows,).

    >>> [tuple(digits(part)[0].shape) for part in ("train", "test")]
    [(1197, 1, 8, 8), (600, 1, 8, 8)]
    """
    if part not in ("train", "test"):
        raise ValueError(f"the digits have no part {part!r}: there are 'train' and 'test'")
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError(
            "the digits come with scikit-learn, which is not installed: pip install 'acclimate[demo]'"
        ) from error
    found = load_digits()
    images = torch.from_numpy(found.images).to(torch.float32).unsqueeze(1) / 16
    labels = torch.from_numpy(found.target).long()
    rows = slice(None, -TEST) if part == "train" else slice(-TEST, None)
    return images[rows].contiguous(), labels[rows].contiguous()


def columns(part: str = "train") -> dict[str, Any]:
    """The same as columns ``image`` and ``label``."""
    images, labels = digits(part)  # type: ignore[arg-type]
    return {"image": images, "label": labels}
