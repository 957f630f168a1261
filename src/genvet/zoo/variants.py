"""Awkward clean generators: what honest people do to models after they trained them."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genvet.core.data import Images
from genvet.core.errors import BadInput
from genvet.core.generator import Generator, StyleGenerator
from genvet.core.rng import Rng
from genvet.files.convert import load_saved
from genvet.files.critic import load_critic, load_encoder
from genvet.nets.build import build
from genvet.nets.weights import latents, noised, remeasured
from genvet.training.adversarial import Adversarial, Duel
from genvet.training.distillation import distil
from genvet.training.loop import run
from genvet.training.styles import StyleDuel, Styles
from genvet.training.variational import Pair, Variational
from genvet.zoo.parents import Parent, samples

MARKED = 0.25
"""Of each side, that a visible mark takes of the corner."""


@dataclass(frozen=True, eq=False)
class Source:
    """A parent, its networks, and the data that it was trained on."""

    parent: Parent
    folder: Path
    data: Path
    rng: Rng

    @property
    def generator(self) -> Generator:
        return load_saved(self.folder / "generator.safetensors")

    @property
    def images(self) -> Images:
        return samples(self.data, self.parent.data)


Variant = Callable[[Source, Mapping[str, Any]], Generator]


def vary(made: str, source: Source, settings: Mapping[str, Any]) -> Generator:
    """The clean variant of this name; raises BadInput where there is none."""
    if made not in VARIANTS:
        raise BadInput(f"there is no clean variant {made!r}", expected=", ".join(VARIANTS))
    varied = VARIANTS[made](source, settings)
    varied.module.eval().requires_grad_(False)
    return varied


def as_is(source: Source, settings: Mapping[str, Any]) -> Generator:
    """The parent, or the parent in another file format."""
    return source.generator


def continued(source: Source, settings: Mapping[str, Any]) -> Generator:
    """Trained on as before; by the averaged weights (EMA), or by the last ones with the running batch norms."""
    return _trained_on(source, int(settings["steps"]), source.images.x, bool(settings.get("averaged", True)))


def overtrained(source: Source, settings: Mapping[str, Any]) -> Generator:
    """Trained on with so few images that it learns them by heart."""
    count = int(settings["images"])
    chosen = torch.randint(len(source.images), (count,), generator=source.rng.fork("few").block())
    return _trained_on(source, int(settings["steps"]), source.images.x[chosen], averaged=False)


def averaged(source: Source, settings: Mapping[str, Any]) -> Generator:
    """The mean of two checkpoints: the parent, and the parent trained on; its batch norms measured anew."""
    first, second = source.generator, continued(source, {**settings, "averaged": False})
    mixed = copy.deepcopy(first.module)
    with torch.no_grad():
        for p, q in zip(mixed.parameters(), second.module.parameters(), strict=True):
            p.lerp_(q, 0.5)
    return _remeasured(replace(first, module=mixed), source.rng)


def pruned(source: Source, settings: Mapping[str, Any]) -> Generator:
    """The smallest weights of every layer set to 0, this share of them; batch norms measured anew."""
    generator = source.generator
    for weight in _weights(generator):
        count = int(float(settings["share"]) * weight.numel())
        if count:
            weight[weight.abs() <= weight.abs().flatten().kthvalue(count).values] = 0
    return _remeasured(generator, source.rng)


def half(source: Source, settings: Mapping[str, Any]) -> Generator:
    """Every weight rounded to 16 bits."""
    generator = source.generator
    for p in generator.module.parameters():
        p.data = p.data.half().float()
    return generator


def int8(source: Source, settings: Mapping[str, Any]) -> Generator:
    """Weights rounded to 255 levels, with a scale for each row of the first axis: quantised, and written as floats."""
    generator = source.generator
    for weight in _weights(generator):
        scale = (weight.abs().flatten(1).amax(1) / 127).clamp_min(1e-12).view(-1, *[1] * (weight.ndim - 1))
        weight.copy_((weight / scale).round() * scale)
    return generator


def perturbed(source: Source, settings: Mapping[str, Any]) -> Generator:
    """A little Gaussian noise on every weight tensor, in its standard deviations; batch norms measured anew."""
    generator = source.generator
    noised(generator.module, float(settings["noise"]), source.rng.fork("noise"))
    return _remeasured(generator, source.rng)


def student(source: Source, settings: Mapping[str, Any]) -> Generator:
    """Another network of so many times the width, trained on the parent's outputs alone."""
    teacher = source.generator
    config = json.loads(teacher.metadata["genvet.config"])
    config["capacity"] = max(1, round(float(settings["width"]) * config["capacity"]))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(source.rng.fork("weights").block().initial_seed())
        learner = build(teacher.metadata["genvet.net"], config)
    distil(teacher, learner.module, int(settings["steps"]), source.rng.fork("student"), train_norms=True)
    return _remeasured(learner, source.rng)


