"""GenVet vets deep generative models before they are deployed, released or served.

The public surface is small, and importing it costs nothing: each name is looked up when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genvet.catalogue import techniques as techniques
    from genvet.core.generator import Generator as Generator
    from genvet.core.generator import StyleGenerator as StyleGenerator
    from genvet.core.latent import Latent as Latent
    from genvet.core.modelfile import ModelFile as ModelFile
    from genvet.core.report import Finding as Finding
    from genvet.core.report import Report as Report
    from genvet.engine import assess as assess
    from genvet.engine import scan as scan
    from genvet.files.load import load as load

_HOMES = {
    "Finding": "genvet.core.report",
    "Generator": "genvet.core.generator",
    "Latent": "genvet.core.latent",
    "ModelFile": "genvet.core.modelfile",
    "Report": "genvet.core.report",
    "StyleGenerator": "genvet.core.generator",
    "assess": "genvet.engine",
    "load": "genvet.files.load",
    "scan": "genvet.engine",
    "techniques": "genvet.catalogue",
}

__all__ = sorted([*_HOMES, "__version__"])


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return version("genvet")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'genvet' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
