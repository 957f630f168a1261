"""Guards of a generator's queries: what they answer, what they charge, and what is left of them once they are known."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from genvet.core.errors import BadInput, BudgetSpent, Unsupported
from genvet.core.generator import Generator
from genvet.core.latent import Latent
from genvet.core.queries import Queries, Reply
from genvet.core.rng import Rng
from genvet.core.technique import Guard, Nothing
from genvet.defences.query.adversarial_noise import AdversarialNoise
from genvet.defences.query.gaussian_filter import GaussianFilter
from genvet.defences.query.gaussian_noise import GaussianNoise
from genvet.defences.query.jpeg import Jpeg
from genvet.defences.query.linear_interpolation import LinearInterpolation
from genvet.defences.query.semantic_interpolation import SemanticInterpolation
from genvet.nets import classifiers
from genvet.nets.between import Asked
from genvet.nets.random_features import features

DIM, SIDE = 6, 16


class Scene(nn.Module):
    """A disc on a slope: z moves it, widens it, and sets its light and the slope's."""

    def forward(self, z: Tensor) -> Tensor:
        x: Tensor
        down, across = torch.meshgrid(torch.linspace(-1, 1, SIDE), torch.linspace(-1, 1, SIDE), indexing="ij")
        right, low, r, light, ground, tilt = (0.5 * z.tanh()).T[..., None, None]
        disc = (8 * (0.5 + 0.4 * r - torch.hypot(down - low, across - right))).sigmoid()
        x = (0.8 * ground + tilt * across) * (1 - disc) + (0.5 + light) * disc
        return x.clamp(-1, 1)[:, None]


def target(distribution: Any = "normal", classes: int = 0) -> Generator:
    return Generator(module=Scene(), latent=Latent(DIM, distribution), shape=(1, SIDE, SIDE), name="scene")


def before(*guards: Any, seed: int = 4, budget: int | None = None, **latent: Any) -> Any:
    view: Any = target(**latent).seen_as(Queries, budget)
    for guard in guards:
        view = guard(view, guard.gift()(), Rng(seed))
    return view


Z = Latent(DIM).sample(0, 40, Rng(9))
CLEAN = target()(Z)
PLAIN = [
    *(GaussianNoise(drawn=drawn) for drawn in ("fresh", "keyed", "smooth")),
    *(GaussianFilter(), Jpeg(quality=20), AdversarialNoise(), AdversarialNoise(steps=3, fresh=True)),
]
MOVING = [LinearInterpolation(), LinearInterpolation(partner="own"), LinearInterpolation(points=3)]
SEMANTIC = SemanticInterpolation(attributes="brightness,contrast", samples=800)


def psnr(x: Tensor, clean: Tensor = CLEAN) -> float:
    return float(10 * (4 / (x - clean).square().flatten(1).mean(1).clamp_min(1e-12)).log10().mean())


def seen(generator: Generator) -> Any:
    return generator.seen_as(Queries)


def undone(guard: Guard, which: str) -> tuple[float, Any]:
    """The PSNR of what an attacker gets who knows the guard, and his view."""
    (found,) = (undoing for what, undoing in guard.known().items() if which in what)
    view = found(before(guard))
    return psnr(view(Z)), view


