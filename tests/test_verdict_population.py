"""What a population's thresholds may come to: inside it, outside it, and at other settings."""

from __future__ import annotations

import pytest

from genvet.core.calibration import Limit, Population, Subject, Thresholds
from genvet.core.modelfile import ModelFile
from genvet.core.report import Finding, Measure
from genvet.core.severity import Severity
from genvet.verdict import judge, verdict

INSIDE = Subject("convolutional", (1, 28, 28))


def limit(family: str, above: float) -> Limit:
    known = {"technique": "output.hidden", "version": 2, "config": {"steps": 9}, "measure": "excess"}
    return Limit(**known, why="an output that its student lacks", family=family, above=above, middle=0.0)


POPULATION = Population(
    name="small",
    depth="standard",
    clean=75,
    parents=16,
    kinds={
        "convolutional": ((1, 28, 28),),
        "convolutional with batch norms": ((1, 28, 28),),
        "style": ((1, 16, 16),),
    },
    bound=0.04,
    limits=(limit("convolutional", 2.0), limit("convolutional with batch norms", 5.0)),
)
TABLE = Thresholds(populations=(POPULATION,))


def finding(value: float | None, **more: object) -> Finding:
    made = {"technique": "output.hidden", "version": 2, "access": "Generator", "config": {"steps": 9}}
    said = {"severity": Severity.INFO, "summary": "It is so.", "measures": (Measure(name="excess", value=value),)}
    return Finding(**{**made, **said, **more})


def test_above_the_limit_of_its_own_family_is_high() -> None:
    judged = judge(finding(2.1), TABLE, INSIDE)
    assert judged.severity == "high"
    for said in ("excess 2.1 above 2", "75 clean generators of population small", "4.0%", "its student lacks"):
        assert said in judged.reason
    with_norms = Subject("convolutional with batch norms", (1, 28, 28))
    assert judge(finding(2.1), TABLE, with_norms).severity == "info"
    assert judge(finding(2.0), TABLE, INSIDE).severity == "info"
    assert judge(finding(None), TABLE, INSIDE).severity == "info"


@pytest.mark.parametrize(
    "subject",
    [
        *(Subject("dense", (1, 28, 28)), Subject("convolutional", (3, 32, 32)), None),
        Subject("convolutional", (1, 16, 16)),  # the shape that another family has there
    ],
)
def test_outside_the_population_is_low_at_most(subject: Subject | None) -> None:
    """A family that it does not know gets the least alarming of its limits."""
    judged = judge(finding(1e9), TABLE, subject)
    assert judged.severity == "low" and "no more than a hint" in judged.reason and "(1, 28, 28)" in judged.reason
    known = subject is not None and subject.family == "convolutional"
    assert judge(finding(3.0), TABLE, subject).severity == ("low" if known else "info")


@pytest.mark.parametrize("other", [{"version": 3}, {"config": {"steps": 8}}, {"technique": "output.other"}])
def test_what_was_measured_otherwise_is_not_calibrated(other: dict[str, object]) -> None:
    assert judge(finding(1e9, **other), TABLE, INSIDE).severity == "info"
    assert judge(finding(1e9), Thresholds(), INSIDE).severity == "info"


def test_a_clean_result_states_its_power() -> None:
    able = POPULATION.model_copy(update={"attacked": 84, "detected": 70})
    said = judge(finding(0.0), Thresholds(populations=(able,)), INSIDE).reason
    assert said == "below every threshold, calibrated by population small, whose verdict finds 70 of 84 attacked ones"
    assert judge(finding(0.0), TABLE, Subject("style", (3, 8, 8))).reason == "nothing above any threshold"


def test_judging_again_judges_anew() -> None:
    once = judge(finding(2.1), TABLE, INSIDE)
    assert judge(once, TABLE, INSIDE) == once
    assert judge(once, Thresholds(), INSIDE).severity == "info"


def test_the_population_that_holds_goes_before_one_that_does_not() -> None:
    more = {"name": "sounds", "kinds": {"sound": ((1, 16384),)}, "limits": (limit("sound", 0.5),)}
    other = POPULATION.model_copy(update=more)
    judged = judge(finding(2.1), Thresholds(populations=(other, POPULATION)), INSIDE)
    assert judged.severity == "high" and "small" in judged.reason


def test_a_verdict_says_where_no_population_is_like_the_generator() -> None:
    file, missing = ModelFile(path="m", sha256="", size=0, format="test"), "No population of its like"
    for subject, said in ((INSIDE, False), (Subject("style", (3, 8, 8)), True)):
        for value in (0.0, 1e9):
            judged = judge(finding(value), TABLE, subject)
            assert (missing in verdict(file, [judged], []).behaviour) == said
