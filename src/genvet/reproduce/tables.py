"""Which tables there are: a folder a paper, whose __init__ names its tables. Nothing heavy is imported to list them."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING

import genvet.reproduce as here
from genvet.core.errors import BadInput

if TYPE_CHECKING:
    from genvet.reproduce.experiment import Experiment


def tables() -> dict[str, str]:
    """Every table, such as devil/table-1, with the module and class that makes it."""
    found: dict[str, str] = {}
    for module in iter_modules(here.__path__):
        if module.ispkg:
            paper = import_module(f"{here.__name__}.{module.name}")
            named: Mapping[str, str] = paper.TABLES
            found |= {f"{module.name}/{name}": f"{paper.__name__}.{place}" for name, place in named.items()}
    return found


def find(name: str) -> Experiment:
    """The table of this name; raises BadInput with what there is."""
    known = tables()
    if name not in known:
        near = get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
        raise BadInput(f"there is no table {name!r}", hint=hint)
    module, _, kind = known[name].rpartition(".")
    experiment: Experiment = getattr(import_module(module), kind)()
    return experiment
