"""The image tables' targets and thieves at each scale, and the thefts that all of them are made of."""

from __future__ import annotations

from typing import Any, Literal

from genvet.reproduce.experiment import Scale
from genvet.reproduce.stealing.thefts import Attack, Data, Target, Theft

Net = Literal["sngan", "pggan"]
NETS: tuple[Net, ...] = ("sngan", "pggan")
RECIPES: dict[Scale, dict[str, str]] = {
    "smoke": {
        "sngan": "sngan:steps=2,batch=4,capacity=2,latent=4",
        "pggan": "pggan:steps=3,batch=4,capacity=2,latent=4,growth=1",
        "stylegan2": "stylegan2:steps=3,batch=4,latent=8,channel_base=64,channel_max=8",
    },
    "small": {
        "sngan": "sngan:steps=800,capacity=8,batch=32,critic_steps=1,average=0.99",
        "pggan": "pggan:steps=800,capacity=8,batch=16,growth=80,average=0.99",
        "stylegan2": "stylegan2:steps=600,channel_base=256,channel_max=32",
    },
    "paper": {
        "sngan": "sngan:steps=50000,capacity=256,latent=256,critic_steps=5,rate=0.0002",
        "pggan": "pggan:steps=200000,capacity=128,latent=512,growth=10000,batch=16",
        "stylegan2": "stylegan2:steps=300000,latent=512,channel_base=16384,channel_max=512",
    },
}
TARGETS: dict[Scale, dict[str, str]] = RECIPES | {
    "small": {
        "sngan": RECIPES["small"]["sngan"].replace("steps=800", "steps=1600"),
        "pggan": RECIPES["small"]["pggan"].replace("steps=800", "steps=1600").replace("growth=80", "growth=160"),
        "stylegan2": RECIPES["small"]["stylegan2"].replace("steps=600", "steps=1200"),
    }
}
"""At small, a target learns twice as long as its thieves."""
SIZES: dict[Scale, int] = {"smoke": 8, "small": 32, "paper": 64}
DATA: dict[Scale, tuple[Data, Data]] = {
    "smoke": ("fashion_mnist", "cifar10"),
    "small": ("fashion_mnist", "cifar10"),
    "paper": ("celeba", "lsun_church"),
}
"""In the places of the paper's CelebA and LSUN-Church."""
QUERIES: dict[Scale, int] = {"smoke": 60, "small": 10_000, "paper": 50_000}
SEEDS: dict[Scale, int] = {"smoke": 1, "small": 3, "paper": 3}
REAL: dict[Scale, int] = {"smoke": 40, "small": 2000, "paper": 20_000}
"""That an attacker with the critic has; the paper does not say how many."""
CHAIN: dict[Scale, int] = {"smoke": 3, "small": 20, "paper": 640}


def target(scale: Scale, net: str, seed: int, data: int = 0) -> Target:
    """The target of this scale; `data` is the number of the data set."""
    return Target(data=DATA[scale][data], recipe=TARGETS[scale][net], size=SIZES[scale], seed=seed)


def theft(scale: Scale, of: Target, attacker: str, attack: Attack = "fidelity", n: int = 0, **settings: Any) -> Theft:
    """A theft that learns from n answers, raw or refined; as many as are usual at this scale unless given."""
    many = n or QUERIES[scale]
    usual: dict[str, Any] = {"samples": 24, "clusters": 3} if scale == "smoke" else {"samples": 2000}
    usual |= {"samples": 10_000} if scale == "paper" else {}
    asked = {"queries": many} if attack == "fidelity" else {"refined": many, "chain": CHAIN[scale]}
    return Theft(
        target=of,
        attack=attack,
        attacker=RECIPES[scale][attacker],
        settings={**asked, **usual, **settings},
        real=0 if attack == "fidelity" else REAL[scale],
    )


def differs(scale: Scale) -> tuple[str, ...]:
    """What is not as in the paper, for every table of images."""
    if scale == "paper":
        return ("LSUN-Church and CelebA have to be given as folders; distances are in a space of ours.",)
    sets = {"smoke": "8", "small": "32"}[scale]
    networks = f"Networks of {sets} pixels and about a thousand steps, not of 64 and the authors' hyperparameters."
    data = "Fashion-MNIST stands in for CelebA, and 4,000 images of CIFAR-10 for LSUN-Church."
    return (networks, data)
