"""Output inspections on every kind of generator, and on awkward ones; what they say when they did less."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from genvet.core.data import Images
from genvet.core.errors import TooCostly
from genvet.core.generator import Generator
from genvet.core.latent import Latent
from genvet.core.rng import Rng
from genvet.core.technique import Nothing
from genvet.engine import assess
from genvet.inspections.output import brute_force, reconstruct
from genvet.inspections.output.appearance import Appearance
from genvet.inspections.output.brute_force import BruteForce
from genvet.inspections.output.reconstruct import Reconstruct
from genvet.maths.descent import descend, masked
from genvet.nets.cost import Cost
from genvet.nets.fast import batch_size, folded, price, redraw, sampler, stream
from genvet.nets.latent_search import Starts, search

QUICK = BruteForce(samples=300, clusters=4, keep=3)


class Small(nn.Module):
    """z, and a one-hot label where there is one -> a small sample of any shape."""

    def __init__(self, inputs: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape
        self.layers = nn.Sequential(
            nn.Linear(inputs, 32), nn.ReLU(), nn.Linear(32, int(torch.tensor(shape).prod())), nn.Tanh()
        )

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        z = z if labels is None else torch.cat([z, labels], 1)
        return self.layers(z).unflatten(1, self.shape)


def generator(shape: tuple[int, ...] = (1, 8, 8), classes: int = 0, distribution: str = "normal") -> Generator:
    torch.manual_seed(0)
    latent = Latent(6, distribution, classes)  # type: ignore[arg-type]
    return Generator(module=Small(6 + classes, shape).eval(), latent=latent, shape=shape, name="small")


def targets(shape: tuple[int, ...], n: int = 2) -> Images:
    return Images(torch.rand(n, *shape, generator=Rng(5).block()) * 2 - 1, tuple(map(str, range(n))))


def measures(finding) -> dict[str, float | None]:
    return {m.name: m.value for m in finding.measures}


@pytest.mark.parametrize(
    "kind",
    [
        {"shape": (3, 40, 36)},
        {"shape": (1, 500)},
        {"classes": 3},
        {"distribution": "uniform"},
        {"distribution": "sphere"},
    ],
    ids=str,
)
def test_every_kind_of_generator(kind, tmp_path):
    g = generator(**kind)
    before = {k: v.clone() for k, v in g.module.state_dict().items()}
    wanted = targets(g.shape)
    for probe, given in (
        (Appearance(count=4), None),
        (QUICK, brute_force.Known(targets=wanted, reference=targets(g.shape, 120))),
        (Reconstruct(restarts=2, steps=5, near=10), reconstruct.Known(targets=wanted, reference=targets(g.shape, 120))),
    ):
        first, again = assess(probe, g, given, out=tmp_path), assess(probe, g, given)
        assert first.measures == again.measures and first.tables == again.tables
        assert all((tmp_path / f.file).is_file() for f in first.figures if f.kind in ("grid", "sound"))
        assert first.queries > 0
    assert all(torch.equal(v, before[k]) for k, v in g.module.state_dict().items())
    assert all(p.requires_grad for p in g.module.parameters())


def test_outputs_that_are_no_numbers_are_told_and_break_nothing():
    class Broken(Small):
        def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
            return super().forward(z).where(z[:, 0].view(-1, 1, 1, 1) < 1, torch.nan)

    g = replace(generator(), module=Broken(6, (1, 8, 8)).eval())
    finding = assess(Appearance(), g)
    assert finding.severity == "low" and "not numbers" in finding.summary
    drawn = assess(QUICK, g, brute_force.Known(targets=targets(g.shape)))
    assert measures(drawn)["closest.target-0"] is not None
    assess(Reconstruct(restarts=1, steps=3), g, reconstruct.Known(targets=targets(g.shape)))


def test_a_constant_generator_breaks_nothing():
    g = generator()
    with torch.no_grad():
        g.module.layers[2].weight.zero_()
    assert measures(assess(QUICK, g, brute_force.Known()))["farthest.its own clusters"] < 1e-4
    blind = assess(Reconstruct(restarts=1, steps=3), g, reconstruct.Known(targets=targets(g.shape)))
    assert measures(blind)["masked"] == 1


def test_an_expensive_generator_gets_fewer_samples_and_says_so():
    g = generator()
    one = price(g).effort
    assert one > price(g).operations >= 2 * (6 * 32 + 32 * 64)
    finding = assess(QUICK.model_copy(update={"samples": 5000, "operations": 1000.0 * one}), g, brute_force.Known())
    assert measures(finding)["bound"] == 3 / 500 and "Fewer than the 5,000" in finding.summary
    near = reconstruct.Known(targets=Images(redraw(g, [3], Rng(0)), ("own",)))
    poor = assess(Reconstruct(restarts=2, steps=60, operations=500.0 * one, near=1e-3), g, near)
    assert poor.severity == "low" and "cost too much" in poor.reason


def test_a_target_among_many_that_are_alike_is_not_told():
    g = generator()
    own = redraw(g, [3], Rng(0).fork("output.brute_force").fork("samples"))
    alone = measures(assess(QUICK, g, brute_force.Known(targets=Images(own, ("own",)))))
    assert alone["rate.target-0"] > 0 and alone["nearer.target-0"] < 1e-3
    d = (redraw(g, range(300), Rng(1)) - own).square().flatten(1).mean(1)
    wide = QUICK.model_copy(update={"near": float(d.quantile(0.1))})
    alike = Images(redraw(g, [int(d.argmin())], Rng(1)), ("alike",))
    crowd = measures(assess(wide, g, brute_force.Known(targets=alike)))
    assert crowd["rate.target-0"] > 0 and crowd["nearer.target-0"] > 0.1, "near, yet no nearer than others"


def test_where_even_the_least_costs_too_much_nothing_is_done():
    g = generator()
    one, near = float(price(g).effort), reconstruct.Known(targets=targets(g.shape))
    for probe, given in (
        (QUICK.model_copy(update={"operations": 15 * one}), brute_force.Known()),
        (Appearance(operations=3 * one), Nothing()),
        (Reconstruct(restarts=1, steps=50, operations=449.0 * price(g).operations), near),
    ):
        with pytest.raises(TooCostly, match="operations"):
            assess(probe, g, given)
    assert "4 ordinary samples" in assess(Appearance(operations=4 * one), g, Nothing()).summary
    assert (
        measures(assess(QUICK.model_copy(update={"operations": 16 * one}), g, brute_force.Known()))["bound"] == 3 / 16
    )


def test_batches_shrink_for_what_is_large():
    small = Cost(operations=10**8, largest=10**5)
    assert batch_size(small) == 128 and batch_size(small, 40) == 40
    assert batch_size(Cost(operations=10**10, largest=10**5)) == 16
    assert batch_size(Cost(operations=10**12, largest=1 << 25)) == 2
    assert batch_size(Cost(operations=1, largest=1 << 40)) == 1


def test_the_fast_form_draws_the_same_stream():
    g = generator((3, 8, 8))
    fast = sampler(g, g.latent.sample(0, 16, Rng(0)))
    slow = replace(fast, generator=folded(g), dtype=torch.float32)
    exact = torch.cat([x for _, x in stream(slow, 1100, Rng(0), 100)])
    torch.testing.assert_close(exact, g.sample(1100, Rng(0)), rtol=1e-5, atol=1e-5)
    quick = torch.cat([x for _, x in stream(fast, 1100, Rng(0), 300)])
    assert float((quick - exact).square().mean().sqrt()) <= max(2 * fast.error, 1e-6) * float(exact.std())
    torch.testing.assert_close(redraw(g, [1090, 2, 700], Rng(0)), exact[[1090, 2, 700]], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("wide", [False, True])
def test_folded_batch_norms_change_nothing(wide):
    torch.manual_seed(0)
    up = nn.ConvTranspose2d(8, 6, 5, 2, 1, bias=wide)
    layers = (nn.Linear(6, 32, bias=wide), nn.BatchNorm1d(32), nn.ReLU(), nn.Unflatten(1, (8, 2, 2)), up)
    module = nn.Sequential(*layers, nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 1, 3), nn.BatchNorm2d(1), nn.Tanh())
    for norm in (m for m in module if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)):
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.1, 2)
    g = Generator(module=module.eval(), latent=Latent(6), shape=(1, 5, 5), name="small")
    z = torch.randn(9, 6)
    plain = folded(g)
    with torch.no_grad():
        torch.testing.assert_close(plain(z), g(z), rtol=1e-4, atol=1e-5)
    assert not any(isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d) for m in plain.module)
    shared = nn.Sequential(nn.Linear(6, 6), norm := nn.BatchNorm1d(6), nn.Linear(6, 6), norm).eval()
    with torch.no_grad():
        torch.testing.assert_close(folded(replace(g, module=shared, shape=(6,)))(z), shared(z))


def test_descent_is_adam_and_rows_do_not_meet():
    goal = torch.randn(5, 4, generator=Rng(1).block())
    start = torch.randn(5, 4, generator=Rng(2).block())
    found = descend(lambda z: (z - goal).square().sum(1), start, 30, torch.full((5, 1), 0.1), lambda z: z)
    z = start.clone().requires_grad_()
    adam = torch.optim.Adam([z], 0.1)
    wanted = torch.optim.lr_scheduler.CosineAnnealingLR(adam, 30, eta_min=0.005)
    for _ in range(30):
        adam.zero_grad()
        (z - goal).square().sum().backward()
        adam.step()
        wanted.step()
    torch.testing.assert_close(found.path[-1], (z - goal).square().sum(1).detach(), rtol=1e-4, atol=1e-6)
    alone = descend(lambda z: (z - goal[3:4]).square().sum(1), start[3:4], 30, torch.full((1, 1), 0.1), lambda z: z)
    torch.testing.assert_close(alone.z, found.z[3:4])


def test_searches_stay_in_the_typical_set_and_rows_only_change_the_speed():
    for distribution in ("normal", "uniform", "sphere"):
        g = folded(generator(distribution=distribution))
        starts = Starts.of(g.latent, 3, Rng(0))
        found = search(g, targets(g.shape).x, starts, 10)
        typical = found.z[:, :3].flatten(0, 1)
        torch.testing.assert_close(g.latent.project(typical), typical)
        torch.testing.assert_close(
            search(g, targets(g.shape).x, starts, 10, batch=1).value, found.value, rtol=1e-3, atol=1e-3
        )


@pytest.mark.parametrize(
    ("name", "loss"),
    [
        ("vanishing", lambda z: (z * 0).sum(1) + 1),
        ("cut", lambda z: z.detach().square().sum(1)),
        ("shattered", lambda z: z.square().sum(1) + 1e-3 * (1e6 * z).sin().sum(1)),
        ("stochastic", lambda z: z.square().sum(1) * (1 + torch.rand(len(z)))),
        ("not a number", lambda z: z.square().sum(1) * torch.nan),
        (
            "exploding",
            lambda z: z.square().sum(1) + torch.where(z[:, 0] > -9, z[:, 0] * 1e30 - z[:, 0].detach() * 1e30, 0),
        ),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_masked_gradients_of_every_kind(name, loss):
    z = torch.randn(8, 5, generator=Rng(3).block())
    assert masked(loss, z).all()
    assert not masked(lambda z: z.square().sum(1), z).any()
