"""Finding places in a model: what could be adapted, with its role, in any ``nn.Module``."""

import sys
from types import ModuleType

from torch import nn

from acclimate.sites.attention import Way, geometry, way_in
from acclimate.sites.find import base_modules, everywhere, find
from acclimate.sites.held import HeldError, multiplies_bits, numbers, quantised, requantised, whole
from acclimate.sites.layout import Layout, linear
from acclimate.sites.roles import ROLES, roles_of
from acclimate.sites.select import At, select
from acclimate.sites.site import HOST, Kind, Measured, Reader, Site, SiteError, present, raw

__all__ = [
    "HOST",
    "ROLES",
    "At",
    "HeldError",
    "Kind",
    "Layout",
    "Measured",
    "Reader",
    "Site",
    "SiteError",
    "Way",
    "base_modules",
    "everywhere",
    "find",
    "geometry",
    "linear",
    "multiplies_bits",
    "numbers",
    "present",
    "quantised",
    "raw",
    "requantised",
    "roles_of",
    "select",
    "way_in",
    "whole",
]


class _Callable(ModuleType):
    """The room is also the verb: ``acc.sites(model)`` lists what could be adapted."""

    def __call__(self, model: nn.Module) -> list[Site]:
        return everywhere(model)


sys.modules[__name__].__class__ = _Callable
