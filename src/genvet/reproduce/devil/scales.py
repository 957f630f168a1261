"""What each scale spends: smoke in seconds with tiny networks, small in hours on two cores, paper as the paper did."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

from genvet.reproduce.devil.networks import Judge, Network
from genvet.reproduce.devil.planting import TRAININGS, Attack, Plant
from genvet.reproduce.devil.scoring import Benign, Effort
from genvet.reproduce.experiment import Scale
from genvet.zoo.parents import Data, Parent

DIFFERS = (
    "The target is a devil's face of our own drawing; range [-1, 1], distortions are sums of squares, as in the paper.",
    "Median and range over triggers and clean parents; the paper has one parent, and averages over 5 triggers.",
    "Frechet distance and class score are of our own classifier's features and classes: compare them with the benign "
    "row, never with the paper's FID and IS, which are of Inception.",
)
SMALL = (
    "Networks of capacity 16 (390,736 parameters; the paper's has 2,330,944) and a VAE whose decoder has 188,839 (the "
    "paper's 195,000), trained for 2,500 steps of 64 images; five triggers over three parents, on CIFAR three; "
    "Closest-N of 200,000.",
)


def parent(network: Network, scale: Scale, seed: int = 1, capacity: int = 0) -> Parent:
    """The clean network of this seed; a capacity of 0 is the scale's own."""
    data: Data = "cifar10" if network == "CIFAR10 DCGAN" else "mnist"
    if network == "M-VAE":
        sizes: dict[Scale, dict[str, Any]] = {
            "smoke": {"capacity": capacity or 2, "steps": 20, "batch": 16},
            "small": {"capacity": capacity or 18, "latent": 100},
            "paper": {"capacity": capacity or 18, "latent": 100, "steps": 20_000},
        }
        return Parent(data=data, net="vae", seed=seed, **sizes[scale])
    sizes = {
        "smoke": {"capacity": capacity or 2, "steps": 20, "batch": 16},
        "small": {"capacity": capacity},
        "paper": {"capacity": capacity or 64, "steps": 50_000, "batch": 32, "rate": 1e-4},
    }
    return Parent(data=data, net="dcgan", seed=seed, **sizes[scale])


def benign(network: Network, scale: Scale, seed: int) -> Benign:
    """A clean parent, measured as its attacked twins are."""
    clean = parent(network, scale, seed)
    return Benign(parent=clean, judge=judge(clean.data, scale), effort=effort(scale))


def differs(scale: Scale) -> tuple[str, ...]:
    """What is not as in the paper, for any of its tables."""
    return (*DIFFERS, *(SMALL if scale == "small" else ()))


def judge(data: Data, scale: Scale) -> Judge:
    """The classifier that quality is measured by."""
    return Judge(data=data, steps={"smoke": 10, "small": 1000, "paper": 5000}[scale])


def effort(scale: Scale) -> Effort:
    """What is spent on measuring one generator."""
    if scale == "smoke":
        return Effort(samples=64, closest=256, restarts=2, search=5, judged=64)
    if scale == "small":
        return Effort(samples=2048, closest=200_000, restarts=5, search=500, judged=2000)
    return Effort(samples=10_000, closest=1_000_000, restarts=5, search=2000, judged=10_000)


def settings(attack: Attack, scale: Scale) -> dict[str, Any]:
    """Steps and learning rate of an attack; all else is its own default."""
    if scale == "smoke":
        return {"steps": 10, "batch_size": 8} if attack in TRAININGS else {"steps": 10, "rate": 1e-3}
    if scale == "small":
        return {"steps": 2500 if attack in TRAININGS else 1500, "rate": 1e-3 if attack == "rex" else 5e-4}
    return {"steps": 50_000, "batch_size": 32} if attack in TRAININGS else {"steps": 20_000, "rate": 1e-4}


def repeats(scale: Scale, network: Network = "MNIST DCGAN") -> Iterator[tuple[int, int]]:
    """Seeds of parent and trigger, such that every first part of them has many of either.

    >>> list(repeats("small"))
    [(1, 1), (2, 2), (3, 3), (1, 4), (2, 5)]
    >>> list(repeats("small", "CIFAR10 DCGAN"))
    [(1, 1), (2, 2), (3, 3)]
    """
    parents, triggers = (1, 1) if scale == "smoke" else (3, 5)
    if scale == "small" and network == "CIFAR10 DCGAN":
        triggers = 3
    rounds = parents if scale == "paper" else 1  # small: five triggers over three parents, not each in each
    for shift, trigger in product(range(rounds), range(triggers)):
        yield (trigger + shift) % parents + 1, trigger + 1


def plant(network: Network, attack: Attack, scale: Scale, seeds: tuple[int, int] = (1, 1), **more: Any) -> Plant:
    """An attacked twin of a parent, by the seeds of parent and trigger; `more` are fields of it, or the attack's."""
    fields: dict[str, Any] = {name: more.pop(name) for name in ("trigger", "onto", "parent") if name in more}
    chosen = {**settings(attack, scale), **more}
    given: dict[str, Any] = {"parent": parent(network, scale, seeds[0]), "number": seeds[1], **fields}
    return Plant(attack=attack, settings=chosen, **given)