@pytest.mark.parametrize("guard", [*PLAIN, *MOVING, SEMANTIC])
def test_it_is_the_same_view_with_other_answers(guard: Guard) -> None:
    view = before(guard)
    assert isinstance(before(guard), Queries) and guard.guards() is Queries
    assert (view.latent, view.shape, view.used, view.left) == (Latent(DIM), (1, SIDE, SIDE), 0, None)
    spent = view.inner.used
    reply = view.ask(Z[:5])
    assert view.used == 5 and view.inner.used - spent == 5 * view.price
    assert reply.owner.tolist() == [i for i in range(5) for _ in range(view.brings)] and not reply.status.any()
    assert reply.images.shape == (5 * view.brings, 1, SIDE, SIDE) and reply.images.abs().max() <= 1
    assert not torch.allclose(reply.images[:: view.brings], CLEAN[:5], atol=1e-3)
    assert len(view.ask(Z[:0]).images) == 0 and len(view.sample(5, Rng(1))) == 5
    assert view.used == 5 + -(-5 // view.brings), "a gallery is paid for by the query"


@pytest.mark.parametrize("guard", [*PLAIN, *MOVING, SEMANTIC])
def test_answers_follow_from_key_and_order_and_not_from_batches(guard: Guard) -> None:
    once, parts, other = before(guard), before(guard), before(guard, seed=5)
    whole = once.ask(Z[:7]).images
    assert torch.allclose(whole, torch.cat([parts.ask(Z[:3]).images, parts.ask(Z[3:7]).images]), atol=1e-5)
    assert torch.allclose(before(guard).sample(70, Rng(2))[:9], before(guard).sample(9, Rng(2)), atol=1e-5)
    drawn = isinstance(guard, GaussianNoise | AdversarialNoise) or getattr(guard, "partner", "") == "own"
    rest = slice(once.brings, None)  # the first of all walks from a latent of the guard's own
    assert drawn == (not torch.equal(whole[rest], other.ask(Z[:7]).images[rest])) or guard is SEMANTIC
    fresh = guard in (PLAIN[0], PLAIN[6]) or getattr(guard, "partner", "") == "previous"
    assert torch.allclose(whole[: once.brings], once.ask(Z[:7]).images[: once.brings], atol=1e-5) != fresh


def test_guards_stand_behind_each_other_and_queries_are_charged_once() -> None:
    view = before(GaussianFilter(), LinearInterpolation(points=3), GaussianNoise(), Jpeg(), budget=60)
    assert (view.left, view.brings) == (20, 3)
    reply = view.ask(Z[:4])
    endpoint = view.inner.inner.inner.inner
    assert len(reply.images) == 12 and (view.used, view.left, endpoint.used) == (4, 16, 12)
    with pytest.raises(BudgetSpent):
        view.ask(Z[:17])
    assert (view.used, endpoint.used) == (4, 12), "what is not paid for is not charged"


def test_what_is_blocked_stays_blocked() -> None:
    class Blocking:
        latent, shape, used, left = Latent(DIM), (1, SIDE, SIDE), 0, None

        def ask(self, z: Tensor, labels: Tensor | None = None) -> Reply:
            answered = torch.arange(len(z)) % 2 == 0
            return Reply(CLEAN[: len(z)][answered], answered.nonzero()[:, 0], (~answered).long())

    view: Any = Blocking()
    for guard, owners, status in (
        (GaussianNoise(), [0, 2], [0, 1, 0, 1]),
        (LinearInterpolation(points=2), [0, 1, 2, 3], [0] * 4),
    ):
        reply = guard(view, Nothing(), Rng(0)).ask(Z[:4])
        assert reply.owner.tolist() == owners and reply.status.tolist() == status


def test_noise_is_as_strong_as_it_says_and_filters_keep_the_mean() -> None:
    grey = Generator(module=nn.Sequential(Zero(), nn.Unflatten(1, (1, SIDE, SIDE))), **FLAT)
    for drawn in ("fresh", "keyed", "smooth"):
        guard = GaussianNoise(sigma=0.2, drawn=drawn)
        noise = guard(seen(grey), Nothing(), Rng(3))(Z)
        assert float(noise.std()) == pytest.approx(0.2, rel=0.06) and abs(float(noise.mean())) < 0.02, drawn
    x = before(AdversarialNoise(epsilon=0.03, steps=4))(Z)
    assert 0.02 < float((x - CLEAN).abs().max()) <= 0.03 + 1e-6
    assert before(GaussianFilter())(Z).mean() == pytest.approx(float(CLEAN.mean()), abs=0.02)


class Zero(nn.Module):
    def forward(self, z: Tensor) -> Tensor:
        return z.new_zeros(len(z), SIDE * SIDE)


FLAT: dict[str, Any] = {"latent": Latent(DIM), "shape": (1, SIDE, SIDE), "name": "flat"}


def test_adversarial_noise_misleads_its_network_more_than_noise_of_its_size() -> None:
    with Rng(5).seeded():
        judge = classifiers.build(tuple("abc"), 2, SIDE, 1)
    judge.module.eval().requires_grad_(False)
    guard = AdversarialNoise(steps=5)
    x = guard(seen(target()), guard.gift()(classifier=judge), Rng(4))(Z)
    shuffled = CLEAN + (x - CLEAN).roll(1, 0)
    apart = [float((judge.features(some) - judge.features(CLEAN)).square().mean()) for some in (x, shuffled)]
    assert apart[0] > 2 * apart[1]
    assert not torch.equal(features(CLEAN, Rng(1)), features(CLEAN)), "another key is another space"
    with pytest.raises(BadInput, match="classifier"):
        guard(seen(target()), guard.gift()(classifier=classifiers.build(tuple("ab"), 2, 8, 1)), Rng(4))


def test_semantic_images_have_more_of_each_attribute() -> None:
    from genvet.maths.factors import factors

    view = before(SEMANTIC)
    assert [m.name for m in view.about] == ["plane.brightness", "plane.contrast"] and view.brings == 2
    assert all(m.value is not None and m.value > 0.8 for m in view.about)
    images = view.ask(Z).images.unflatten(0, (40, 2))
    clean = factors(CLEAN)
    for place in (0, 1):
        assert (factors(images[:, place])[:, place] > clean[:, place]).float().mean() > 0.9
    with pytest.raises(BadInput, match="nothing is called"):
        before(SemanticInterpolation(attributes="smile", samples=160))
    still = SEMANTIC.model_copy(update={"attributes": ""})
    with pytest.raises(Unsupported, match="no attribute"):
        still(seen(Generator(module=nn.Sequential(Zero(), nn.Unflatten(1, (1, SIDE, SIDE))), **FLAT)),
              still.gift()(), Rng(0))  # fmt: skip


def test_linear_interpolation_walks_from_latent_to_latent() -> None:
    middle = before(LinearInterpolation())(Z)
    assert torch.allclose(middle[1:], target()((Z[1:] + Z[:-1]) / 2), atol=1e-5)
    steps = before(LinearInterpolation(points=2, far=1.0)).ask(Z).images
    assert torch.allclose(steps[3::2], CLEAN[:-1], atol=1e-5)
    shorter, restored = LinearInterpolation(partner="own"), LinearInterpolation(partner="own", restored=True)
    lengths = []
    for guard in (shorter, restored):
        view = guard(seen(target()), Nothing(), Rng(1))
        lengths.append(float(view._change(Latent(DIM).sample(0, 800, Rng(3))).square().mean()))  # type: ignore[attr-defined]
    assert lengths == [pytest.approx(0.5, abs=0.03), pytest.approx(1.0, abs=0.06)]
    some = before(LinearInterpolation(share=0.5))(Z)
    kept = torch.isclose(some, CLEAN, atol=1e-5).flatten(1).all(1)
    assert 8 < int(kept.sum()) < 32


def test_who_knows_the_noise_averages_it_away_unless_it_follows_from_where_the_latent_lies() -> None:
    fresh, keyed, smooth = (GaussianNoise(sigma=0.2, drawn=drawn) for drawn in ("fresh", "keyed", "smooth"))
    plain = psnr(before(fresh)(Z))
    removed, view = undone(fresh, "averages")
    assert removed > plain + 9 and view.inner.used == 16 * len(Z) and view.left is None  # 10 log10(16) is 12 dB
    repeated = next(iter(fresh.known().values()))
    assert psnr(repeated(before(keyed))(Z)) < plain + 2, "the same noise 16 times"
    assert undone(keyed, "averages")[0] > plain + 9, "but not for latents that differ in their last decimals"
    assert undone(smooth, "averages")[0] < plain + 4
    assert all(undone(guard, "denoises")[0] > plain + 3 for guard in (fresh, keyed, smooth))


@pytest.mark.parametrize(
    ("guard", "how", "gain"),
    [
        (GaussianFilter(sigma=1.0), "inverts", 8),
        (Jpeg(quality=20), "smooths", 0.3),
        (AdversarialNoise(epsilon=0.08), "denoises", 1),
        (AdversarialNoise(epsilon=0.08, fresh=True), "averages", 1),
    ],
)
def test_who_knows_it_gets_nearer_to_the_clean_image(guard: Guard, how: str, gain: float) -> None:
    assert undone(guard, how)[0] > psnr(before(guard)(Z)) + gain


def test_who_knows_the_interpolation_asks_otherwise() -> None:
    exact, view = undone(LinearInterpolation(), "twice")
    assert exact > 60 and view.price == 2 and view.inner.used == 80
    own = LinearInterpolation(partner="own")
    longer = next(iter(own.known().values()))
    spread = [float(v.sample(600, Rng(2)).var(0).mean()) for v in (before(), before(own), longer(before(own)))]
    assert spread[1] < 0.8 * spread[0] and spread[2] == pytest.approx(spread[0], rel=0.1)
    moved, (back, view) = before(SEMANTIC).ask(Z).images[::2], undone(SEMANTIC, "plane")
    own = view.inner._change(torch.zeros(1, DIM))[0, view.place]
    assert float(torch.cosine_similarity(view.plane.normal, own, dim=0)) > 0.9
    assert back > psnr(moved) + 2 and view.inner.used == 4 * 400 + len(Z)


def test_who_knows_that_some_answers_are_interpolated_drops_those_that_look_like_it() -> None:
    guard = LinearInterpolation(share=0.5)
    view = guard.known()["drops what looks interpolated"](before(guard))
    assert view.auc > 0.53 and list(guard.known()) == ["asks twice in a row", "drops what looks interpolated"]  # type: ignore[attr-defined]
    z = Latent(DIM).sample(0, 400, Rng(21))
    reply, plain = view.ask(z), before(guard)(z)
    clean = target()(z)
    still = torch.isclose(plain, clean, atol=1e-5).flatten(1).all(1)
    kept = reply.owner
    assert 120 < len(kept) < 280 and (reply.status == 1).sum() == 400 - len(kept)
    assert still[kept].float().mean() > still.float().mean() + 0.08, "more of what is kept was asked for"


def test_interpolation_of_the_right_length_hides_the_latent_alone() -> None:
    for guard in (LinearInterpolation(restored=True), LinearInterpolation(partner="own", restored=True)):
        view = next(iter(guard.known().values()))(before(guard))
        spread = [float(v.sample(600, Rng(2)).var(0).mean()) for v in (before(), before(guard), view)]
        assert spread[1:] == [pytest.approx(spread[0], rel=0.1)] * 2
    assert undone(LinearInterpolation(restored=True), "twice")[0] > 60


def test_hidden_labels_and_uniform_latents_pass_through() -> None:
    z = Latent(DIM, "uniform").sample(0, 9, Rng(0))
    for guard in (GaussianNoise(drawn="smooth"), LinearInterpolation(partner="own", restored=True)):
        assert len(before(guard, distribution="uniform")(z)) == 9
    asked = Asked(Z[:2].repeat(2, 1), torch.eye(4), torch.tensor([0, 1, 2, 3, 3]))
    assert len(set(asked.names())) == 5, "another class is another question, and so is the second answer"
    assert asked.each().shape == (5, DIM)
    with pytest.raises(Unsupported, match="pictures"):
        sound = Generator(module=Scene(), latent=Latent(DIM), shape=(1, 64), name="sound")
        Jpeg()(seen(sound), Nothing(), Rng(0))
