"""Choosing by measuring: which rule, of those that could combine what is there, which task another is like, and which of several
ways to adapt, with or without the target's labels."""

from acclimate.choose.advice import Advice, advise
from acclimate.choose.alike import alike
from acclimate.choose.budget import Budget
from acclimate.choose.evidence import gather
from acclimate.choose.generalisation import leave_one_domain_out, training_domain_validation
from acclimate.choose.held_out import held_out, unlabelled
from acclimate.choose.minimax import Invariant, World, minimax_features
from acclimate.choose.report import Report
from acclimate.choose.rules import Tried, try_rules
from acclimate.choose.selection import Selection, Taught, Trial
from acclimate.choose.separation import boundaries, boundary, separated
from acclimate.choose.source_free import SourcePresentError, assert_absent, poisoned, reachable
from acclimate.choose.transferability import transferability
from acclimate.choose.trying import select
from acclimate.choose.unknown import OpenScore, known_threshold, knownness, open_score, with_unknown

__all__ = [
    "Advice", "Budget", "Invariant", "OpenScore", "Report", "Selection", "SourcePresentError", "Taught",
    "Trial", "Tried", "World", "advise", "alike", "assert_absent", "boundaries", "boundary", "gather", "held_out",
    "known_threshold", "knownness", "leave_one_domain_out", "minimax_features", "open_score", "poisoned",
    "reachable", "select", "separated", "training_domain_validation", "transferability", "try_rules",
    "unlabelled", "with_unknown",
]  # fmt: skip
