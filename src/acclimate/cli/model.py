"""A model by what it is called on the command line.

folder or hub name of transformers     the class its configuration names, with its tokenizer or image processor
package.module:function                whatever the function returns, called without arguments
"""

from __future__ import annotations

import importlib
import inspect
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from torch import nn

__all__ = ["Loaded", "ModelError", "load"]


class ModelError(ValueError):
    """There is no model under the name given."""


@dataclass(frozen=True)
class Loaded:
    """A model, and what makes its inputs of texts or images; None where its inputs are tensors as they are."""

    model: nn.Module
    prepare: Callable[[Any], Any] | None = None


def load(name: str) -> Loaded:
    """The model of a name, in evaluation mode.

    >>> load("torch.nn:Identity").model
    Identity()
    """
    module, _, function = name.partition(":")
    if function and not Path(name).exists():
        return Loaded(_call(name, module, function).eval())
    return _pretrained(name)


def _call(name: str, module: str, function: str) -> nn.Module:
    sys.path.insert(0, os.getcwd())  # a console script does not look in the user's own folder
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ModelError(f"{name} names the module {error.name}, which cannot be found from {os.getcwd()}") from error
    except (ValueError, TypeError) as error:
        raise ModelError(f"{module!r} is no name of a module: give package.module:function") from error
    finally:
        sys.path.remove(os.getcwd())
    make = getattr(found, function, None)
    if not callable(make):
        near = get_close_matches(function, dir(found), n=3, cutoff=0.4)
        raise ModelError(f"the module {module} has no function {function!r}; nearest: {', '.join(near) or 'nothing'}")
    try:
        inspect.signature(make).bind()
    except TypeError as error:
        raise ModelError(
            f"{name} is called without arguments, and it wants some ({error}): wrap it in a function"
        ) from error
    made = make()
    if not isinstance(made, nn.Module):
        raise ModelError(f"{name} returned a {type(made).__name__}: it must return a torch.nn.Module")
    return made


def _pretrained(name: str) -> Loaded:
    try:
        import transformers
    except ModuleNotFoundError as error:
        raise ModelError(
            f"{name!r} is a model of transformers, which is not installed: pip install 'acclimate[text]', or give "
            "package.module:function"
        ) from error
    where: dict[str, Any] = {"local_files_only": Path(name).is_dir() or bool(os.environ.get("HF_HUB_OFFLINE"))}
    try:
        config = transformers.AutoConfig.from_pretrained(name, **where)
        named = next(
            (found for each in config.architectures or () if (found := getattr(transformers, each, None))), None
        )
        model = (named or transformers.AutoModel).from_pretrained(name, **where)
    except (OSError, ValueError) as error:
        why = re.split(r"(?<=\.)\s|\n", str(error).strip())[0]  # the rest is advice on other things
        raise ModelError(
            f"there is no model {name!r} in a folder, on the hub or as package.module:function: {why}"
        ) from error
    return Loaded(model.eval(), _prepare(name, where))


def _prepare(name: str, where: dict[str, Any]) -> Callable[[Any], Any] | None:
    """The model's own tokenizer or image processor as a function of a batch's texts or images."""
    from transformers import AutoProcessor, PreTrainedTokenizerBase

    try:
        processor: Any = AutoProcessor.from_pretrained(name, **where)  # type: ignore[no-untyped-call]
    except (OSError, ValueError, KeyError):
        return None
    if isinstance(processor, PreTrainedTokenizerBase):
        return lambda texts: dict(processor(list(texts), padding=True, truncation=True, return_tensors="pt"))
    return lambda images: dict(processor(images=list(images), do_rescale=False, return_tensors="pt"))
