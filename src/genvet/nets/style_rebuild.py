"""From a file's tensors and config to a style generator: what the three architectures share."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from genvet.core.errors import BadInput
from genvet.core.generator import StyleGenerator
from genvet.core.modelfile import Evidence, Part
from genvet.core.printable import printable
from genvet.nets.candidate import Candidate
from genvet.nets.matching import compare, contradiction, dense_broadcast, fill
from genvet.nets.style_mapping import Mapping as MappingNetwork
from genvet.nets.style_mapping import MappingConfig
from genvet.nets.style_places import SIZES, Layout

AVERAGE, BROADCAST = "mapping.w_avg", "broadcast.weight"
Defaults = dict[str, Callable[[], Tensor]]
"""Our tensors that a file of this layout need not have, and what stands in for them."""


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A network that the tensors under our names (`found`) seem to be."""

    net: str
    what: str
    """In words: architecture, size, whose names."""
    layout: Layout
    found: Mapping[str, Tensor]
    make: Callable[[], nn.Module]
    """The empty network; called under `torch.device("meta")`."""
    wrap: Callable[[nn.Module, tuple[str, ...]], StyleGenerator]
    defaults: Defaults
    notes: tuple[Evidence, ...] = ()
    assumed: tuple[str, ...] = ()

    def candidate(self, part: Part) -> Candidate:
        """Compared, and ready to be built."""
        network, found, dense = self._placed(self.found)
        loose = {key for key in self.defaults if key not in found}
        match = compare(network.state_dict(), found, known_as=self.layout.known_as, optional=loose, place=part.name)
        notes = (dense_broadcast(dense, part.name),) * bool(dense) + self.notes
        return Candidate(
            net=self.net,
            layout=self.layout.name,
            score=match.score,
            explanation=f"{self.what}: {match.explanation}",
            differences=match.differences + notes,
            build=self.build,
        )

    def build(self, tensors: Mapping[str, Tensor]) -> StyleGenerator:
        """The generator with these weights; raises BadInput where they do not fit."""
        network, ours, _ = self._placed(self.layout.read(tensors))
        loose = {key: default for key, default in self.defaults.items() if key not in ours}
        if missing := [key for key in network.state_dict() if key not in ours and key not in loose]:
            raise BadInput(f"{len(missing)} tensors are missing, such as {self.layout.known_as(missing[0])}")
        fill(network, {key: default() for key, default in loose.items()} | ours)
        assumed = self.assumed + (
            ("average w: the mean of 4096 draws, for the file holds none",) if AVERAGE in loose else ()
        )
        generator = self.wrap(network, assumed)
        if AVERAGE in loose:
            mapping = network.mapping
            assert isinstance(mapping, MappingNetwork)
            mapping.w_avg.copy_(mapping.average(generator.latent))
        return generator

    def _placed(self, found: Mapping[str, Tensor]) -> tuple[nn.Module, dict[str, Tensor], str]:
        """The empty network, the tensors under our names, and which of theirs, if any, stands where w is repeated."""
        with torch.device("meta"):
            network = self.make()
        name, ours = _spare(network, found), dict(found)
        if name:
            matrix = ours.pop(name)
            network.expand_broadcast()  # type: ignore[operator]
            ours[BROADCAST] = matrix if len(matrix) > matrix.shape[1] else matrix.T
        return network, ours, name


def _spare(network: nn.Module, found: Mapping[str, Tensor]) -> str:
    """The name of the one matrix that has no place, and fits where w is repeated, either way round; empty for none."""
    size, times, known = network.mapping.w_dim, network.num_ws, network.state_dict()  # type: ignore[union-attr]
    shapes = ((times * size, size), (size, times * size))  # type: ignore[operator]
    names = [name for name, t in found.items() if name not in known and tuple(t.shape) in shapes]
    return names[0] if len(names) == 1 else ""


def wrap(net: str, network: nn.Module, config: Any, assumed: tuple[str, ...] = ()) -> StyleGenerator:
    """The network as a generator that can be saved and built again from its architecture's `Config`."""
    mapping = asdict(config.mapping)
    mapping["mapping_layers"] = mapping.pop("layers")
    rest = {key: value for key, value in asdict(config).items() if key != "mapping"}
    if getattr(network, "broadcast", None) is not None:
        rest["dense_broadcast"] = True
    return StyleGenerator(
        module=network,
        latent=config.mapping.latent,
        shape=(config.channels, config.size, config.size),
        name=net,
        assumed=assumed,
        metadata={"genvet.net": net, "genvet.config": json.dumps(mapping | rest)},
        num_ws=config.num_ws,
        w_dim=config.mapping.w_dim,
    )


