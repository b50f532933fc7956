"""What the suites of stream methods have, and what the same is here."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["PEERS", "Peer"]


class Peer(NamedTuple):
    """A method of a suite; ``ours`` is a recipe's name, and empty where there is none."""

    name: str
    suites: str
    ours: str = ""
    note: str = ""


_BOTH, _TTA, _TTAB = "both", "test-time-adaptation", "ttab"

PEERS = (
    Peer("BN-1, bn_adapt", _BOTH, "norm-test"),
    Peer("norm_alpha", _TTA, "norm-alpha"),
    Peer("Tent", _BOTH, "tent"),
    Peer("MEMO", _BOTH, "memo", "batches, not single images, are episodes"),
    Peer("TTAug", _TTA, "ttaug"),
    Peer("ETA", _TTA, "eta"),
    Peer("EATA", _BOTH, "eata", "the start is weighed by inputs that are given, or by the first batch"),
    Peer("RDumb", _TTA, "rdumb"),
    Peer(
        "SAR",
        _BOTH,
        "sar",
        "rows are filtered anew uphill; name the layers to train with a glob where not all norms are meant",
    ),
    Peer("CoTTA", _BOTH, "cotta"),
    Peer(
        "RoTTA",
        _BOTH,
        "rotta",
        "the answering model's predictions balance the memory, and statistics follow the stream",
    ),
    Peer(
        "AdaContrast",
        _TTA,
        "adacontrast",
        "neighbours vote from the first batch on, asked by the teacher's features; the row as it is stands for the weak view",
    ),
    Peer("LAME", _TTA, "lame"),
    Peer("RPL", _TTA, "rpl"),
    Peer("SANTA", _TTA, "santa", "without the projection, and without features of the augmented view"),
    Peer("CMF", _TTA, "cmf"),
    Peer("DeYO", _TTA, "deyo"),
    Peer(
        "GTTA",
        _TTA,
        "gtta",
        "labelled rows of the source have to be given; style is that of pixels, not redrawn by a network",
    ),
    Peer(
        "RMT",
        _TTA,
        "rmt",
        "without warming up and replaying the source, and without the projection; the teacher alone answers",
    ),
    Peer("ROID", _TTA, "roid", "the loss is a mean over rows that teach"),
    Peer("TPT, VTE", _TTA, "", "for networks of images and texts with prompts of words"),
    Peer("SHOT, online", _TTAB, "shot-online", "labels are the model's own, not the centroids'"),
    Peer("T3A", _TTAB, "t3a"),
    Peer(
        "TTT",
        _TTAB,
        "ttt",
        "the second head is taught on a checkpoint, which is held (`turning`), and sits where the first does",
    ),
    Peer(
        "TTT++",
        _TTAB,
        "ttt-plus-plus",
        "the projector is taught on a checkpoint (`projecting`); its moments are not matched",
    ),
    Peer("NOTE", _TTAB, "note", "statistics follow what is answered, not the memory"),
    Peer("conjugate pseudo-labels", _TTAB, "conjugate-labels"),
)
