"""Galleries: who is in them, ranks against loops, chance for strangers, and real faces above it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from genvet.core.errors import BadInput
from genvet.core.rng import Rng
from genvet.maths.reidentification import Gallery, accepted_public, random_people, similar_people

FACES = Path(__file__).parents[3] / "shared/data/faces_orl/orl_faces.npz"


def people(n: int, each: int, spread: float = 0.3, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures of n people, in 6 numbers."""
    who = torch.arange(n).repeat_interleave(each)
    rng = Rng(seed, "people")
    centres = torch.randn(n, 6, generator=rng.block())
    return centres[who] + spread * torch.randn(n * each, 6, generator=rng.block(1)), 10 * who + 3


def slow(gallery: Gallery, query: torch.Tensor, person: torch.Tensor) -> list[int]:
    found = []
    for row, who in zip(query, person, strict=True):
        p = gallery.people.tolist().index(int(who))
        right = float((row - gallery.rows[gallery.right[p]]).double().norm())
        found.append(1 + sum(float((row - gallery.rows[o]).double().norm()) <= right for o in gallery.others[p]))
    return found


def test_each_gallery_holds_whom_it_should_and_ranks_are_the_loop() -> None:
    rows, person = people(15, 4)
    rng = Rng(0)
    public, scores = torch.randn(200, 6, generator=rng.block()), torch.randn(200, 144, generator=rng.block(1))
    galleries = random_people(rows, person, rng), similar_people(rows, person, rng)
    for gallery in (*galleries, accepted_public(rows, person, public, scores, rng)):
        assert gallery.people.tolist() == [10 * i + 3 for i in range(15)] and gallery.others.shape == (15, 9)
        assert torch.equal(person[gallery.right], gallery.people)
        assert torch.equal(gallery.right, galleries[0].right)  # one person, one picture, whatever the gallery
        ranks = gallery.ranks(rows, person)
        assert ranks.rank.tolist() == slow(gallery, rows, person)
        assert ranks.chance() == pytest.approx(0.1) and ranks.labels == 15
        assert int(gallery.spare(person).sum()) < len(person)
        assert not gallery.spare(person)[gallery.right].any()
    for gallery in galleries:
        others = person[gallery.others]
        assert all(len(set(row.tolist())) == 9 for row in others)
        assert not (others == gallery.people[:, None]).any()


def test_similar_people_are_those_of_the_loop() -> None:
    rows, person = people(12, 3)
    gallery = similar_people(rows, person, Rng(0), size=5)
    for one, right, got in zip(gallery.people, gallery.right, gallery.others, strict=True):
        nearest = {
            int(o): min((float((rows[right] - rows[i]).norm()), i) for i in range(36) if person[i] == o)
            for o in person.unique()
            if o != one
        }
        assert got.tolist() == [i for _, i in sorted(nearest.values())[:4]]


def test_accepted_pictures_come_first_and_their_share_is_told() -> None:
    rows, person = people(3, 2)
    person, public = person // 10, torch.arange(30.0)[:, None].repeat(1, 6)
    scores = torch.zeros(30, 3)
    scores[5, 1], scores[6, 1], scores[7] = 0.2, 0.3, torch.tensor([0.0, 0.9, 1.0])  # 7 is taken for 2, not for 1
    scores[5:7, 0], scores[8:, 0] = -1, 0.1
    gallery = accepted_public(rows, person, public, scores, Rng(0), size=4)
    assert (gallery.others[1] - len(rows)).tolist() == [6, 5, 7]
    accepted = [3, 2, 1]  # class 0 has many, class 2 the seventh alone
    assert gallery.accepted == pytest.approx(sum(accepted) / 9)


def test_strangers_stay_at_chance_and_the_right_pictures_do_not() -> None:
    rows, person = people(60, 4)
    strangers, _ = people(60, 4, seed=9)
    gallery = random_people(rows, person, Rng(1))
    lost, found = (
        gallery.ranks(strangers[::4], person[::4]),
        gallery.ranks(rows[gallery.spare(person)], person[gallery.spare(person)]),
    )
    assert lost.share().low < 0.1 < lost.share().high and found.share().low > 0.5
    similar = similar_people(rows, person, Rng(1)).ranks(rows[gallery.spare(person)], person[gallery.spare(person)])
    assert similar.share().value < found.share().value


def test_what_is_no_gallery_is_refused() -> None:
    rows, person = people(5, 2)
    with pytest.raises(BadInput, match="too few people"):
        random_people(rows, person, Rng(0))
    with pytest.raises(BadInput, match="not in this gallery"):
        random_people(rows, person, Rng(0), size=3).ranks(rows[:1], torch.tensor([4]))
    with pytest.raises(BadInput, match="44 classes"):
        accepted_public(rows, person, rows, torch.zeros(10, 43), Rng(0), size=3)


def test_real_faces_find_their_person_among_random_and_among_similar_people() -> None:
    if not FACES.exists():
        pytest.skip("../shared/data/faces_orl is missing")
    data = np.load(FACES)
    faces = torch.from_numpy(data["images"]).float()[:, None] / 127.5 - 1
    rows, person = F.adaptive_avg_pool2d(faces, 24).flatten(1), torch.from_numpy(data["subject"])
    shares = []
    for gallery in (random_people(rows, person, Rng(0)), similar_people(rows, person, Rng(0))):
        free = gallery.spare(person)
        shares.append(gallery.ranks(rows[free], person[free]).share())
    assert shares[0].low > 0.4 and shares[0].value > shares[1].value
