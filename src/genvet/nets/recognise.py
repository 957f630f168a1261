"""Which networks a part could be: every architecture's hypotheses, ranked."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, get_args

import torch
from torch import Tensor

from genvet.core.errors import GenVetError
from genvet.core.generator import Generator, Output, StyleGenerator
from genvet.core.latent import Distribution, Latent
from genvet.core.modelfile import Part
from genvet.core.printable import printable
from genvet.nets.build import ARCHITECTURES, Net, build, module, names, parse
from genvet.nets.candidate import Candidate
from genvet.nets.layer_shapes import broken, inputs, layer_shapes, outputs
from genvet.nets.matching import compare, dense_broadcast, fill, outline
from genvet.nets.style_rebuild import BROADCAST

_LONGEST_CONFIG = 1 << 20
MOST_PIECES = 32
"""Networks that one state dict may be split into."""


def candidates(part: Part, net: str | None = None) -> list[Candidate]:
    """Hypotheses about a part, the best first; only those of one architecture where `--net` names it."""
    asked = parse(net) if net else None
    found = [] if asked and asked.options else [c for c in _by_metadata(part) if not asked or c.net == asked.name]
    for name in [asked.name] if asked else names():
        found += _hypotheses(name, part, asked)
    return sorted(found, key=lambda c: (-c.score, ARCHITECTURES.index(c.net)))


def _hypotheses(name: str, part: Part, asked: Net | None) -> Iterable[Candidate]:
    architecture = module(name)
    if not hasattr(architecture, "hypotheses"):
        return ()
    found: Iterable[Candidate] = architecture.hypotheses(part, asked.options if asked else {})
    return found


def split(part: Part) -> list[Part]:
    """A part by the first step of its tensors' names, as when one state dict holds generator and critic.

    The names lose that step. Tensors without one stay together in a part of the old name. A part of very many
    first steps is no such thing, and stays whole.
    """
    heads: dict[str, dict[str, Any]] = {}
    for key, spec in part.tensors.items():
        head, dot, rest = key.partition(".")
        deep = dot and "." in rest
        heads.setdefault(head if deep else "", {})[rest if deep else key] = spec
    if (len(heads) == 1 and "" in heads) or len(heads) > MOST_PIECES:
        return [part]
    names = {head: ".".join(filter(None, (part.name, head))) for head in heads}
    return [replace(part, name=names[head], tensors=tensors) for head, tensors in heads.items()]


def _by_metadata(part: Part) -> Iterator[Candidate]:
    """A file that GenVet wrote says itself what it is. The text may lie: the tensors must fit."""
    net, config = part.config.get("genvet.net"), part.config.get("genvet.config")
    if not isinstance(net, str) or not isinstance(config, str) or len(config) > _LONGEST_CONFIG:
        return
    try:
        make = partial(_from_metadata, net, json.loads(config), dict(part.config))
        with torch.device("meta"):
            generator = make()
    except (GenVetError, ValueError, TypeError, RecursionError, RuntimeError):
        return
    needed = generator.module.state_dict()
    counters = [key for key in needed if key.endswith("num_batches_tracked")]
    match = compare(needed, outline(part), optional=counters, place=part.name)
    dense = isinstance(generator, StyleGenerator) and generator.dense_broadcast is not None
    yield Candidate(
        net=generator.name if generator.name in ARCHITECTURES else net,
        layout="genvet",
        score=match.score,
        explanation=f"GenVet's own metadata; {match.explanation}",
        differences=match.differences + (dense_broadcast(BROADCAST, part.name),) * dense,
        build=partial(_fill, make),
    )


def _from_metadata(net: str, config: Mapping[str, Any], metadata: Mapping[str, Any]) -> Generator:
    generator = build(net, config)
    output, latent = metadata.get("genvet.output"), metadata.get("genvet.latent")
    if output in get_args(Output):
        generator = replace(generator, output=output)
    if isinstance(latent, str) and len(latent) < 10_000:
        generator = replace(generator, latent=_latent(latent, generator.latent))
    assumed = metadata.get("genvet.assumed")
    if isinstance(assumed, str) and len(assumed) < 10_000:
        generator = replace(generator, assumed=tuple(printable(a) for a in json.loads(assumed)))
    return generator


def _latent(text: str, implied: Latent) -> Latent:
    """The prior as the file declares it; only the plain ones are taken, the rest is for the inspections to judge."""
    declared = json.loads(text)
    distribution = declared.get("distribution") if isinstance(declared, dict) else None
    return replace(implied, distribution=distribution) if distribution in get_args(Distribution) else implied


def _fill(make: partial[Generator], tensors: Mapping[str, Tensor]) -> Generator:
    """Built on `meta`; allocated only where it has tensors that no state dict holds."""
    with torch.device("meta"):
        generator = make()
    fill(generator.module, tensors)
    if any(t.is_meta for t in generator.module.buffers()):
        generator = make()
        fill(generator.module, tensors)
    return generator


def nearest(part: Part, found: Iterable[Candidate]) -> str:
    """For a part that nothing fits: the nearest architectures and what differs, or what its tensors are like."""
    near = [c for c in found if c.differences][:3]
    if not near:
        layers = layer_shapes(part)
        gap = broken(layers, True) if layers and all(g.kind for g in layers) else None
        if gap is not None:
            first, second = (printable(g.name, 60) for g in gap)
            gives, takes = outputs(gap[0], True), inputs(gap[1], True)
            differs = f"but {first} gives {gives} channels and {second} takes {takes}"
            return f"no known architecture: nearest is a stack of layers (dcgan, mlp), {differs}"
        shown = ", ".join(f"{printable(k, 60)} {tuple(s.shape)}" for k, s in list(part.tensors.items())[:3])
        return f"no known architecture: {len(part.tensors)} tensors, such as {shown}" if shown else "no tensors"
    return "no known architecture fits; nearest: " + "; ".join(_difference(c) for c in near)


def _difference(candidate: Candidate) -> str:
    first = "; ".join(e.message for e in candidate.differences[:3])
    more = len(candidate.differences) - 3
    rest = f" and {more} more" if more > 0 else ""
    return f"{candidate.net} ({candidate.layout}, {candidate.score:.0%}): {first}{rest}"
