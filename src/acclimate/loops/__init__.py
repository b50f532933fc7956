"""When a model is taught, and on what."""

from acclimate.loops.adaptation import Adaptation
from acclimate.loops.amplitude_pair import amplitude_pair
from acclimate.loops.asking import Oracle, ask_in_rounds, consult
from acclimate.loops.augmented_pair import augmented_pair
from acclimate.loops.beforehand import taught_beforehand
from acclimate.loops.cross_view import cross_view
from acclimate.loops.domain_pair import domain_pair
from acclimate.loops.ensemble import ensemble
from acclimate.loops.evaluate import Score, evaluate, predict
from acclimate.loops.finetune import finetune
from acclimate.loops.fit import Run, fit
from acclimate.loops.guard import Guard
from acclimate.loops.held_pair import held_pair
from acclimate.loops.imagined import imagined
from acclimate.loops.joined_pair import joined_pair
from acclimate.loops.lean import lean
from acclimate.loops.loop import Loop, LoopError
from acclimate.loops.many_domains import many_domains
from acclimate.loops.mixed_domains import mixed_domains
from acclimate.loops.recompute import recomputing
from acclimate.loops.routed_domains import routed_domains
from acclimate.loops.simulated_pair import simulated_pair
from acclimate.loops.source_free import source_free
from acclimate.loops.stream import Event, Stream, stream
from acclimate.loops.stream_state import keep_stream, resume_stream
from acclimate.loops.structure_pair import structure_pair
from acclimate.loops.two_sided import Cloud, Edge

__all__ = [
    "Adaptation", "Cloud", "Edge", "Event", "Guard", "Loop", "LoopError", "Oracle", "Run", "Score", "Stream",
    "amplitude_pair", "ask_in_rounds", "augmented_pair", "consult", "cross_view", "domain_pair", "ensemble",
    "evaluate", "finetune", "fit", "held_pair", "imagined", "joined_pair", "keep_stream", "many_domains",
    "lean", "mixed_domains", "predict", "recomputing", "resume_stream", "routed_domains", "simulated_pair",
    "source_free", "stream", "structure_pair", "taught_beforehand",
]  # fmt: skip
