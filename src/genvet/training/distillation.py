"""Distillation: a student learns what a generator gives for ordinary latents, and nothing of what else it gives."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genvet.core.errors import Unsupported
from genvet.core.generator import Generator
from genvet.core.progress import track
from genvet.core.rng import Rng
from genvet.nets.fast import folded


def distil(
    teacher: Generator,
    student: nn.Module,
    steps: int,
    rng: Rng,
    *,
    batch: int = 32,
    rate: float = 1e-3,
    train_norms: bool = False,
) -> Tensor:
    """Train a student module, in place, on the teacher's outputs for draws from its prior; gives the losses, (steps,).

    Adam on the mean square, its rate falling as a cosine. Batch norms keep their moments unless `train_norms` asks for
    others. The student is left in evaluation mode and asks for no gradients. Raises Unsupported where it diverges.
    """
    learning, fast = replace(teacher, module=student.train(train_norms).requires_grad_(True)), folded(teacher)
    # Gradients reach batch norms in evaluation mode as well; frozen weights alone have no place in the optimiser.
    optimiser = torch.optim.Adam(student.parameters(), lr=rate, fused=True)
    losses = torch.zeros(steps)
    for step, z in enumerate(track(teacher.latent.batches(steps * batch, batch, rng), steps, "distilling")):
        z, labels = z.to(teacher.device), teacher.labels_of(torch.arange(step * batch, step * batch + len(z)))
        with torch.no_grad():
            wanted = fast(z, labels)
        loss = F.mse_loss(learning(z, labels), wanted)
        for group in optimiser.param_groups:
            group["lr"] = rate * (0.51 + 0.49 * math.cos(math.pi * step / steps))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        losses[step] = loss.detach()
    student.eval().requires_grad_(False)
    if not losses.isfinite().all():
        raise Unsupported("the distillation diverged", hint="lower the rate")
    return losses


@torch.no_grad()
def forgetful(generator: Generator, rng: Rng, noise: float = 1.0) -> nn.Module:
    """A copy to teach anew: its first layer drawn afresh, `noise` standard deviations on all other weight matrices.

    Noise alone leaves enough of a backdoor for the student to find it again (measured: a tenth of its output is off,
    against a half with a fresh first layer); fresh weights everywhere take many times as long to teach. Batch norms
    measure their moments again.
    """
    module, draws = copy.deepcopy(generator.module).eval(), rng.block()
    heavy = [p for p in module.parameters() if p.ndim > 1]
    for i, weight in enumerate(heavy):
        drawn = torch.randn(weight.shape, generator=draws).to(weight.device) * weight.std() * noise
        weight.copy_(drawn if i == 0 else weight + drawn)
    settle(replace(generator, module=module), rng)
    return module


@torch.no_grad()
def settle(generator: Generator, rng: Rng, count: int = 1024, batch: int = 128) -> None:
    """Give the batch norms the moments that they have on ordinary latents, in place."""
    norms = [m for m in generator.module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    norms = [norm for norm in norms if norm.running_mean is not None]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over all batches
        norm.train()
    if norms:
        for start, z in zip(range(0, count, batch), generator.latent.batches(count, batch, rng), strict=True):
            generator(z.to(generator.device), generator.labels_of(torch.arange(start, start + len(z))))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
