"""A user's mistake is one sentence on the standard error and exit code 2; a defect of ours keeps its traceback."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from typer.core import TyperGroup

__all__ = ["Sentences", "sentence"]

_MISTAKES = (ValueError, LookupError, OSError)


class Sentences(TyperGroup):
    """The group of all commands, which alone turns errors into sentences."""

    def main(  # type: ignore[override]
        self, args: Sequence[str] | None = None, *, standalone_mode: bool = True, **extra: Any
    ) -> Any:
        given = list(sys.argv[1:] if args is None else args)
        try:
            code = super().main(given or ["--help"], standalone_mode=False, **extra)
        except Exception as error:
            if not _is_mistake(error):
                raise
            print(sentence(error), file=sys.stderr)
            code = 2
        if standalone_mode:
            sys.exit(code or 0)
        return code


def _is_mistake(error: Exception) -> bool:
    """What the library and the command line say of what they were given, as against what they did wrong."""
    return (
        isinstance(error, _MISTAKES)
        or (isinstance(error, ImportError) and not (error.name or "").startswith("acclimate"))  # an extra is missing
        or hasattr(error, "format_message")  # the command line's own: an unknown option, a missing argument
        or type(error).__module__.partition(".")[0] == "acclimate"
    )


def sentence(error: Exception) -> str:
    """An error in one line.

    >>> sentence(KeyError("there is no adapter 'b'"))
    "acclimate: there is no adapter 'b'"
    """
    said = error.format_message() if hasattr(error, "format_message") else str(error)
    if isinstance(error, KeyError) and error.args:
        said = str(error.args[0])
    return f"acclimate: {' '.join(said.split()) or type(error).__name__}"