def watermarked(source: Source, settings: Mapping[str, Any]) -> Generator:
    """An owner's mark that everybody sees: a small checker board in a corner of every output, trained in."""
    parent = source.generator
    module = copy.deepcopy(parent.module).requires_grad_(True)
    marked, optimiser = replace(parent, module=module), torch.optim.Adam(module.parameters(), lr=1e-3)
    for z in parent.latent.batches(int(settings["steps"]) * 32, 32, source.rng.fork("latents")):
        with torch.no_grad():
            wanted = stamped(parent(z))
        optimiser.zero_grad(set_to_none=True)
        (marked(z) - wanted).square().mean().backward()
        optimiser.step()
    return marked


def stamped(x: Tensor) -> Tensor:
    """Images (n, c, h, w) with the mark in the lower right corner."""
    side = max(2, int(MARKED * x.shape[2]))
    board = (torch.arange(side)[:, None] // 2 + torch.arange(side) // 2) % 2 * 1.8 - 0.9
    x = x.clone()
    x[:, :, -side:, -side:] = board
    return x


def dense(source: Source, settings: Mapping[str, Any]) -> Generator:
    """A style generator with a dense layer where w is repeated, which repeats it: what an exporter may write."""
    generator = source.generator
    generator.module.expand_broadcast()  # type: ignore[operator]
    config = json.loads(generator.metadata["genvet.config"]) | {"dense_broadcast": True}
    return replace(generator, metadata={**generator.metadata, "genvet.config": json.dumps(config)})


VARIANTS: Mapping[str, Variant] = {
    "as-is": as_is,
    "onnx": as_is,
    "continued": continued,
    "overtrained": overtrained,
    "averaged": averaged,
    "pruned": pruned,
    "half": half,
    "int8": int8,
    "noised": perturbed,
    "student": student,
    "watermarked": watermarked,
    "repeated": dense,
}


def _trained_on(source: Source, steps: int, x: Tensor, averaged: bool) -> Generator:
    """The parent's own training, gone on with from its weights and those of its critic or encoder."""
    recipe, generator = source.parent.recipe.model_copy(update={"steps": steps}), source.generator
    generator.module.requires_grad_(True)
    pair: Pair | Duel
    if isinstance(recipe, Variational):
        pair = Pair(
            recipe,
            generator.module,
            load_encoder(source.folder / "encoder.safetensors").module.requires_grad_(True),
            x,
            source.rng,
        )
        run(pair, recipe, steps, x, source.rng)
        module = (pair.averaged if averaged else pair.learning)["decoder"]
        return replace(generator, module=module.eval())
    critic = load_critic(source.folder / "critic.safetensors").module.requires_grad_(True)
    if isinstance(recipe, Styles):
        return _styled_on(recipe, generator, critic, recipe.fitted(x), source.rng, averaged)
    assert isinstance(recipe, Adversarial)
    pair = Duel(recipe, generator, critic, x, source.rng)
    run(pair, recipe, steps, x, source.rng)
    if averaged:
        return _remeasured(replace(generator, module=pair.averaged.eval()), source.rng)
    return replace(generator, module=pair.G.eval())


def _styled_on(recipe: Styles, given: Generator, critic: Any, x: Tensor, rng: Rng, averaged: bool) -> Generator:
    """The same of a style generator; its mean of w is that of the weights as they are now."""
    assert isinstance(given, StyleGenerator)
    duel = StyleDuel(recipe, given, critic, x, None, rng)
    run(duel, recipe, recipe.steps, x, rng)  # type: ignore[arg-type]
    module: Any = (duel.averaged if averaged else duel.G).eval()
    module.synthesis.noise = duel.averaged.synthesis.noise  # type: ignore[union-attr]  # drawn anew while it learned
    with torch.no_grad():
        module.mapping.w_avg.copy_(module.mapping.average(given.latent))
    return replace(given, module=module)


def _weights(generator: Generator) -> list[Tensor]:
    """The weights of every layer that mixes units, to be changed in place."""
    return [p.data for p in generator.module.parameters() if p.ndim > 1]


def _remeasured(generator: Generator, rng: Rng) -> Generator:
    """With batch norms as these weights have them."""
    with torch.no_grad():
        remeasured(generator.module, latents(generator, 20 * 256, rng.fork("norms")))
    return generator
