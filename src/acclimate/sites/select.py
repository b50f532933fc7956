"""Which sites ``at=`` means: a role, "all", a glob over paths ("*" crosses dots), a predicate, or a list of these."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase

from torch import nn

from acclimate.sites.find import find
from acclimate.sites.roles import GROUPS
from acclimate.sites.site import Kind, Site, SiteError

__all__ = ["At", "select"]

At = str | Callable[[Site], bool] | Sequence["At"]


def select(
    model: nn.Module, at: At, kind: Kind, fits: Callable[[Site], bool] = lambda site: True, what: str = "a method"
) -> list[Site]:
    """The sites of one kind that ``at`` means, in the model's order, each once.

    A glob names modules or parameters; a module stands for every site in it that the method ``fits``. Every
    pattern must match, and one that does not is an error that lists near misses.

    >>> [site.key for site in select(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), "0", "weight")]
    ['0.weight', '0.bias']
    """
    sites = find(model, kind)
    patterns = [at] if isinstance(at, str) or callable(at) else list(at)
    if not patterns:
        raise SiteError("at=[] names no site: give a role, 'all', a glob, a predicate or a list of these")
    chosen: set[str] = set()
    for pattern in patterns:
        chosen |= _match(pattern, sites, fits, kind, what, model)
    return [site for site in sites if site.key in chosen]


def _match(
    pattern: At, sites: list[Site], fits: Callable[[Site], bool], kind: Kind, what: str, model: nn.Module
) -> set[str]:
    if callable(pattern):
        found = [site for site in sites if pattern(site)]
        if not found:
            raise SiteError(
                f"the predicate given as at= holds for none of the {len(sites)} {kind} sites of {_name(model)}"
            )
        return _called(found)
    if not isinstance(pattern, str):
        return set().union(*(_match(p, sites, fits, kind, what, model) for p in pattern))
    if pattern == "all":
        found = [site for site in sites if fits(site) and site.callable]
        if not found:
            raise SiteError(f"{what} fits no {kind} site of {_name(model)}")
        return {site.key for site in found}
    by_role = _roles(pattern, sites, kind)
    if by_role:
        fitting = [site for site in by_role if fits(site)]
        return _called(fitting or by_role)
    named = [site for site in sites if _named(site, pattern)]
    inside = [site for site in sites if _inside(site, pattern)]
    for found in (named, inside):
        fitting = [site for site in found if fits(site)]
        if fitting:
            return _called(fitting)
    if named:
        return _called(named)
    other = _other_names(model, pattern)
    if other:
        return _match(other, sites, fits, kind, what, model)
    raise SiteError(f"at={pattern!r} matches no {kind} site of {_name(model)}; {_near(pattern, sites)}")


def _other_names(model: nn.Module, pattern: str) -> list[str]:
    """The first names of modules that a pattern means by their second: a module may be registered twice."""
    first = {id(module): name for name, module in model.named_modules()}
    every = model.named_modules(remove_duplicate=False)
    return [first[id(m)] for name, m in every if name != first[id(m)] and fnmatchcase(name, pattern)]


def _called(found: list[Site]) -> set[str]:
    for site in found:
        if not site.callable:
            raise SiteError(
                f"{site.key} is never called: {site.type} is read by its parent, so nothing put on its input or "
                "output would have an effect; adapt its weight instead"
            )
    return {site.key for site in found}


def _roles(pattern: str, sites: list[Site], kind: Kind) -> list[Site]:
    roles = {pattern}
    if kind == "weight":
        roles = set(GROUPS.get(pattern, (pattern,)))
    elif kind == "attention" and pattern == "attention":
        return list(sites)
    found = [site for site in sites if site.role in roles]
    if kind == "call" and not found:
        found = [site for site in sites if site.role in GROUPS.get(pattern, ())]
    return found


def _named(site: Site, pattern: str) -> bool:
    """The pattern names this parameter, or the module whose call this is."""
    if site.kind != "weight":
        return fnmatchcase(site.path, pattern)
    names = (f"{r.path}.{r.attribute}" if r.path else r.attribute for r in site.readers)
    return site.key == pattern or any(fnmatchcase(name, pattern) for name in names)


def _inside(site: Site, pattern: str) -> bool:
    """The pattern names the module that holds this parameter."""
    return site.kind == "weight" and any(fnmatchcase(reader.path, pattern) for reader in site.readers)


def _near(pattern: str, sites: list[Site]) -> str:
    roles = sorted({site.role for site in sites if site.role})
    names = list(dict.fromkeys([*roles, *(site.key for site in sites), *(site.path for site in sites)]))
    near = get_close_matches(pattern, names, n=4, cutoff=0.4) or names[:4]
    there = f"roles here: {', '.join(roles)}" if roles else "no role is known here"
    return f"nearest: {', '.join(map(repr, near)) or 'nothing'}; {there}; acc.sites(model) lists all"


def _name(model: nn.Module) -> str:
    return type(model).__name__
