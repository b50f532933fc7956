"""Data that every machine has, networks for it, and what is measured on them."""

from acclimate.bench.conditions import CONDITIONS, Moment, Pair, Stream, shifted_pair, stream
from acclimate.bench.convnet import DigitsNet, accuracy, pretrained
from acclimate.bench.digits import digits

__all__ = [
    "CONDITIONS", "DigitsNet", "Moment", "Pair", "Stream", "accuracy", "digits", "pretrained", "shifted_pair", "stream",
]  # fmt: skip
