"""`adapter_config.json`, read as a stranger's: every value is checked before it is believed."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from acclimate.store.peft.pattern import Names, ends, expression
from acclimate.store.peft.refusal import PeftError

__all__ = ["COMMON", "VERSION", "Settings", "common"]

VERSION = "0.21.2"
"""The version of PEFT whose format is written."""

COMMON = (
    "auto_mapping", "base_model_name_or_path", "inference_mode", "peft_type", "peft_version", "revision",
    "runtime_config", "task_type",
)  # fmt: skip
"""What every configuration may say, and what changes nothing that the network computes."""


@dataclass(frozen=True)
class Settings:
    """A configuration, with getters that refuse values of the wrong type."""

    path: Path
    values: Mapping[str, Any]

    @staticmethod
    def read(path: Path) -> Settings:
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise PeftError(f"{path} is no JSON that can be read ({error}): get it again from its source") from error
        if not isinstance(values, dict):
            raise PeftError(f"{path} holds {type(values).__name__} where settings were expected")
        return Settings(path, values)

    def wrong(self, key: str, wanted: str) -> PeftError:
        return PeftError(f"{self.path} says {key}={str(self.values.get(key))[:60]!r}, and {wanted} was expected")

    def flag(self, key: str) -> bool:
        value = self.values.get(key)
        if value not in (None, True, False):
            raise self.wrong(key, "true or false")
        return bool(value)

    def number(self, key: str, default: float) -> float:
        value = self.values.get(key, default)
        if not _number(value):
            raise self.wrong(key, "a number from 0 up")
        return float(value)

    def whole(self, key: str) -> int:
        value = self.values.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 2**31:
            raise self.wrong(key, "a whole number above 0")
        return value

    def numbers(self, key: str) -> dict[str, float]:
        value = self.values.get(key) or {}
        if not isinstance(value, dict) or not all(_number(each) for each in value.values()):
            raise self.wrong(key, "numbers by module")
        return {name: float(each) for name, each in value.items()}

    def names(self, key: str) -> Names:
        value = self.values.get(key) or []
        if not isinstance(value, str) and not (isinstance(value, list) and all(isinstance(v, str) for v in value)):
            raise self.wrong(key, "names of modules")
        return value

    def only(self, read: Collection[str], harmless: Collection[str], defaults: Mapping[str, Any]) -> None:
        """Refuse a setting that is in use and that nobody here reads: it could change what the network computes."""
        for key, value in self.values.items():
            idle = value in (None, False, "", [], {}) or value == defaults.get(key)
            if not idle and key not in read and key not in harmless and key not in COMMON:
                raise PeftError(
                    f"{self.path} asks for {key[:60]}={str(value)[:60]}, which no method here can express: "
                    "take it out of the adapter in PEFT, for instance by merging it"
                )

    def targets(self, path: str) -> bool:
        """Whether PEFT would adapt the module of this path."""
        excluded, wanted = self.names("exclude_modules"), self.names("target_modules")
        saved = self.names("modules_to_save")
        if excluded and _matches(excluded, path):
            return False
        if any(ends(path[:stop], name) for name in saved for stop in _stops(path)):
            return False
        if isinstance(wanted, str) or path in wanted:
            return _matches(wanted, path)
        return _matches(wanted, path) and self._layer(path)

    def _layer(self, path: str) -> bool:
        layers, before = self.values.get("layers_to_transform"), self.names("layers_pattern")
        if layers is None or layers == []:
            return True
        chosen = layers if isinstance(layers, list) else [layers]
        steps = path.split(".")
        lists = [before] if isinstance(before, str) else before
        for index in range(1, len(steps) - 1):
            if steps[index].isdecimal() and (not lists or steps[index - 1] in lists):
                return int(steps[index]) in chosen
        return False


def _matches(wanted: Names, path: str) -> bool:
    if isinstance(wanted, str):
        return expression(wanted).fullmatch(path) is not None
    return any(ends(path, name) for name in wanted)


def _stops(path: str) -> list[int]:
    return [*(index for index, letter in enumerate(path) if letter == "."), len(path)]


def _number(value: Any) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return 0 <= value < 1e30 and math.isfinite(value)


def common(model: nn.Module, kind: str) -> dict[str, Any]:
    """The settings that every type has, as PEFT fills them in."""
    cls = type(model)
    return {
        "auto_mapping": {"base_model_class": cls.__name__, "parent_library": cls.__module__},
        "base_model_name_or_path": model.__dict__.get("name_or_path") or None,
        "inference_mode": True,
        "peft_type": kind,
        "peft_version": VERSION,
        "revision": None,
        "task_type": None,
    }
