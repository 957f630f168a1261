"""Distillation: what is taught is learnt, the teacher stays as it is, and forgetting forgets."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from genvet.core.errors import Unsupported
from genvet.core.generator import Generator
from genvet.core.latent import Latent
from genvet.core.rng import Rng
from genvet.training.distillation import distil, forgetful, settle


def teacher(*, output: str = "symmetric", classes: int = 0) -> Generator:
    torch.manual_seed(3)
    last = nn.Sigmoid() if output == "unit" else nn.Tanh()
    net = nn.Sequential(nn.Linear(6, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Linear(24, 16), last)
    module: nn.Module = nn.Sequential(net, nn.Unflatten(1, (1, 4, 4)))
    if classes:
        module = Labelled(module, classes)
    return Generator(
        module=module.eval(), latent=Latent(6, classes=classes), shape=(1, 4, 4), name="toy", output=output
    )  # type: ignore[arg-type]


class Labelled(nn.Module):
    """Adds an offset of its own for each class."""

    def __init__(self, net: nn.Module, classes: int) -> None:
        super().__init__()
        self.net, self.of = net, nn.Linear(classes, 6)

    def forward(self, z: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        x: torch.Tensor = self.net(z + self.of(labels))
        return x


@pytest.mark.parametrize(("output", "classes"), [("symmetric", 0), ("unit", 0), ("symmetric", 3)])
def test_a_student_learns_its_teacher_and_leaves_it_alone(output: str, classes: int) -> None:
    generator = teacher(output=output, classes=classes)
    before = {k: v.clone() for k, v in generator.module.state_dict().items()}
    student = forgetful(generator, Rng(1))
    losses = distil(generator, student, 300, Rng(2), rate=1e-2)
    assert losses.shape == (300,) and losses[-20:].mean() < losses[:5].mean() / 10
    assert all(torch.equal(before[k], v) for k, v in generator.module.state_dict().items())
    assert not student.training and not any(p.requires_grad for p in student.parameters())
    z, labels = torch.randn(64, 6), torch.eye(classes)[torch.arange(64) % classes] if classes else None
    error = (replace(generator, module=student)(z, labels) - generator(z, labels)).square().mean()
    assert error < losses[:5].mean() / 5


def test_it_takes_the_steps_that_a_plain_loop_takes() -> None:
    """The slow way: the teacher as it is, Adam as it is, one generator of randomness."""
    generator, rng = teacher(), Rng(4)
    student = forgetful(generator, Rng(5))
    plain = copy.deepcopy(student)
    losses = distil(generator, student, 30, rng, batch=8, rate=1e-2)
    optimiser = torch.optim.Adam(plain.requires_grad_(True).parameters(), lr=1e-2)
    expected = []
    for step in range(30):
        z = generator.latent.sample(step * 8, step * 8 + 8, rng)
        optimiser.param_groups[0]["lr"] = 1e-2 * (0.51 + 0.49 * math.cos(math.pi * step / 30))
        optimiser.zero_grad()
        loss = (plain(z) - generator(z).detach()).square().mean()
        loss.backward()
        optimiser.step()
        expected.append(loss.item())
    assert losses.tolist() == pytest.approx(expected, rel=1e-3)
    for a, b in zip(student.parameters(), plain.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-4)


def test_norms_keep_their_moments_unless_they_are_to_learn() -> None:
    generator = teacher()
    kept, moved = forgetful(generator, Rng(1)), forgetful(generator, Rng(1))
    before = kept[0][1].running_mean.clone()  # type: ignore[index]
    distil(generator, kept, 3, Rng(2))
    distil(generator, moved, 3, Rng(2), train_norms=True)
    assert torch.equal(kept[0][1].running_mean, before)  # type: ignore[index]
    assert not torch.allclose(moved[0][1].running_mean, before)  # type: ignore[index]


def test_what_forgets_keeps_nothing_of_the_first_layer_and_a_part_of_the_others() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(40, 200), nn.BatchNorm1d(200), nn.ReLU(), nn.Linear(200, 64), nn.Tanh())
    generator = Generator(module=net.eval(), latent=Latent(40), shape=(1, 8, 8), name="toy")
    module = forgetful(generator, Rng(0))

    def kept(i: int) -> float:
        pair = torch.stack([net[i].weight.flatten(), module[i].weight.flatten()])  # type: ignore[index, union-attr]
        return float(torch.corrcoef(pair.detach())[0, 1])

    assert abs(kept(0)) < 0.05 and 0.6 < kept(3) < 0.8
    z = generator.latent.sample(0, 2048, Rng(9))
    moments = module[0](z).mean(0)  # type: ignore[index, operator]
    assert torch.allclose(moments, module[1].running_mean, atol=0.3)  # type: ignore[index, union-attr]


def test_settling_measures_the_moments_of_ordinary_latents() -> None:
    generator = teacher()
    settle(generator, Rng(0), count=1024, batch=1024)
    z = generator.latent.sample(0, 1024, Rng(0))
    norm = generator.module[0][1]  # type: ignore[index]
    assert torch.allclose(norm.running_mean, generator.module[0][0](z).mean(0), atol=1e-5)  # type: ignore[index]
    assert not norm.training


def test_a_diverging_student_is_refused() -> None:
    net = nn.Sequential(nn.Linear(6, 16), nn.Unflatten(1, (1, 4, 4)))
    generator = Generator(module=net.eval(), latent=Latent(6), shape=(1, 4, 4), name="toy")
    with pytest.raises(Unsupported, match="diverged"):
        distil(generator, forgetful(generator, Rng(1)), 20, Rng(0), rate=1e30)
