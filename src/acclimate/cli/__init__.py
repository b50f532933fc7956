"""The commands: ``acclimate sites``, ``show``, ``papers``, ``recipes``, ``verify``, ``run``, ``convert``, ``demo``.

What a program would read is JSON on the standard output (``--json``); everything else there is for people. Progress
and errors go to the standard error; a user's mistake is one sentence and exit code 2, a claim that fails exit code 1.
"""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """The console script."""
    try:
        import typer  # noqa: F401
    except ModuleNotFoundError:
        print("the commands need typer: install acclimate[cli], as in pip install 'acclimate[cli]'", file=sys.stderr)
        raise SystemExit(2) from None
    from acclimate.cli.app import app

    app(prog_name="acclimate")