def infer_mapping(found: Mapping[str, Tensor], affine: str) -> MappingConfig:
    """The mapping network that the shapes tell; `affine` names a layer that reads w."""
    layers = 1
    while layers < 32 and f"mapping.fc{layers}.weight" in found:
        layers += 1
    w_dim = last_axis(found, affine) or first_axis(found, (f"mapping.fc{layers - 1}.bias",)) or 1
    classes, embed = last_axis(found, "mapping.embed.weight"), first_axis(found, ("mapping.embed.weight",))
    z_dim = (last_axis(found, "mapping.fc0.weight") or w_dim) - (embed if classes else 0)
    hidden = first_axis(found, ("mapping.fc0.weight",)) if layers > 1 else 0
    return MappingConfig(
        z_dim=max(z_dim, 1), w_dim=w_dim, layers=layers, classes=classes, hidden=hidden or w_dim, embed=embed
    )


def block_widths(found: Mapping[str, Tensor]) -> tuple[int, ...]:
    """Feature maps at 4, 8, ... pixels of StyleGAN 1 and 2; a block that does not tell has its neighbour's."""
    widths: list[int] = []
    for size in SIZES:
        block = f"synthesis.b{size}."
        if widths and not any(key.startswith(block) for key in found):
            break
        width = first_axis(found, (f"{block}conv1.weight", f"{block}conv1.bias"))
        widths.append(width or (widths[-1] if widths else 1))
    return tuple(widths)


def stand_ins(needed: Mapping[str, Tensor], filter: Callable[[], Tensor], silent: bool) -> Defaults:
    """What layouts other than ours need not have: filters, the average w and, of a `silent` file, all noise maps."""
    defaults: Defaults = {key: filter for key in needed if key.endswith("resample_filter")}
    zeros = [AVERAGE, *(key for key in needed if silent and key.endswith("noise_const"))]
    return defaults | {key: partial(torch.zeros, needed[key].shape) for key in zeros}


def first_axis(found: Mapping[str, Tensor], names: Iterable[str]) -> int:
    """Length of the first axis of the first of these tensors that there is; 0 where there is none."""
    return next((found[n].shape[0] for n in names if n in found and found[n].ndim and found[n].shape[0]), 0)


def last_axis(found: Mapping[str, Tensor], name: str) -> int:
    """Length of a matrix's last axis; 0 where there is no such matrix."""
    return found[name].shape[-1] if name in found and found[name].ndim == 2 else 0


def flat(config: Mapping[str, Any], *nested: str) -> dict[str, Any]:
    """A config whose `nested` keyword arguments are brought to the top."""
    level = dict(config)
    for key in nested:
        inner = level.pop(key, None)
        if isinstance(inner, Mapping):
            level |= inner
    return level


def contradictions(part: Part, said: Mapping[str, Any], expected: Mapping[str, Any]) -> tuple[Evidence, ...]:
    """Where the file's config says otherwise than its tensors."""
    return tuple(
        contradiction(part, key, said[key], value)
        for key, value in expected.items()
        if key in said and said[key] != value
    )


def number(value: object, low: float, high: float) -> float | None:
    """A finite number between the two bounds, low excluded; None for anything else that a config may hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) and low < value <= high else None


def require(net: str, least: int, most: int = 1 << 16, **values: object) -> None:
    """Raise BadInput unless all of these are whole numbers between the two: a config may come from a file."""
    for name, value in values.items():
        if whole(value, least, most) is None:
            got = printable(value, 40)
            raise BadInput(f"no such {net}", expected=f"{name}: a whole number from {least} to {most}", got=got)


def sizes(net: str, size: object, least: int = 4) -> tuple[int, ...]:
    """4, 8, ... `size`; raises BadInput for anything but a power of two up to 4096."""
    known = [4 << i for i in range(11)]
    if whole(size, least, known[-1]) is None or size not in known:
        raise BadInput(f"no such {net}", expected=f"a size of {least}, {2 * least}, ... 4096", got=printable(size, 40))
    return tuple(known[: known.index(size) + 1])


def mapping_config(
    net: str, z_dim: int, w_dim: int, layers: int, classes: int, hidden: int, embed: int, rate: float
) -> MappingConfig:
    """Checked, for a fresh network."""
    require(net, 1, z_dim=z_dim, w_dim=w_dim)
    require(net, 0, classes=classes, hidden=hidden, embed=embed)
    require(net, 1, 64, mapping_layers=layers)
    if number(rate, 0, 1) is None:
        raise BadInput(f"no such {net}", expected="rate: above 0, up to 1", got=printable(rate, 40))
    return MappingConfig(
        z_dim=z_dim, w_dim=w_dim, layers=layers, classes=classes, hidden=hidden, embed=embed, rate=rate
    )


def feature_maps(net: str, sizes: Sequence[int], widths: Sequence[int], base: int, most: int) -> tuple[int, ...]:
    """The given widths, or min(base / size, most) for every size; raises BadInput where they do not fit."""
    require(net, 1, 1 << 20, channel_base=base, channel_max=most)
    widths = tuple(widths) or tuple(max(min(base // size, most), 1) for size in sizes)
    if not len(sizes) <= len(widths) <= 11:
        raise BadInput(f"no such {net}", expected=f"{len(sizes)} widths", got=str(len(widths)))
    require(net, 1, **{f"widths[{i}]": width for i, width in enumerate(widths)})
    return widths


def whole(value: object, low: int, high: int) -> int | None:
    """A whole number between the two bounds, both included."""
    return value if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high else None
