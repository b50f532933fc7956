"""Which rows of a batch teach, and how much: a filter gives each row a weight, and those of several multiply."""

from acclimate.players.filters.confident import Confident
from acclimate.players.filters.diverse import Diverse
from acclimate.players.filters.entropy_band import EntropyBand
from acclimate.players.filters.filter import Filter, FilterState
from acclimate.players.filters.low_entropy import LowEntropy
from acclimate.players.filters.novel import Novel
from acclimate.players.filters.sensitive import Sensitive

__all__ = [
    "Confident", "Diverse", "EntropyBand", "Filter", "FilterState", "LowEntropy", "Novel", "Sensitive",
]  # fmt: skip
