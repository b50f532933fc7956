"""A recipe is the sentence filled in with a paper's defaults: methods at sites, a loss, a loop, a rule, players.

A recipe is a function that returns a `Sentence`, an `Adaptation` or a `Together`; its parameters are what can be overridden. It is
found by being decorated, in any module of this room, and holds no mechanism of its own.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from torch import nn

from acclimate.compose import Composition, compose
from acclimate.engine import Adapter, Method, attach
from acclimate.loops import Adaptation, Loop, Run, Score, evaluate, fit
from acclimate.losses import Loss
from acclimate.players import Player
from acclimate.rules import Rule
from acclimate.sites import At

__all__ = [
    "Finding",
    "Join",
    "Recipe",
    "RecipeError",
    "Result",
    "Sentence",
    "Together",
    "Tree",
    "all_recipes",
    "recipe",
    "written",
]


_STREAMED = "acclimate.recipes.streamed"  # by name: what a stream does is nothing that other recipes rest on


class RecipeError(ValueError):
    """A recipe was asked for that is not there, or given what it cannot use."""


@dataclass(frozen=True)
class Sentence:
    """Put ``method`` (at sites), teach it with ``loss``, in ``loop``, by ``rule``, beside ``players``."""

    method: Mapping[Method, At]
    loss: Loss
    loop: Loop
    rule: Rule
    players: Sequence[Player] = ()


class Join(Protocol):
    """How adapters become one: a value, so that two recipes can be compared. ``adapters`` are names and files; where it
    is a mapping, each has data of its own. ``data`` is what the recipe is given to learn from."""

    def __call__(self, model: nn.Module, adapters: Collection[Any], name: str, seed: int, data: Any) -> Adapter: ...


@dataclass(frozen=True)
class Tree:
    """One node over all of them, and over ``fresh`` methods (or ``{method: at}``) that are taught beside them.

    >>> from acclimate.compose import Average
    >>> Tree(Average, {"weights": (2, -1)}) == Tree(Average, {"weights": (1, -1)})
    False
    """

    node: type[Composition]
    settings: Mapping[str, Any] = field(default_factory=dict)
    fresh: Sequence[Any] = ()

    def __call__(
        self, model: nn.Module, adapters: Collection[Any], name: str = "tree", seed: int = 0, data: Any = None
    ) -> Adapter:
        return compose(model, self.over(adapters), name=name, seed=seed)

    def over(self, adapters: Collection[Any] = ()) -> Composition:
        """The node, over no model in particular."""
        return self.node(*adapters, *self.fresh, **self.settings)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Together:
    """Adapters that are there made one by ``join``, and then taught, if there is a loss, in ``loop``."""

    join: Join
    loss: Loss | None = None
    loop: Loop | None = None
    rule: Rule | None = None


@dataclass(frozen=True)
class Finding:
    """What a claim measured against what must hold; ``note`` says what of the paper was looked for and not seen."""

    measured: Mapping[str, Any]
    required: str
    passed: bool
    note: str = ""


@dataclass(frozen=True)
class Result:
    """What a recipe did to a model: the adapter, the run, and the score before and after, with data for it."""

    adapter: Adapter
    run: Run | None = None
    before: Score | None = None
    after: Score | None = None
    events: tuple[Any, ...] = ()
    logits: Any = field(default=None, repr=False)


Maker = Callable[..., Sentence | Adaptation | Together]
Claim = Callable[[Sequence[int], bool], Finding]


@dataclass(frozen=True)
class Recipe:
    """A named recipe with its settings; ``recipe("tent", lr=1e-4)`` makes one."""

    name: str
    papers: tuple[str, ...]
    family: str
    needs: frozenset[str]
    make: Maker = field(repr=False)
    seeds: tuple[int, ...] = (0, 1, 2)
    settings: Mapping[str, Any] = field(default_factory=dict)
    claims: list[Claim] = field(default_factory=list, repr=False, compare=False)

    @property
    def summary(self) -> str:
        return (inspect.getdoc(self.make) or "").splitlines()[0]

    @property
    def defaults(self) -> dict[str, Any]:
        return {n: p.default for n, p in inspect.signature(self.make).parameters.items()}

    def using(self, **settings: Any) -> Recipe:
        """The recipe with other settings."""
        unknown = sorted(set(settings) - set(self.defaults))
        if unknown:
            raise RecipeError(
                f"the recipe {self.name} has no setting {unknown[0]!r}: it has {', '.join(self.defaults) or 'none'}"
            )
        return replace(self, settings={**self.settings, **settings})

    @property
    def made(self) -> Sentence | Adaptation | Together:
        """What the recipe says, with its settings."""
        return self.make(**self.settings)

    @property
    def sentence(self) -> Sentence:
        """The parts of a recipe that is taught by `fit`."""
        made = self.made
        if not isinstance(made, Sentence):
            raise RecipeError(f"{self.name} is not taught from scratch: its parts are in .made")
        return made

    @property
    def adaptation(self) -> Adaptation:
        """The parts of a stream recipe."""
        made = self.made
        if not isinstance(made, Adaptation):
            raise RecipeError(
                f"{self.name} does not run on a stream, it takes {' and '.join(sorted(self.needs))}: recipes for "
                f"streams are {', '.join(fitting({'stream'}))}"
            )
        return made

    def claim(self, function: Claim) -> Claim:
        """Decorator: the function runs the claim over seeds, with the mechanism on or off."""
        self.claims.append(function)
        return function

    def sources(self) -> str:
        """A hash of the code the recipe and its claim rest on."""
        from acclimate.recipes.sources import digest

        runs = [_STREAMED] if self.needs == {"stream"} else []
        return digest([self.make.__module__, *runs], [self.make, *self.claims])

    def run(
        self,
        model: nn.Module,
        *,
        name: str | None = None,
        data: Any = None,
        eval: Any = None,
        out: str | Path | None = None,
        seed: int = 0,
        progress: bool | None = None,
        takes: Mapping[str, str] | None = None,
        **given: Any,
    ) -> Result:
        """Do it: ``train=``, ``source=`` and ``target=``, ``target=``, ``stream=`` or ``adapters=``, as the recipe needs.

        ``eval`` is labelled data to score before and after; ``data`` one batch for methods that look at some first (by
        default the first that they are taught on).
        """
        self._refuse(given)
        before = None if eval is None else evaluate_or_none(model, eval, takes)
        made = self.made
        if isinstance(made, Adaptation):
            answered: Result = importlib.import_module(_STREAMED).streamed(
                model, made, given["stream"], name or self.name, seed
            )
            return replace(answered, before=before)
        if isinstance(made, Together):
            return self._joined(model, made, given, name or self.name, before, eval, out, seed, progress, takes)
        taught = given if len(given) > 1 else next(iter(given.values()))
        if data is None and any(method.looks for method in made.method):
            feed = made.loop.open(taught, takes, seed)
            data = next(iter(made.loop.steps(feed, 0)))[-1].inputs
        adapter = attach(model, dict(made.method), name=name or self.name, data=data, seed=seed)
        run = fit(
            model, taught, made.loss, made.loop, made.rule, made.players,
            seed=seed, out=out, progress=progress, takes=takes,
        )  # fmt: skip
        after = None if eval is None else evaluate(model, eval, takes)
        return Result(adapter, run, before, after)

    def _joined(
        self, model: nn.Module, made: Together, given: Mapping[str, Any], name: str, before: Score | None, eval: Any,
        out: str | Path | None, seed: int, progress: bool | None, takes: Mapping[str, str] | None,
    ) -> Result:  # fmt: skip
        adapter, run = made.join(model, given.get("adapters", ()), name, seed, given.get("train")), None
        if made.loss is not None:
            assert made.loop is not None and made.rule is not None
            run = fit(
                model, given["train"], made.loss, made.loop, made.rule,
                seed=seed, out=out, progress=progress, takes=takes,
            )  # fmt: skip
        after = None if eval is None else evaluate(model, eval, takes)
        return Result(adapter, run, before, after)

    def _refuse(self, given: Mapping[str, Any]) -> None:
        if set(given) != self.needs:
            others = fitting(set(given))
            found = " and ".join(sorted(given)) or "nothing"
            would = f"with that, {', '.join(others)} would run" if others else "no recipe runs with that alone"
            raise RecipeError(f"{self.name} needs {' and '.join(sorted(self.needs))}, and was given {found}: {would}")


def evaluate_or_none(model: nn.Module, data: Any, takes: Mapping[str, str] | None) -> Score | None:
    """The unadapted model's score, where its answers are classes of these labels."""
    from acclimate.loops import LoopError

    try:
        return evaluate(model, data, takes)
    except (LoopError, TypeError):
        return None


