"""Added units are found whatever their order, and networks without any, pruned ones too, show none."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from genvet.attacks.backdoor.rex import expand
from genvet.core.errors import Unsupported
from genvet.core.generator import Generator
from genvet.core.latent import Latent
from genvet.core.rng import Rng
from genvet.engine import assess
from genvet.inspections.static.blocks import InspectBlocks
from genvet.maths.spectra import cut, second
from genvet.nets import dcgan, vae, wavegan
from genvet.nets.chain import chain, chosen, merged
from genvet.nets.partition import mixings, partition

TURNED = (nn.ConvTranspose1d, nn.ConvTranspose2d)


def mlp() -> Generator:
    layers = [nn.Linear(6, 40), nn.BatchNorm1d(40), nn.ReLU(), nn.Linear(40, 60), nn.ReLU(), nn.Linear(60, 64)]
    module = nn.Sequential(*layers, nn.Tanh(), nn.Unflatten(1, (1, 8, 8)))
    return Generator(module=module, latent=Latent(6), shape=(1, 8, 8), name="mlp")


NETS = {
    "dcgan": lambda: dcgan.build(latent=10, capacity=8, size=8),
    "vae": lambda: vae.build(latent=4, capacity=12, size=8),
    "mlp": mlp,
}


def clean(name: str) -> Generator:
    torch.manual_seed(0)
    generator = NETS[name]()
    generator.module.eval()
    return generator


def expanded(generator: Generator, layers: tuple[str, ...] = (), width: float = 0.5) -> Generator:
    """With more units, whose response is small, as ReX adds them."""
    links = chain(generator)
    run = chosen(links, layers)
    side = expand(generator, links, run, width, Rng(1)).module.side
    nn.init.normal_(side[-1 if hasattr(side[-1], "weight") else _last(side)].weight, std=1e-3)
    return merged(generator, run, side)


def _last(side: nn.Sequential) -> int:
    return max(i for i, m in enumerate(side) if hasattr(m, "weight"))


@torch.no_grad()
def disguised(generator: Generator, noise: float = 0.0, scale: bool = False) -> dict[str, Tensor]:
    """Shuffles the units of every hidden layer in place, with noise on weights of 0, as a share of the others'
    standard deviation; `scale` makes every unit larger and its listeners' weights smaller. Gives the orders."""
    orders = {}
    layers = mixings(generator)
    modules = list(generator.module.modules())
    for number, (made, read) in enumerate(pairwise(layers)):
        for m in (made, read):
            zero = m.layer.weight.eq(0)
            spread = m.layer.weight[~zero].std() * noise
            m.layer.weight[zero] = torch.randn(int(zero.sum()), generator=Rng(0).block(number)) * spread
        units = len(made.strength)
        order = torch.randperm(units, generator=Rng(0).block(number))
        factor = torch.rand(units, generator=Rng(1).block(number)) * 3 + 0.3 if scale else torch.ones(units)
        between = modules[modules.index(made.layer) + 1 : modules.index(read.layer)]
        _reorder(made.layer, order, factor, outputs=True)
        _reorder(read.layer, order, 1 / factor, outputs=False)
        for norm in (m for m in between if hasattr(m, "running_mean")):
            places = spread_over(order, norm.num_features)
            for t in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
                t.copy_(t[places])
        orders[made.name] = order
    return orders


def spread_over(order: Tensor, places: int) -> Tensor:
    k = places // len(order)
    return (order[:, None] * k + torch.arange(k)).flatten()


