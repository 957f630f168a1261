"""Settings of techniques by their names, checked before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from genvet.catalogue import find
from genvet.core.errors import BadInput

Knobs = Mapping[str, Any]
"""The fields of one technique that are not at their defaults."""


def by_full_name(settings: Mapping[str, Knobs], kind: str) -> dict[str, Knobs]:
    """The same by full name; raises BadInput for a technique or a knob that there is not."""
    known = {}
    for name, knobs in settings.items():
        entry = find(name, kind)
        technique = entry.load()
        try:
            technique(**knobs)
        except (ValidationError, TypeError) as error:
            hint = f"it has {', '.join(technique.model_fields) or 'none'}"
            raise BadInput(f"these are no settings of {entry.name}: {error}", hint=hint) from None
        known[entry.name] = knobs
    return known
