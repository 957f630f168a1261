"""A generator as an outsider sees it: counted, within a budget, and answered in full or not at all."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from genvet.core.errors import BadInput, BudgetSpent, Refused
from genvet.core.generator import Generator
from genvet.core.latent import Latent
from genvet.core.queries import Queries, Reply, Samples
from genvet.core.rng import Rng


@pytest.fixture
def generator() -> Generator:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 9), nn.Tanh(), nn.Unflatten(1, (1, 3, 3)))
    return Generator(module=net, latent=Latent(4), shape=(1, 3, 3), name="mlp")


def test_queries_are_counted_and_give_no_gradients(generator: Generator) -> None:
    view = generator.seen_as(Queries, budget=5)
    z = torch.randn(3, 4, requires_grad=True)
    reply = view.ask(z)  # type: ignore[attr-defined]
    assert not reply.images.requires_grad and reply.owner.tolist() == [0, 1, 2] and view.used == 3 and view.left == 2
    assert torch.equal(reply.one_each(), generator(z).detach())


def test_what_is_not_paid_for_is_not_charged(generator: Generator) -> None:
    view = generator.seen_as(Queries, budget=5)
    with pytest.raises(BudgetSpent):
        view(torch.randn(6, 4))  # type: ignore[operator]
    assert view.used == 0 and len(view.sample(5, Rng(0))) == 5 and view.left == 0
    with pytest.raises(BadInput, match="budget"):
        generator.seen_as(Samples, budget=-1)


def test_the_weights_are_no_view_and_a_gallery_takes_no_latents(generator: Generator) -> None:
    assert not isinstance(generator, Queries)
    assert isinstance(generator.seen_as(Queries), Queries)
    gallery = generator.seen_as(Samples)
    assert isinstance(gallery, Samples) and not isinstance(gallery, Queries)


@pytest.mark.parametrize(
    ("owner", "status", "why"),
    [([0, 0, 1], [0, 0], "several images"), ([0, 2], [0, 1, 0], "1 of 3 queries were not answered")],
)
def test_one_image_a_query_or_none_at_all(owner: list[int], status: list[int], why: str) -> None:
    reply = Reply(torch.zeros(len(owner), 1, 3, 3), torch.tensor(owner), torch.tensor(status))
    with pytest.raises(Refused, match=why):
        reply.one_each()