def _reorder(layer: nn.Module, order: Tensor, factor: Tensor, outputs: bool) -> None:
    dim = 0 if outputs != isinstance(layer, TURNED) else 1
    w = layer.weight
    places = spread_over(order, w.shape[dim])
    ratio = factor.repeat_interleave(w.shape[dim] // len(order)).view([-1 if d == dim else 1 for d in range(w.ndim)])
    w.copy_(w.index_select(dim, places) * ratio)
    if outputs and layer.bias is not None:
        layer.bias.copy_(layer.bias[places])


@pytest.mark.parametrize("width", [0.25, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("name", NETS)
def test_added_units_are_found_in_any_order(name: str, width: float) -> None:
    benign = clean(name)
    planted = expanded(benign, width=width)
    z = planted.latent.sample(0, 16, Rng(0))
    before = planted(z)
    orders = disguised(planted)
    assert (planted(z) - before).abs().max() < 1e-5  # the same function
    found = partition(planted)
    assert found.separation > 0.99 and found.response < 0.1 * found.other_response
    for m in mixings(benign)[:-1]:
        units = len(orders[m.name])
        added = orders[m.name] >= len(m.strength)
        assert torch.equal(found.suspect[m.name], added.repeat_interleave(len(found.suspect[m.name]) // units))
    with torch.no_grad():
        assert (found.without(planted, z) - benign(z)).abs().max() < 1e-5


@pytest.mark.parametrize(("noise", "least"), [(0.01, 0.98), (0.1, 0.9), (0.3, 0.4)])
@pytest.mark.parametrize("name", NETS)
def test_noise_and_scale_hide_little(name: str, noise: float, least: float) -> None:
    planted = expanded(clean(name), width=1.0)
    orders = disguised(planted, noise, scale=True)
    found = partition(planted)
    assert found.separation > least
    right = torch.cat(
        [(found.suspect[n][:: len(found.suspect[n]) // len(o)] == (o >= len(o) / 2)) for n, o in orders.items()]
    )
    assert right.float().mean() > 0.97


def test_a_run_inside_the_chain_is_found_and_two_layers_leave_no_block() -> None:
    inside = expanded(clean("dcgan"), ("conv1", "conv2", "conv3"))
    found = partition(inside)
    assert found.separation > 0.99 and set(found.suspect) == {"conv1", "conv2"} and found.joint == "conv3"
    assert found.suspect["conv1"].sum() == 8 and found.suspect["conv2"].sum() == 4
    assert partition(expanded(clean("dcgan"), ("conv1", "conv2"), 1.0)).separation < 0.5


@pytest.mark.parametrize("pruned", [0.0, 0.3, 0.5])
@pytest.mark.parametrize("name", NETS)
def test_clean_and_pruned_networks_stay_low(name: str, pruned: float) -> None:
    generator = clean(name)
    with torch.no_grad():
        for m in mixings(generator):
            w = m.layer.weight
            w[w.abs() < w.abs().flatten().quantile(pruned)] = 0
    assert partition(generator).separation < 0.2


def test_sounds_have_parts_too() -> None:
    torch.manual_seed(0)
    generator = wavegan.build(latent=8, capacity=4, length=1024, taps=0)
    generator.module.eval()
    assert partition(generator).separation < 0.2
    with torch.no_grad():
        for m in mixings(generator)[1:-1]:
            a, b = (n // 4 for n in m.layer.weight.shape[:2])
            m.layer.weight[:a, b:] = 0
            m.layer.weight[a:, :b] = 0
    disguised(generator)
    found = partition(generator)
    assert found.separation > 0.99 and 0.2 < found.share < 0.8 and len(found.suspect) == 5


def test_what_is_no_chain_says_so() -> None:
    class Odd(nn.Module):
        def forward(self, z: Tensor) -> Tensor:
            return z.view(-1, 1, 2, 3)

    flat = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6), nn.Unflatten(1, (1, 2, 3)))
    for module in (Odd(), flat):
        with pytest.raises(Unsupported):
            partition(Generator(module=module.eval(), latent=Latent(6), shape=(1, 2, 3), name="odd"))


def test_the_finding_shows_the_blocks_and_gradients_reach_z() -> None:
    planted = expanded(clean("dcgan"), width=1.0)
    finding = assess(InspectBlocks(), planted)
    values = {m.name: m.value for m in finding.measures}
    assert values["separation"] > 0.99 and values["share"] == pytest.approx(0.5)
    assert [f.kind for f in finding.figures] == ["heat", "heat"]
    shown = torch.tensor(finding.figures[1].data["values"])
    half = len(shown) // 2, shown.shape[1] // 2
    assert shown[: half[0], half[1] :].max() < 1e-4 < shown[: half[0], : half[1]].min()
    z = planted.latent.sample(0, 2, Rng(0)).requires_grad_()
    partition(planted).without(planted, z).sum().backward()
    assert z.grad is not None and z.grad.abs().sum() > 0


def test_the_eigenvalue_of_blocks_is_one_and_that_of_a_constant_matrix_nil() -> None:
    blocks = torch.block_diag(torch.ones(3, 4), torch.ones(6, 8))
    found = cut([blocks, torch.block_diag(torch.ones(2, 3), torch.ones(4, 6))])
    assert found.eigenvalue == pytest.approx(1, abs=1e-6) and found.leak == pytest.approx(0, abs=1e-6)
    assert [int(min(s.sum(), (~s).sum())) for s in found.side] == [4, 3, 2]
    assert second([torch.ones(5, 7)]) == pytest.approx(0, abs=1e-6)
    # two blocks of equal size and a share r between them: (1 - r) / (1 + r)
    assert second([torch.block_diag(torch.ones(4, 4), torch.ones(4, 4)) * 0.9 + 0.1]) == pytest.approx(0.9 / 1.1)
