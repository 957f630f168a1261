"""From the parts of a model file to generators of our own, or to the reason why a part is none."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from genvet.core.errors import BadInput, GenVetError, Unsupported
from genvet.core.generator import Generator
from genvet.core.modelfile import Evidence, ModelFile, Part
from genvet.core.printable import printable
from genvet.core.rng import Rng
from genvet.files.tensors import tensors
from genvet.nets.build import parse
from genvet.nets.candidate import Candidate
from genvet.nets.cost import cost
from genvet.nets.critics import what_else
from genvet.nets.onnx_network import OnnxNetwork
from genvet.nets.recognise import candidates, nearest, split

TOLD = ("genvet.data", "genvet.training")
MOST_DIFFERENCES = 100
"""Facts of one part that are kept."""
MOST_OPERATIONS, MOST_VALUES = 1 << 43, 1 << 28
"""That one sample may take; a StyleGAN of 1024 pixels takes 2^38 and 2^26."""
_NEAR = 0.5
"""From this score on, a network that does not fit is still named, tensor by tensor."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of one part."""

    part: Part
    generator: Generator | None = None
    reason: str = ""
    """Why it is no generator."""
    evidence: tuple[Evidence, ...] = ()


def rebuild(file: ModelFile, net: str | None = None, part: str | None = None) -> ModelFile:
    """The model file with its generators; every other part with a reason.

    `net` says which architecture it is and settles what weights leave open; `part` takes one part alone. Raises
    BadInput for a part or an architecture that there is not.
    """
    if net:
        parse(net)
    outcomes = [o for p in file.parts for o in _outcomes(file, p, net)]
    if part is not None:
        chosen = [o for o in outcomes if o.part.name == part]
        if not chosen:
            names = ", ".join(printable(o.part.name, 60) or "(unnamed)" for o in outcomes[:20])
            raise BadInput(f"the file has no part {printable(part)!r}", expected=names or "none: it holds no tensors")
        outcomes = chosen
    evidence = tuple(e for o in outcomes for e in o.evidence)
    return replace(
        file,
        parts=tuple(o.part for o in outcomes) if part is None else file.parts,
        evidence=file.evidence + evidence,
        generators={o.part.name: _told(o.generator, file) for o in outcomes if o.generator is not None},
        not_generators={printable(o.part.name, 100): o.reason for o in outcomes if o.generator is None},
    )


def _told(generator: Generator, file: ModelFile) -> Generator:
    """The generator, with what its file says of the data that it was trained on, and of the training."""
    kept = {key: file.metadata[key] for key in TOLD if key in file.metadata}
    return replace(generator, metadata={**generator.metadata, **kept}) if kept else generator


def _outcomes(file: ModelFile, part: Part, net: str | None) -> Iterator[Outcome]:
    """Of the part as a whole; where it is nothing known, of the networks that its tensors' names tell apart."""
    whole = _outcome(file, part, net)
    pieces = split(part) if whole.generator is None and not what_else(part) else [part]
    if len(pieces) > 1:
        found = [_outcome(file, piece, net) for piece in pieces]
        if any(o.generator is not None for o in found):
            yield from found
            return
    yield whole


def _outcome(file: ModelFile, part: Part, net: str | None) -> Outcome:
    found = candidates(part, net)
    failures = []
    for candidate in found:
        if _fits(candidate):
            try:
                generator = _built(candidate, tensors(part, file.storages))
            except GenVetError as error:
                failures.append(f"{candidate.net}: {error.message}")
            else:
                return Outcome(part, generator, evidence=candidate.differences[:MOST_DIFFERENCES])
    reason = what_else(part)
    if failures:
        return Outcome(part, reason="; ".join(failures))
    if net and not found and not reason:
        reason = _otherwise(part, net)
    near = [c for c in found if c.score >= _NEAR and not reason]
    evidence = near[0].differences[:MOST_DIFFERENCES] if near else ()
    return Outcome(part, reason=reason or nearest(part, found), evidence=evidence)


def _otherwise(part: Part, net: str) -> str:
    """For a part that is nothing like the architecture asked for: what it could be without that; empty for nothing."""
    others = [c for c in candidates(part) if _fits(c)]
    name = parse(net).name
    return f"no {name}; without --net it could be {others[0].net}: {others[0].explanation}" if others else ""


def _fits(candidate: Candidate) -> bool:
    return not any(e.rule in ("rebuild.missing", "rebuild.shape") for e in candidate.differences)


def _built(candidate: Candidate, found: dict[str, Tensor]) -> Generator:
    """The network, and a first image from it: of the right shape, whatever its values."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of odd shapes, which are a file's business
        try:
            generator = candidate.build(found)
            _check_cost(generator)
            x = _first(generator)
        except (RuntimeError, ValueError, IndexError, ZeroDivisionError, MemoryError) as error:
            if isinstance(error, GenVetError):
                raise
            raise BadInput(f"the network cannot run: {printable(error, 200)}") from None
    if tuple(x.shape) != (1, *generator.shape):
        raise BadInput("the network gives something else", expected=str(generator.shape), got=str(tuple(x.shape[1:])))
    return generator


def _check_cost(generator: Generator) -> None:
    """Raises Unsupported where one sample would take too much; a graph of ONNX makes sure of that by itself."""
    if isinstance(generator.module, OnnxNetwork):
        generator.module.dry_run()
        return
    asked = cost(generator)
    if asked.operations > MOST_OPERATIONS or asked.largest > MOST_VALUES:
        raise Unsupported(f"one sample takes {asked.operations:.1e} operations, and {asked.largest:.1e} values at once")


@torch.inference_mode()
def _first(generator: Generator) -> Tensor:
    z = generator.latent.sample(0, 1, Rng(0, "first"))
    return generator(z, generator.latent.labels(0, 1))
