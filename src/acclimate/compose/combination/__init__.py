"""Rules that make one plain adapter, or one checkpoint, of several."""

from acclimate.compose.combination.adapters import updates
from acclimate.compose.combination.combine import combine, fold
from acclimate.compose.combination.extract import extract
from acclimate.compose.combination.fisher import fisher
from acclimate.compose.combination.plain import Combined
from acclimate.compose.combination.rule import NAMED, Rule, rule
from acclimate.compose.combination.update import Update, gram, total

__all__ = [
    "NAMED", "Combined", "Rule", "Update", "combine", "extract", "fisher", "fold", "gram", "rule", "total", "updates",
]  # fmt: skip
