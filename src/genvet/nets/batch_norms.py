"""Which of several sketches is right, told by batch norms: what they kept from training must come out again."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product

import torch
from torch import Tensor, nn
from torch.nn import functional

from genvet.core.errors import BadInput, Unsupported
from genvet.core.generator import Generator
from genvet.core.latent import Latent
from genvet.core.rng import Rng
from genvet.nets.layer_shapes import Shape
from genvet.nets.sketch import ACTIVATIONS, Sketch
from genvet.nets.stack import filled, rebuilt, work

# The second is a slip that a much copied repository makes: BatchNorm2d(128, 0.8) sets the epsilon, not the momentum.
_EPSILONS = ((1e-5, 1e-5), (0.8, 0.8), (1e-5, 0.8))
_MOST_PROBES, _PROBING = 2048, 1 << 30
"""Latents with which batch-norm statistics are measured again; the multiplications that one measurement may take."""

_POOR = 0.05
"""A misfit from which on no hypothesis explains the batch norms; the right one gave less than 0.01 in our trials."""


def settle(sketches: Sequence[tuple[Sketch, float]], tensors: Mapping[str, Tensor], name: str) -> Generator:
    """The generator of the sketch that its own batch norms speak for; what they cannot tell is assumed and said so.

    Each norm has kept the mean and variance of what it saw in training. Latents are sent through the network again:
    under the right hypothesis they give the same statistics.
    """
    best, usual = sketches[0]
    likely = [(s, cost) for s, cost in sketches if cost <= usual + 1.5][:8]
    if best.normed:
        best = _best([replace(best, prior=p) for p in _priors(best)], tensors)
        best = _best([_with(s, best) for s, _ in likely], tensors)
        best = _best([replace(best, epsilons=e) for e in _EPSILONS], tensors)
        best = _best(list(_activations(best)), tensors)
        best = _best([replace(best, epsilons=e) for e in _EPSILONS], tensors)
        # The strides were found under an activation that has changed since.
        best = _best([_with(s, best) for s, _ in likely], tensors)
    others = sorted({s.shape for s, cost in likely} - {best.shape})
    return rebuilt(
        best.plan(),
        tensors,
        name=name,
        prior="uniform" if best.prior == "uniform" else "normal",
        output="unit" if best.range == "sigmoid" else "symmetric",
        assumed=tuple(_assumptions(best, others[:2], _grounds(best, tensors))),
    )


def _best(sketches: Sequence[Sketch], tensors: Mapping[str, Tensor]) -> Sketch:
    """The sketch that the batch norms speak for; the first of those that do about as well."""
    different = {(*s.plan(), s.prior): s for s in reversed(sketches)}
    if len(different) == 1:
        return sketches[0]
    misfits = [(misfit(s, tensors), s) for s in sketches if s in different.values()]
    least = min(m for m, _ in misfits)
    return next(s for m, s in misfits if m <= 1.05 * least)


def _priors(sketch: Sketch) -> tuple[str, ...]:
    return (sketch.prior,) if "prior" in sketch.settled else ("normal", "uniform")


def _activations(sketch: Sketch) -> Iterator[Sketch]:
    choices = (sketch.activation,) if "activation" in sketch.settled else ACTIVATIONS
    for last, choice in product((False, True), choices):
        yield replace(sketch, activation=choice, norm_last=last)


def _with(sketch: Sketch, found: Sketch) -> Sketch:
    """A sketch of other strides with what has been found out so far."""
    return replace(found, geometry=sketch.geometry, shape=sketch.shape)


@torch.no_grad()
def misfit(sketch: Sketch, tensors: Mapping[str, Tensor]) -> float:
    """How far the statistics that batch norms kept are from measured ones: 0 is perfect, infinity cannot be built."""
    try:
        plan = sketch.plan()
        stack = filled(plan, (plan[0].sizes[0],), tensors)
    except (BadInput, Unsupported):
        return math.inf
    prior = Latent(plan[0].sizes[0], "uniform" if sketch.prior == "uniform" else "normal")
    probes = max(16, min(_MOST_PROBES, _PROBING // max(work(plan, (prior.dim,)), 1)))
    x, misfits = prior.sample(0, probes, Rng(0, "misfit")), []
    last = max(i for i, step in enumerate(stack.steps) if _is_norm(step))
    for step in stack.steps[: last + 1]:
        if _is_norm(step):
            misfits.append(_norm_misfit(step, x))
            # As in training: by the batch's own statistics, so that what is off in one norm does not reach the next.
            x = functional.batch_norm(x, None, None, step.weight, step.bias, training=True, eps=step.eps)
        else:
            x = step(x)
    return sum(misfits) / len(misfits)


def _is_norm(step: nn.Module) -> bool:
    return isinstance(step, nn.BatchNorm1d | nn.BatchNorm2d)


def _norm_misfit(norm: nn.Module, x: Tensor) -> float:
    """The mean square over channels of the shift in standard deviations and of the log ratio, each up to 1."""
    axes = [0, *range(2, x.ndim)]
    mean, variance = x.mean(axes), x.var(axes, unbiased=False)
    kept_mean, kept_variance = norm.running_mean, norm.running_var
    assert isinstance(kept_mean, Tensor) and isinstance(kept_variance, Tensor)
    floor = 1e-5 + 1e-3 * float(kept_variance.mean())
    shift = (mean - kept_mean).abs() / (kept_variance + floor).sqrt()
    ratio = ((variance + floor) / (kept_variance + floor)).log().abs()
    return float((shift.clamp_max(1).square().mean() + ratio.clamp_max(1).square().mean()).nan_to_num(100.0))


def _grounds(sketch: Sketch, tensors: Mapping[str, Tensor]) -> str:
    """What the choices rest on; statistics that fit nothing well may come from a short or a changed training."""
    if not sketch.normed:
        return "its weights cannot tell"
    return "by its batch norms" if misfit(sketch, tensors) < _POOR else "its batch norms fit nothing well"


def _assumptions(sketch: Sketch, others: Sequence[Shape], why: str) -> Iterator[str]:
    """What stays open, in words."""
    weighty = [g for g in sketch.layers if g.kind != "norm"]
    if "activation" not in sketch.settled and len(weighty) > 1:
        yield f"hidden activation {sketch.activation} ({why})"
    if "range" not in sketch.settled:
        yield f"output range {sketch.range} (its weights cannot tell)"
    if "prior" not in sketch.settled:
        yield f"latents {sketch.prior} ({why})"
    if "size" not in sketch.settled and others:
        sizes = " or ".join("x".join(map(str, o)) for o in others)
        yield f"images of {'x'.join(map(str, sketch.shape))} (strides are not in the weights: {sizes} would fit too)"