def written(papers: Sequence[str], needs: Sequence[str], seeds: Sequence[int] = (0, 1, 2)) -> Callable[[Maker], Recipe]:
    """Decorator: make a function a recipe of these papers, that needs this data."""

    def made(function: Maker) -> Recipe:
        family = function.__module__.rpartition(".")[2]
        name = function.__name__.replace("_", "-")
        return Recipe(name, tuple(papers), family, frozenset(needs), function, tuple(seeds))

    return made


def all_recipes() -> dict[str, Recipe]:
    """Every recipe there is, by name."""
    import acclimate.recipes as room

    found: dict[str, Recipe] = {}
    for module in pkgutil.iter_modules(room.__path__):
        for value in vars(importlib.import_module(f"{room.__name__}.{module.name}")).values():
            if isinstance(value, Recipe):
                found[value.name] = value
    return dict(sorted(found.items()))


def fitting(given: set[str]) -> list[str]:
    """The recipes that run with this data."""
    return [name for name, each in all_recipes().items() if each.needs == given]


def recipe(name: str, **settings: Any) -> Recipe:
    """A recipe by name, with settings of your own.

    >>> recipe("lora", rank=4).settings
    {'rank': 4}
    """
    found = all_recipes()
    if name not in found:
        from difflib import get_close_matches

        near = get_close_matches(name, found, n=3, cutoff=0.4) or list(found)
        raise RecipeError(f"there is no recipe {name!r}: nearest are {', '.join(near)}; `acclimate recipes` lists all")
    return found[name].using(**settings)
