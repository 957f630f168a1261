"""SNGAN, PGGAN and MLPs: what makes them what they are, resumed to the same bit, out to files and in again."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from genvet.core.data import Images
from genvet.core.errors import BadInput
from genvet.core.rng import Rng
from genvet.core.technique import Recipe, TrainedGenerator
from genvet.files.convert import convert, load_saved
from genvet.files.critic import load_critic
from genvet.files.load import load
from genvet.maths.gaussians import Grid
from genvet.nets import pggan, sngan
from genvet.nets.build import build
from genvet.training.checkpoints import Folder, State, kept_by
from genvet.training.dense import Dense
from genvet.training.dense import Given as Points
from genvet.training.pggan import PGGAN
from genvet.training.pggan import Given as Growing
from genvet.training.sngan import SNGAN, Given
from genvet.training.starting import Start, begun_from
from genvet.training.written import write

X = Images(torch.rand(40, 1, 8, 8, generator=Rng(0, "x").block()) * 2 - 1, ("",) * 40)
POINTS = Images(torch.randn(40, 1, 1, 2, generator=Rng(0, "points").block()), ("",) * 40)
RECIPES = [
    (SNGAN(**SNGAN.smoke | {"steps": 5}), Given(X)),
    (PGGAN(**PGGAN.smoke | {"steps": 7, "growth": 2}), Growing(X)),
    (Dense(**Dense.smoke | {"steps": 5}), Points(POINTS)),
]
NAMES = ["sngan", "pggan", "mlp"]


class Interrupted(Folder):
    def keep(self, state: State) -> None:
        super().keep(state)
        self.stop = True


def same(one: TrainedGenerator, other: TrainedGenerator) -> bool:
    states = [(t.generator.module.state_dict(), t.critic.state_dict()) for t in (one, other)]  # type: ignore[union-attr]
    return all(torch.equal(a[k], b[k]) for a, b in zip(*states, strict=True) for k in a)


@pytest.mark.parametrize(("recipe", "given"), RECIPES, ids=NAMES)
def test_interrupted_and_resumed_is_the_uninterrupted_run(recipe: Recipe, given: object, tmp_path: Path) -> None:
    whole = recipe(given, Rng(0))
    with pytest.raises(KeyboardInterrupt), kept_by(Interrupted(tmp_path, every=3)):
        recipe(given, Rng(0))
    with kept_by(Folder(tmp_path)):
        assert same(whole, recipe(given, Rng(0)))  # type: ignore[arg-type]


@pytest.mark.parametrize(("recipe", "given"), RECIPES, ids=NAMES)
def test_files_go_out_and_come_in_again(recipe: Recipe, given: object, tmp_path: Path) -> None:
    trained = recipe(given, Rng(0))
    assert isinstance(trained, TrainedGenerator)
    write(trained, tmp_path, {})
    x = trained.generator.sample(5, Rng(0)).clone()
    convert(tmp_path / "generator.safetensors", tmp_path / "again.safetensors")
    for name in ("generator.safetensors", "again.safetensors"):
        again = load_saved(tmp_path / name)
        assert again.name == trained.generator.name and torch.equal(again.sample(5, Rng(0)), x)
    critic = load_critic(tmp_path / "critic.safetensors")
    assert critic.shape == trained.generator.shape
    with torch.no_grad():
        assert torch.equal(critic(x), trained.critic(x))  # type: ignore[misc]
    torch.save(trained.critic.state_dict(), tmp_path / "critic.pt")  # type: ignore[union-attr]
    assert not load(tmp_path / "critic.pt").generators


@pytest.mark.parametrize("size", [8, 28, 32])
@pytest.mark.parametrize("net", ["sngan", "pggan"])
def test_bare_weights_are_recognised(net: str, size: int, tmp_path: Path) -> None:
    generator = build(net, {"latent": 5, "capacity": 3, "size": size, "channels": 3})
    generator.module.eval()
    torch.save(generator.module.state_dict(), tmp_path / "bare.pt")
    again = load_saved(tmp_path / "bare.pt")
    assert again.name == net and again.shape == (3, size, size)
    assert torch.equal(again.sample(3, Rng(0)), generator.sample(3, Rng(0)))


def test_other_sizes_are_refused() -> None:
    for size in (9, 36, 4):
        with pytest.raises(BadInput, match="no network has images of this size"):
            sngan.build(size=size)


def test_the_critic_of_an_sngan_has_a_spectral_norm_of_one() -> None:
    with Rng(0).seeded():
        critic = sngan.Critic(6, 8, 1)
    layer = critic.blocks[0].conv2
    for _ in range(50):
        weight = sngan.normed(layer).detach()
    assert float(torch.linalg.matrix_norm(weight.flatten(1), 2)) == pytest.approx(1, abs=1e-3)
    before = layer.u.clone()
    critic.eval()(torch.rand(2, 1, 8, 8))
    assert torch.equal(before, layer.u), "at rest nothing moves"


def test_a_new_resolution_fades_in() -> None:
    generator = pggan.build(4, 2, 16, 1)
    z, network = torch.randn(3, 4, generator=Rng(0).block()), generator.module
    images = {}
    for level, alpha in ((0, 1.0), (1, 1.0), (1, 0.25), (1, 0.0)):
        network.grow(level, alpha)
        images[level, alpha] = network(z)
    small, large = pggan.doubled(images[0, 1.0]), images[1, 1.0]
    assert torch.allclose(images[1, 0.0], small) and large.shape == (3, 1, 8, 8)
    assert torch.allclose(images[1, 0.25], 0.75 * small + 0.25 * large, atol=1e-6)
    critic = pggan.critic(2, 16, 1)
    critic.grow(1, 0.0)
    at_first = critic(small)
    critic.grow(0, 1.0)
    assert torch.allclose(at_first, critic(images[0, 1.0]), atol=1e-5), "the critic sees no difference at first"


def test_it_is_grown_in_the_end_or_refused() -> None:
    recipe = PGGAN(steps=100, growth=10)
    assert [recipe.stage(i, 3) for i in (0, 9, 10, 19, 20, 30, 39, 40, 99)] == [
        *((0, 1.0), (0, 1.0), (1, 0.1), (1, 1.0), (1, 1.0), (2, 0.1), (2, 1.0), (2, 1.0), (2, 1.0)),
    ]
    with pytest.raises(BadInput, match="expected over 200 steps"):
        PGGAN(steps=100, growth=100)(Growing(X), Rng(0))


def test_a_training_goes_on_from_given_weights() -> None:
    recipe = Dense(**Dense.smoke | {"steps": 1, "rate": 1e-9})
    first = Dense(**Dense.smoke | {"steps": 9})(Points(POINTS), Rng(0))
    with begun_from(Start(first.generator, first.critic)):
        second = recipe(Points(POINTS), Rng(7))
    fresh = recipe(Points(POINTS), Rng(7))
    x = [t.generator.sample(50, Rng(0)) for t in (first, second, fresh)]
    assert torch.allclose(x[0], x[1], atol=1e-4) and not torch.allclose(x[0], x[2], atol=1e-2)
    assert set(second.record["start"]) == {"generator", "critic"} and "start" not in fresh.record
    with begun_from(Start(first.generator)), pytest.raises(BadInput, match="cannot go on from this generator"):
        Dense(**Dense.smoke | {"width": 8})(Points(POINTS), Rng(0))


def test_an_mlp_learns_where_the_points_are() -> None:
    grid = Grid(side=2, step=1.0, std=0.1)
    x = Images(grid.sample(2000, Rng(0)).view(-1, 1, 1, 2), ("",) * 2000)
    knobs = {"batch": 128, "width": 32, "average": 0.9, "rate": 2e-3}
    learned, fresh = (Dense(**knobs, steps=n)(Points(x), Rng(1)).generator.sample(1000, Rng(1)) for n in (500, 1))
    good, modes = grid.quality(learned.view(-1, 2))
    assert modes >= 2 and good > 0.3 > 2 * grid.quality(fresh.view(-1, 2))[0]
