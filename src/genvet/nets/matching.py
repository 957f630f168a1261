"""Compare the tensors that a network needs with those that a file has, before anything is allocated."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from genvet.core.errors import BadInput
from genvet.core.generator import Generator
from genvet.core.modelfile import Evidence, Part
from genvet.core.printable import printable


@dataclass(frozen=True, kw_only=True)
class Match:
    """How well they fit: `score` is the share of tensors with a place and the right shape."""

    score: float
    differences: tuple[Evidence, ...]
    complete: bool
    """Nothing is missing and nothing has the wrong shape: the network can be built."""

    @property
    def explanation(self) -> str:
        """A few words for a reader."""
        if not self.differences:
            return "every tensor has its place"
        kinds = [d.rule.removeprefix("rebuild.") for d in self.differences]
        counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
        return f"{self.score:.0%} of the tensors fit; {counts}"


def compare(
    needed: Mapping[str, Tensor],
    found: Mapping[str, Tensor],
    *,
    known_as: Callable[[str], str] = str,
    optional: Collection[str] = (),
    place: str = "",
) -> Match:
    """Missing, extra and misshapen tensors as evidence; `known_as` gives the file's own name for one of ours."""
    notes = []
    missing = [key for key in needed if key not in found and key not in optional]
    for key in missing:
        notes.append(_note("missing", f"{known_as(key)} {tuple(needed[key].shape)} is missing", place))
    extra = [key for key in found if key not in needed]
    for key in extra:
        notes.append(_note("extra", f"{known_as(key)} {tuple(found[key].shape)} has no place in the network", place))
    both = [key for key in needed if key in found]
    wrong = [key for key in both if needed[key].shape != found[key].shape]
    for key in wrong:
        got, expected = tuple(found[key].shape), tuple(needed[key].shape)
        notes.append(_note("shape", f"{known_as(key)} has shape {got} where the network needs {expected}", place))
    total = len(both) + len(missing) + len(extra)
    score = (len(both) - len(wrong)) / total if total else 0.0
    return Match(score=score, differences=tuple(notes), complete=bool(both) and not missing and not wrong)


def fill(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Give a network on `meta` its tensors: those that it names, each of the right shape, as fp32."""
    values = {}
    for key, place in module.state_dict().items():
        if key not in tensors and key.endswith("num_batches_tracked"):
            values[key] = torch.zeros((), dtype=torch.int64)
            continue
        if key not in tensors or tensors[key].shape != place.shape:
            got = str(tuple(tensors[key].shape)) if key in tensors else "none"
            raise BadInput(f"tensor {key} does not fit", expected=str(tuple(place.shape)), got=got)
        value = tensors[key].detach().to(place.dtype)
        values[key] = value.clone(memory_format=torch.contiguous_format)
    module.load_state_dict(values, strict=True, assign=True)
    module.eval().requires_grad_(False)


def outline(part: Part) -> dict[str, Tensor]:
    """The part's tensors as shapes alone, on `meta`."""
    return {key: torch.empty(spec.shape, device="meta") for key, spec in part.tensors.items()}


def contradiction(part: Part, key: str, said: object, found: object) -> Evidence:
    """The file's own config against its tensors."""
    return _note("config", f"the config says {key} = {printable(said, 60)}, the tensors {found}", part.name)


def dense_broadcast(name: str, place: str) -> Evidence:
    """The layer of a style generator that no release has."""
    return _note("broadcast", f"{printable(name, 80)}: a dense layer stands where the network repeats w", place)


def _note(kind: str, message: str, place: str) -> Evidence:
    return Evidence(rule=f"rebuild.{kind}", message=printable(message), place=printable(place, 200))


def built(build: Callable[..., Generator], config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Generator:
    """The network of this config with these tensors: made on `meta`, then filled."""
    with torch.device("meta"):
        generator = build(**config)
    fill(generator.module, tensors)
    return generator
