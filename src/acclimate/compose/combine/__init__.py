"""Rules that make one plain adapter, or one checkpoint, of several."""

from acclimate.compose.combine.adapters import updates
from acclimate.compose.combine.combine import combine, fold
from acclimate.compose.combine.extract import extract
from acclimate.compose.combine.plain import Combined
from acclimate.compose.combine.rule import NAMED, Rule, rule
from acclimate.compose.combine.update import Update, gram, total

__all__ = ["NAMED", "Combined", "Rule", "Update", "combine", "extract", "fold", "gram", "rule", "total", "updates"]
