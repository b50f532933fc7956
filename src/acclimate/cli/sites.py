"""``acclimate sites MODEL``: every place in a model that can be adapted."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from acclimate.cli.output import aside, columns, say, write_json

if TYPE_CHECKING:
    from acclimate.sites import Site

__all__ = ["EXAMPLE", "sites"]

EXAMPLE = "acclimate sites acclimate.bench:pretrained --kind weight"
KINDS = ("weight", "call", "attention")


def sites(
    model: Annotated[str, typer.Argument(help="A folder or hub name of transformers, or package.module:function.")],
    role: Annotated[
        str | None, typer.Option(help="Only this role: q, norm, head; attention and mlp are groups.")
    ] = None,
    kind: Annotated[str | None, typer.Option(help="Only weight, call or attention sites.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Every place in a model that can be adapted.

    With its kind, its role and its shape: these are what `at=` can name.
    """
    if kind is not None and kind not in KINDS:
        raise ValueError(f"--kind {kind} is none of {', '.join(KINDS)}")
    from acclimate.cli.model import load
    from acclimate.sites import everywhere as all_sites
    from acclimate.sites.roles import GROUPS

    with aside():
        network = load(model).model
    found = [site for site in all_sites(network) if kind in (None, site.kind)]
    roles = Counter(site.role for site in found if site.role)
    if role is not None:
        found = [site for site in found if site.role == role or site.role in GROUPS.get(role, ())]
        if not found:
            raise ValueError(
                f"no site of {model} has the role {role!r}: there are {', '.join(sorted(roles)) or 'none'}"
            )
    rows = [_row(site) for site in found]
    if as_json:
        write_json(rows)
        return
    print(
        columns(
            [{**row, "shape": " x ".join(map(str, row["shape"] or ())), "tied": " ".join(row["tied"])} for row in rows]
        )
    )
    known = ", ".join(f"{name} {count}" for name, count in sorted(roles.items()))
    say(f"{len(rows)} sites; roles: {known or 'none known'}")


def _row(site: Site) -> dict[str, Any]:
    """``shape`` is a weight's matrix, an attention's (heads, groups, width), or a call's channels where they show."""
    shape: list[int] | None = None
    if site.kind == "weight":
        shape = list(site.shape)
    elif site.heads is not None:
        shape = list(site.heads)
    elif site.channels is not None:
        shape = [site.channels]
    return {
        "site": site.key,
        "kind": site.kind,
        "role": site.role,
        "type": site.type,
        "shape": shape,
        "tied": [f"{reader.path}.{reader.attribute}" for reader in site.readers[1:]],
    }
