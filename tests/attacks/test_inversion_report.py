"""What the report of an inversion shows: how the search went, and a verdict for each label that can fail."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from attacks.test_knowing_attacks import PRIOR, planted

from genvet.attacks.inversion.course import Course
from genvet.attacks.inversion.evolution import Evolution
from genvet.attacks.inversion.inverted import Against, Inverted
from genvet.attacks.inversion.label_only import LabelOnly
from genvet.attacks.inversion.mirror import Mirror
from genvet.attacks.inversion.mirror_black_box import MirrorBlackBox
from genvet.attacks.inversion.verdicts import ALONE, LEAKED, LOST, SHARED, UNJUDGED, verdicts
from genvet.core.data import Images, Labelled
from genvet.core.rng import Rng
from genvet.core.scores import Scores
from genvet.maths.ranks import Ranks
from genvet.nets.evidence import Evidence

CONTROLS = {"best sample": "", "nearest public": ""}


def look(target: list[int], *references: list[int]) -> Evidence:
    """Evidence of so many labels, by the places that the target and others give them."""

    def ranks(places: list[int]) -> Ranks:
        return Ranks(torch.tensor(places), torch.full((len(places),), 10), torch.arange(len(places)))

    named = {str(i): ranks(places) for i, places in enumerate(references)}
    return Evidence(label=torch.arange(len(target)), target=ranks(target), references=named, distances={})


def test_a_verdict_needs_others_and_more_than_anybody_had() -> None:
    found = look([1, 1, 1, 2, 1, 9], [1, 1, 3, 4, 1, 1], [1, 1, 1, 2, 1, 1])
    sample = look([1, 1, 1, 1, 1, 1], [9, 1, 1, 1, 9, 9], [9, 1, 9, 1, 9, 9])
    public = look([9, 9, 9, 9, 9, 9], [9, 9, 9, 9, 1, 9], [9, 9, 9, 9, 1, 1])
    told = verdicts({"mirror": found, "best sample": sample, "nearest public": public}, "mirror", CONTROLS)
    assert told == [LEAKED, SHARED.format("best sample"), ALONE, LOST, SHARED.format("nearest public"), LEAKED]
    assert verdicts({"mirror": look([1, 2])}, "mirror", CONTROLS) == [UNJUDGED, LOST]


USUAL: dict[str, Any] = {"samples": 100, "trust_p": True, "moments": 2000}


@pytest.mark.parametrize(
    "how",
    [
        Evolution(**USUAL, population=6, generations=8, directions=4),
        Evolution(**USUAL, population=6, generations=4, directions=4, looks=3, jitter=0.05),
        MirrorBlackBox(**USUAL, population=6, generations=8, c=4.0),
    ],
)
def test_a_course_rises_to_what_was_found_and_counts_what_was_asked(how: Any) -> None:
    target, labels = planted()[0], torch.arange(6)
    found = how(target.seen_as(Scores), Against(prior=PRIOR), Rng(0))
    course = found.course
    assert isinstance(course, Course) and int(course.at[-1]) == found.asked and int(course.at[0]) >= 100
    assert (course.best.diff(dim=0) >= 0).all() and (course.at.diff() > 0).all()
    if how.looks == 1:
        assert torch.allclose(course.best[-1].float(), target(found.x)[labels, labels], atol=1e-4)
    figure = course.figure()
    share = figure.data["series"]["share of labels above one half"][1]
    assert share[-1] == float((course.best[-1] > 0.5).double().mean())


@pytest.mark.parametrize(("batch", "enough"), [(32, 1.0), (4, 0.3)])
def test_the_course_of_steps_does_not_depend_on_the_batch(batch: int, enough: float) -> None:
    target, labels = planted()[0], torch.arange(6)
    how = Mirror(
        **USUAL, restarts=2, steps=25, rate=0.1, c=4.0, dropout=False, consistency=0, batch=batch, enough=enough
    )
    found = how(target, Against(prior=PRIOR), Rng(0))
    course = found.course
    assert course is not None and course.at.tolist() == [0, 10, 20, 25] and course.best.shape == (4, 6)
    assert not course.best.isnan().any()
    assert (course.best[-1] >= target(found.x)[labels, labels] - 1e-4).all(), "the surest of all restarts"
    assert float(course.best[-1].mean()) > float(course.best[0].mean())


def test_labels_alone_have_a_radius_in_place_of_a_score() -> None:
    how = LabelOnly(samples=200, rounds=12, points=8, radius=0.3)
    found = how(planted()[0].seen_as(Scores, answers="label"), Against(prior=PRIOR), Rng(0))
    assert found.course is not None and found.course.of == "radius in z"
    assert found.asked == int(found.course.at[-1]) and list(found.course.figure().data["series"]) == [
        "mean radius in z"
    ]


def test_long_courses_are_thinned_and_keep_their_end() -> None:
    noted = [(i, torch.full((2,), float(i))) for i in range(1001)]
    course = Course.of_rounds(noted)
    assert course is not None and len(course.at) <= 102 and int(course.at[-1]) == 1000
    assert Course.of_rounds([]) is None and Course.of_rounds([(1, torch.empty(0))]) is None


def test_every_label_is_shown_beside_private_and_public_images() -> None:
    target, known = planted()
    noise = 0.05 * torch.randn(30, 1, 8, 8, generator=Rng(6).block())
    private = Labelled(
        known.repeat(5, 1, 1, 1) + noise, ("",) * 30, labels=torch.arange(30) % 6, classes=target.classes
    )
    public = Images(-known, ("",) * 6)
    given = Against(prior=PRIOR, private=private, public=public, judges=(target,))
    found = Mirror(**USUAL, restarts=2, steps=60, rate=0.1, c=4.0, dropout=False, loss="logit")(target, given, Rng(0))
    assert isinstance(found, Inverted)
    panels = [f for f in found.figures() if getattr(f, "captions", ())[:3] == ("private",) * 3]
    assert len(panels) == 6
    for i, panel in enumerate(panels):
        assert panel.captions[3:] == ("mirror", "best sample", "nearest public")  # type: ignore[union-attr]
        assert torch.equal(panel.x[1], private.x[i + 6]) and torch.equal(panel.x[3], found.x[i])  # type: ignore[union-attr]
        assert panel.title.startswith(f"{target.classes[i]}: ") and panel.title.endswith(found.verdicts[i])
        assert "mirror: 1, others 1 and 1" in panel.caption
    by = {m.name: m for m in found.measures()}
    assert by["beyond-controls"].value == found.verdicts.count(LEAKED) / 6 and by["beyond-controls"].n == 6
    (table,) = (t for t in found.tables() if t.columns[-1] == "verdict")
    assert [row[-1] for row in table.rows] == found.verdicts
