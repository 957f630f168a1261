"""Held images: decided once, by one person, written into the audit log, and collected by their client alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from clocks import Clock
from sqlalchemy import select
from torch import Tensor

from genvet.serve.problems import Problem
from genvet.serve.reviews import HELD, KEPT, PATIENCE, Reviews
from genvet.serve.tampering import verify

SECRET, SHAPE = bytes(range(32)), (1, 4, 4)


def held(reviews: Reviews, images: list[Tensor], client: int = 7) -> str:
    with reviews.store.writing() as connection:
        return reviews.hold(connection, client, images, ["near a protected image"] * len(images))


def erased(reviews: Reviews) -> list[bool]:
    with reviews.store.reading() as connection:
        return [row.images is None for row in connection.execute(select(HELD).order_by(HELD.c.id))]


def test_each_query_is_told_what_became_of_it(reviews: Reviews, tmp_path: Path) -> None:
    """An approved image comes back to the bit, a rejected one never, and is erased; the log holds who decided."""
    images = [torch.randn(1, *SHAPE), torch.randn(2, *SHAPE), torch.randn(1, *SHAPE)]
    hold = held(reviews, images)
    reply = reviews.collect(hold, 7, SHAPE)
    assert reply.status.tolist() == [2, 2, 2] and reply.images.shape == (0, *SHAPE)
    first, second, third = reviews.waiting()
    assert torch.equal(second.x, images[1]) and second.why == "near a protected image"
    reviews.decide(second.id, "approved", "ann")
    reviews.decide(third.id, "rejected", "bob")
    reply = reviews.collect(hold, 7, SHAPE)
    assert reply.status.tolist() == [2, 0, 1] and reply.owner.tolist() == [1, 1]
    assert torch.equal(reply.images, images[1])
    assert erased(reviews) == [False, False, True] and reviews.count() == 1 and [h.id for h in reviews.waiting()] == [1]
    told = reviews.log.latest(2)  # type: ignore[union-attr]
    assert [(row.kind, row.said["by"], row.said["place"]) for row in told] == [
        ("review.rejected", "bob", 2),
        ("review.approved", "ann", 1),
    ]
    assert verify(reviews.store.engine, SECRET, tmp_path / "head").lag == 0
    assert first.id == 1


def test_a_decision_stands(reviews: Reviews) -> None:
    hold = held(reviews, [torch.randn(1, *SHAPE)])
    reviews.decide(1, "rejected", "ann")
    with pytest.raises(Problem, match="rejected already, by ann") as problem:
        reviews.decide(1, "approved", "bob")
    assert problem.value.status == 409 and reviews.collect(hold, 7, SHAPE).status.tolist() == [1]
    with pytest.raises(Problem, match="no such image"):
        reviews.decide(2, "approved", "bob")


@pytest.mark.parametrize(("hold", "client"), [("mine", 8), ("other", 7), ("", 7)])
def test_nobody_else_collects(reviews: Reviews, hold: str, client: int) -> None:
    """Whoever may not know is told the same as of a name that there never was."""
    name = held(reviews, [torch.randn(1, *SHAPE)])
    with pytest.raises(Problem, match="nothing is held") as problem:
        reviews.collect(name if hold == "mine" else hold, client, SHAPE)
    assert problem.value.status == 404


def test_the_queue_has_an_end(reviews: Reviews) -> None:
    """What does not fit is not half held."""
    held(reviews, [torch.randn(1, *SHAPE)] * 4)
    with pytest.raises(Problem, match="too many images wait") as problem:
        held(reviews, [torch.randn(1, *SHAPE)] * 2)
    assert problem.value.status == 503 and reviews.count() == 4
    reviews.decide(1, "approved", "ann")
    held(reviews, [torch.randn(1, *SHAPE)] * 2)
    assert reviews.count() == 5


def test_images_do_not_lie_about_for_ever(reviews: Reviews, clock: Clock) -> None:
    """Undecided ones expire, approved ones are erased after their time."""
    hold = held(reviews, [torch.randn(1, *SHAPE), torch.randn(1, *SHAPE)])
    reviews.decide(1, "approved", "ann")
    clock.at += KEPT - 1
    assert reviews.forget() == 0 and reviews.collect(hold, 7, SHAPE).status.tolist() == [0, 2]
    clock.at += 2
    assert reviews.forget() == 0 and reviews.collect(hold, 7, SHAPE).status.tolist() == [1, 2]
    clock.at += PATIENCE
    assert reviews.forget() == 1 and reviews.collect(hold, 7, SHAPE).status.tolist() == [1, 1]
    assert erased(reviews) == [True, True]
    assert reviews.log.latest(1)[0].kind == "review.expired"  # type: ignore[union-attr]
