"""How PEFT names modules: by the end of a path, or by a regular expression over all of it.

Expressions come from a stranger's file, so those that could take forever to match are refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable

from acclimate.store.peft.refusal import PeftError

__all__ = ["Names", "bounded", "ends", "expression", "first", "names", "shortest"]

Names = list[str] | str
"""Ends of paths, or one expression over whole paths."""

_LONGEST, _MOST = 100, 1e6
"""Letters that a path has at most, as an estimate, and ways of matching that a pattern may have to try."""


def ends(path: str, name: str) -> bool:
    """Whether a path is this name or ends in it.

    >>> ends("layer.0.query", "query"), ends("layer.0.my_query", "query")
    (True, False)
    """
    return path == name or path.endswith(f".{name}")


def expression(text: str) -> re.Pattern[str]:
    """A stranger's regular expression, compiled if it is one that cannot run for long.

    >>> expression(r".*decoder.*(self|cross).*(q|v)_proj").fullmatch("decoder.0.self.q_proj") is not None
    True
    """
    if not bounded(text):
        raise PeftError(f"the pattern {text[:60]!r} could take very long to match: name the modules in a list instead")
    try:
        return re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise PeftError(f"the pattern {text[:60]!r} is no regular expression: {error}") from error


def bounded(names: Names) -> bool:
    """Whether matching these names cannot run for long: always, unless they are an expression of many choices.

    >>> bounded(["query"]), bounded(r".*query"), bounded(r"(.*)*query")
    (True, True, False)
    """
    return not isinstance(names, str) or _ways(names) <= _MOST


def _ways(text: str) -> float:
    """How many ways of matching there are at most; infinite for what is not counted, such as repeated groups."""
    ways, repeated, choices, last = 1.0, 0, [1], ""
    for token in re.findall(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?:|.", text, re.DOTALL):
        if (
            (token[0] == "\\" and token[1:].isdecimal())
            or (token in "*+{" and last == ")")
            or (token == "?" and last == "(")
        ):
            return math.inf
        if token[0] == "(":
            choices.append(1)
        elif token == ")" and len(choices) > 1:
            ways *= choices.pop()
        elif token == "|":
            choices[-1] += 1
        elif token in ("*", "+", "{"):
            repeated += 1
        elif token == "?" and last not in ("*", "+", "}"):
            ways *= 2
        last = token
    return ways * math.prod(choices) * math.comb(_LONGEST, repeated)


def first(patterns: Iterable[str], path: str) -> str | None:
    """The first of the expressions of ``rank_pattern`` or ``alpha_pattern`` that matches the end of a path.

    >>> first(["layer.1.key", "key"], "encoder.layer.0.key")
    'key'
    """
    for each in patterns:
        expression(each)
        if re.match(rf"(.*\.)?({each})$", path):
            return each
    return None


def shortest(path: str, friends: Collection[str], everyone: Iterable[str]) -> str | None:
    """The shortest end of a path that, among everyone, only friends end in; None where even all of it is an end.

    >>> shortest("a.0.query", {"a.0.query", "a.1.query"}, ["a.0.query", "a.1.query", "a.0.key"])
    'query'
    """
    strangers = [other for other in everyone if other not in friends]
    steps = path.split(".")
    for count in range(1, len(steps) + 1):
        name = ".".join(steps[-count:])
        if not any(ends(other, name) for other in strangers):
            return name
    return None


def names(paths: Collection[str], everyone: Collection[str]) -> Names:
    """What to write so that PEFT finds exactly these paths: ends if they can tell them apart.

    >>> names({"a.0.query", "a.1.query"}, {"a.0.query", "a.1.query", "a.0.key"})
    ['query']
    >>> names({"fc"}, {"fc", "block.fc"})
    'fc'
    """
    found = {shortest(path, paths, everyone) for path in paths}
    if None in found:
        return "|".join(re.escape(path) for path in sorted(paths))
    return sorted(name for name in found if name is not None)
