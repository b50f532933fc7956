"""``acclimate push ADAPTER REPO`` and ``acclimate pull REPO TARGET``: adapters on a hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from acclimate.cli.output import aside, write_json

__all__ = ["PULL", "PUSH", "pull", "push"]

PUSH = "acclimate push adapted/lora.safetensors me/legal-lora"
PULL = "acclimate pull me/legal-lora adapted"
_Revision = typer.Option(help="A branch, tag or commit; the main branch when unsaid.")
_Json = typer.Option("--json", help="As JSON.")


def push(
    adapter: Annotated[Path, typer.Argument(help="A file or folder of any format that convert reads.")],
    repo: Annotated[str, typer.Argument(help="Whose and which: name/repository.")],
    public: Annotated[
        bool, typer.Option("--public", help="Everybody may read a repository that is made for it.")
    ] = False,
    revision: Annotated[str | None, _Revision] = None,
    as_json: Annotated[bool, _Json] = False,
) -> None:
    """Upload an adapter to a hub.

    A repository that is missing is made, private unless --public. HF_ENDPOINT says which hub, HF_TOKEN who you are.
    """
    from acclimate.store import push as upload

    with aside():
        url = upload(adapter, repo, revision, private=not public)
    if as_json:
        write_json({"adapter": adapter, "repo": repo, "commit": url})
    else:
        print(f"{adapter} is at {url}")


def pull(
    repo: Annotated[str, typer.Argument(help="Whose and which: name/repository.")],
    target: Annotated[Path, typer.Argument(help="The folder to write to.")],
    revision: Annotated[str | None, _Revision] = None,
    as_json: Annotated[bool, _Json] = False,
) -> None:
    """Download an adapter from a hub.

    Settings and safetensors alone, of any format that convert reads; never a pickle.
    """
    from acclimate.store import pull as download
    from acclimate.store import recognised

    with aside():
        path = download(repo, target, revision)
    form = recognised(path).name
    if as_json:
        write_json({"repo": repo, "adapter": path, "format": form})
    else:
        print(f"{path} is an adapter in the format of {form}")
