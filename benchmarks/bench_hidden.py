"""Distillation beside its floor, a student's forward and backward and a teacher's forward; and output.hidden whole."""

from __future__ import annotations

import copy
import statistics
from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.bench_output import network, seconds
from genvet.core.generator import Generator
from genvet.core.rng import Rng
from genvet.core.technique import Nothing
from genvet.inspections.output.hidden import Hidden
from genvet.nets.fast import folded
from genvet.training.distillation import distil, forgetful

BATCH = 32
RUNS = 3
LAYOUTS = {"contiguous": torch.contiguous_format, "channels last": torch.channels_last}


def arranged(module: nn.Module, layout: torch.memory_format) -> nn.Module:
    return copy.deepcopy(module).eval().to(memory_format=layout)


def forwards(module: nn.Module, z: Tensor, steps: int) -> None:
    with torch.no_grad():
        for _ in range(steps):
            module(z)


def both_ways(module: nn.Module, z: Tensor, steps: int) -> None:
    """Forward and backward to all weights, and nothing else: no optimiser, no loss worth the name."""
    module.requires_grad_(True)
    for _ in range(steps):
        module.zero_grad(set_to_none=True)
        module(z).square().mean().backward()


def distillation(generator: Generator, steps: int = 24, runs: int = RUNS) -> None:
    """Each part of the floor in its best layout, against the whole of distil, all within one round."""
    z, student = torch.randn(BATCH, generator.latent.dim), forgetful(generator, Rng(0))
    teachers = {"as it is, " + name: arranged(generator.module, layout) for name, layout in LAYOUTS.items()}
    teachers["folded, channels last"] = folded(generator).module
    students = {name: arranged(student, layout) for name, layout in LAYOUTS.items()}
    works: dict[str, Callable[[], object]] = {
        **{f"teacher forward, {n}": lambda m=m: forwards(m, z, steps) for n, m in teachers.items()},
        **{f"student both ways, {n}": lambda m=m: both_ways(m, z, steps) for n, m in students.items()},
        "distil": lambda: distil(generator, copy.deepcopy(student), steps, Rng(1), batch=BATCH),
    }
    for work in works.values():
        work()  # the first of each builds kernels
    rounds = [{name: seconds(work) / steps * 1e3 for name, work in works.items()} for _ in range(runs)]
    for name in works:
        print(f"{name:45} {statistics.median(r[name] for r in rounds):8.1f} processor ms a step of {BATCH}")
    floors = [
        sum(min(v for k, v in r.items() if k.startswith(kind)) for kind in ("teacher", "student")) for r in rounds
    ]
    ratio = statistics.median(r["distil"] / floor for r, floor in zip(rounds, floors, strict=True))
    print(f"distil against its floor, each part in its best layout: {ratio:.2f} times (the floor is 1)")


def whole(generator: Generator, depth: str, **changes: int) -> None:
    """One run of the search for an unknown output at a depth, in processor time."""
    probe = Hidden(**{**(Hidden.depths.get(depth) or {}), **changes})
    spent = seconds(lambda: probe(generator, Nothing(), Rng(0)))
    updates = f"{probe.students} students of {probe.steps} steps, {probe.starts} ascents of {probe.search}"
    print(f"output.hidden at depth {depth} ({updates}): {spent:.0f} processor seconds")


if __name__ == "__main__":
    torch.set_num_threads(1)
    distillation(network())
    whole(network(), "quick")
