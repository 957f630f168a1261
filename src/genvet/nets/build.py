"""Fresh networks by name, and the `--net` option: `name:key=value,key=value`."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from genvet.core.errors import BadInput
from genvet.core.generator import Generator

ARCHITECTURES = (
    *("dcgan", "mlp", "vae", "wavegan", "sngan", "pggan", "stylegan1", "stylegan2", "stylegan3", "onnx", "stack"),
)
"""In the order in which equally good hypotheses are taken. `stack` is how a rebuilt plain network is written down."""
_MODULES = {"onnx": "onnx_graph"}


def module(net: str) -> Any:
    """The module of one architecture; raises BadInput with the nearest name."""
    if net not in names():
        raise BadInput(f"no architecture is called {net!r}", expected=", ".join(names()), hint=nearest(net, names()))
    return import_module(_home(net))


def names() -> tuple[str, ...]:
    """Every architecture that `--net` takes."""
    return tuple(net for net in ARCHITECTURES if find_spec(_home(net)) is not None)


def build(net: str, config: Mapping[str, Any] | None = None) -> Generator:
    """A fresh network of ours: `config` is what the architecture's own `build` takes."""
    make = getattr(module(net), "build", None)
    if make is None:
        raise BadInput(f"{net} has no network of our own", hint="it is only rebuilt from other people's files")
    config, taken = dict(config or {}), inspect.signature(make).parameters
    for key in config:
        if key not in taken:
            raise BadInput(f"{net} has no option {key!r}", expected=", ".join(taken), hint=nearest(key, taken))
    try:
        generator: Generator = make(**config)
    except TypeError as error:
        raise BadInput(f"this is no config of {net}: {error}", expected=", ".join(taken)) from None
    return generator


def fresh(text: str, usual: Mapping[str, int]) -> Generator:
    """A fresh network by `name:key=number,key=number`; `usual` sizes hold where the text has none.

    >>> fresh("dcgan:capacity=2,latent=8", {"size": 12}).shape
    (1, 12, 12)
    """
    name, _, rest = text.partition(":")
    taken = inspect.signature(getattr(module(name), "build", build)).parameters
    config: dict[str, Any] = {key: value for key, value in usual.items() if key in taken}
    for item in filter(None, (i.strip() for i in rest.split(","))):
        key, _, value = item.partition("=")
        if not value.isdecimal():
            raise BadInput(f"{name}:{key} has no value {value!r}", expected="a whole number")
        config[key] = int(value)
    return build(name, config)


@dataclass(frozen=True)
class Net:
    """What `--net` asks for: an architecture, and what its weights cannot tell."""

    name: str
    options: Mapping[str, str] = field(default_factory=dict)


def parse(text: str) -> Net:
    """Read `--net`; raises BadInput for an unknown name, option or value, with the nearest known one.

    >>> parse("dcgan:activation=leaky_relu,range=tanh").options
    {'activation': 'leaky_relu', 'range': 'tanh'}
    """
    name, _, rest = text.partition(":")
    known: Mapping[str, tuple[str, ...]] = getattr(module(name), "OPTIONS", {})
    options: dict[str, str] = {}
    for item in filter(None, (i.strip() for i in rest.split(","))):
        key, equals, value = item.partition("=")
        if key not in known:
            expected = ", ".join(known) or "none at all"
            raise BadInput(f"{name} has no option {key!r}", expected=expected, hint=nearest(key, known))
        values = known[key]
        if not equals or not (value in values or (not values and value.isdecimal())):
            expected = ", ".join(values) or "a whole number"
            raise BadInput(f"{name}:{key} has no value {value!r}", expected=expected, hint=nearest(value, values))
        options[key] = value
    return Net(name, options)


def nearest(word: str, known: Iterable[str]) -> str:
    """A question for a hint: did you mean ...?  Empty where nothing is near."""
    close = get_close_matches(word, list(known), 1, 0.5)
    return f"did you mean {close[0]!r}?" if close else ""


def _home(net: str) -> str:
    return f"genvet.nets.{_MODULES.get(net, net)}"
