"""Layers that hide gradients are told wherever they are on the way from z to x; ordinary layers are not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genvet.core.generator import Generator
from genvet.core.latent import Latent
from genvet.engine import assess
from genvet.inspections.static.masking import InspectMasking
from genvet.nets import dcgan, vae, wavegan


class Through(torch.autograd.Function):
    """A step whose gradient pretends that there is none."""

    @staticmethod
    def forward(ctx, x):
        return torch.round(x * 8) / 8

    @staticmethod
    def backward(ctx, g):
        return g


class Layer(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def holding(function) -> Generator:
    torch.manual_seed(0)
    layers = [("first", nn.Linear(6, 32)), ("odd", Layer(function)), ("last", nn.Linear(32, 64))]
    net = nn.Sequential()
    for name, layer in layers:
        net.add_module(name, layer)
    net.add_module("tanh", nn.Tanh())
    net.add_module("fold", nn.Unflatten(1, (1, 8, 8)))
    return Generator(module=net.eval(), latent=Latent(6), shape=(1, 8, 8), name="odd")


def written_into(x: Tensor) -> Tensor:
    y = torch.zeros_like(x)
    y[:, :4] = x[:, :4]
    return y.floor()


PLANTED = {
    "dropout that never stops": (lambda x: F.dropout(x, 0.3, training=True), "graph.stochastic"),
    "dropout of torch": (lambda x: torch.dropout(x, 0.3, True), "graph.stochastic"),
    "noise": (lambda x: x + 0.1 * torch.randn_like(x), "graph.stochastic"),
    "noise made elsewhere": (lambda x: x + torch.empty(32).normal_(), "graph.stochastic"),
    "rounding": (lambda x: (x * 8).round() / 8, "graph.quantising"),
    "rounding in place": (lambda x: (x * 8).round_() / 8, "graph.quantising"),
    "sign": (torch.sign, "graph.quantising"),
    "whole numbers": (lambda x: (x * 8).int().float(), "graph.quantising"),
    "straight-through": (Through.apply, "graph.quantising"),
    "steps after a copy": (written_into, "graph.quantising"),
    "fake quantisation": (lambda x: torch.fake_quantize_per_tensor_affine(x, 0.1, 0, 0, 255), "graph.quantising"),
    "log of exp": (lambda x: x.exp().log(), "graph.log-exp"),
    "log of exp, disguised": (lambda x: torch.log(torch.exp(x).view(-1, 4, 8) * 3 + 1e-9).flatten(1), "graph.log-exp"),
    "exp of log": (lambda x: torch.exp(torch.log(x.abs() + 1)), "graph.log-exp"),
    "logit of sigmoid": (lambda x: torch.logit(torch.sigmoid(x)), "graph.log-exp"),
    "atanh of tanh": (lambda x: x.tanh().clamp(-0.9999, 0.9999).atanh(), "graph.log-exp"),
    "a cut": (lambda x: x.detach() * 2, "graph.cut"),
    "a cut by data": (lambda x: x.data * 2, "graph.cut"),
}  # fmt: skip
ORDINARY = {
    "dropout at rest": lambda x: F.dropout(x, 0.3, training=False),
    "leaky ReLU written out": lambda x: torch.where(x > 0, x, 0.2 * x),
    "softplus written out": lambda x: torch.log(1 + torch.exp(x)),
    "log-sum-exp": lambda x: x - x.exp().sum(1, keepdim=True).log(),
    "swish": lambda x: x * torch.sigmoid(x),
    "whole numbers of sizes": lambda x: x.view(x.shape[0], -1, 2).flatten(1) * torch.arange(32).div(8).floor(),
    "norms": lambda x: x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-8),
    "two squashes in a row": lambda x: torch.sigmoid(torch.tanh(x)),
}


@pytest.mark.parametrize(("function", "rule"), PLANTED.values(), ids=PLANTED.keys())
def test_what_hides_gradients_is_told(function, rule: str) -> None:
    finding = assess(InspectMasking(), holding(function))
    assert {p.rule for p in finding.proofs} == {rule}, finding.proofs
    assert finding.proofs[0].place == "odd" and finding.severity == "medium"


@pytest.mark.parametrize("function", ORDINARY.values(), ids=ORDINARY.keys())
def test_ordinary_functions_pass(function) -> None:
    finding = assess(InspectMasking(), holding(function))
    assert not finding.proofs and finding.severity == "info", finding.proofs


def test_our_own_networks_pass() -> None:
    made = (
        dcgan.build(latent=8, capacity=2, size=8),
        vae.build(latent=4, capacity=2, size=8),
        wavegan.build(latent=8, capacity=1, length=1024, taps=8),
    )
    for generator in made:
        generator.module.eval()
        finding = assess(InspectMasking(), generator)
        assert not finding.proofs, (generator.name, finding.proofs)


def test_numbers_from_another_source_show_in_the_answers() -> None:
    state = [0.0]

    def counting(x: Tensor) -> Tensor:
        state[0] += 0.1
        return x + state[0]

    finding = assess(InspectMasking(), holding(counting))
    assert [p.rule for p in finding.proofs] == ["graph.stochastic"]
    assert next(m.value for m in finding.measures if m.name == "apart") > 1e-3


def test_random_numbers_and_hooks_stay_as_they_were() -> None:
    generator = holding(lambda x: F.dropout(x, 0.3, training=True))
    torch.manual_seed(5)
    state = torch.get_rng_state()
    assess(InspectMasking(), generator)
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in generator.module.modules())
