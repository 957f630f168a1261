"""What the tables of pruning and detection make of numbers that are known: each claim can hold and fail."""

from __future__ import annotations

from genvet.reproduce.stylegan.detect import DETECTORS, Detection, kinds
from genvet.reproduce.stylegan.prune import Pruning

NORMAL = {0.4: 0.3108, 0.5: 0.3829, 0.7: 0.5161, 1.0: 0.6827}


def told(numbers: dict[str, float | None], runs: int = 3) -> dict[str, str]:
    cells = Pruning().cells("small")
    claims = Pruning().told("small", [(cell, numbers) for cell in cells[:runs]]).claims
    return {claim.id.removeprefix("stylegan.prune."): claim.status for claim in claims}


def numbers(
    frechet: dict[float, float], gone: dict[float, float], ranks: float, bears: float
) -> dict[str, float | None]:
    made: dict[str, float | None] = {"frechet@whole": 1.0, "critic-ranks": ranks, "bearable/channels": bears}
    for t, value in frechet.items():
        made |= {f"frechet/magnitude@t{t:g}": value, f"frechet/random@t{t:g}": 9.0}
        made |= {f"gone@t{t:g}": gone[t], f"untrained@t{t:g}": NORMAL[t]}
    return made


def test_the_headline_is_an_artefact_where_an_untrained_network_gives_it_too() -> None:
    found = told(numbers({0.4: 1.5, 0.5: 1.8, 0.7: 5.0, 1.0: 40.0}, NORMAL, ranks=0.1, bears=0.7))
    assert found == {
        "a-threshold-of-1-takes-two-thirds": "holds",
        "what-it-takes-was-learned-to-be-superfluous": "not",
        "two-thirds-can-go": "part",
        "quality-is-kept-at-0.4": "holds",
        "it-breaks-above-0.5": "holds",
        "the-critic-follows-quality": "not",
    }


def test_a_network_that_learned_small_weights_would_bear_the_claims_out() -> None:
    learned = {t: share + 0.2 for t, share in NORMAL.items()}
    found = told(numbers({0.4: 1.1, 0.5: 1.1, 0.7: 1.2, 1.0: 1.9}, learned, ranks=-0.9, bears=0.9))
    assert found["what-it-takes-was-learned-to-be-superfluous"] == found["two-thirds-can-go"] == "holds"
    assert found["a-threshold-of-1-takes-two-thirds"] == "not" and found["the-critic-follows-quality"] == "holds"
    assert found["it-breaks-above-0.5"] == "part"
    assert set(told(numbers({0.4: 1.1}, learned, -0.9, 0.9), runs=2).values()) == {"undecided"}


def test_networks_on_both_sides_of_a_limit_decide_nothing() -> None:
    cells = Pruning().cells("small")
    runs = [numbers({0.4: value, 1.0: 9.0}, NORMAL, -0.9, 0.4) for value in (1.2, 1.8, 2.6)]
    claims = {c.id: c.status for c in Pruning().told("small", list(zip(cells, runs, strict=True))).claims}
    assert claims["stylegan.prune.quality-is-kept-at-0.4"] == "undecided"
    assert claims["stylegan.prune.two-thirds-can-go"] == "not"


def test_detection_is_told_weaker_where_it_is() -> None:
    cells, names = Detection().cells("small"), kinds("small")
    areas = {
        f"area/{d}@{k}": 0.5 if k == names[-1] else 0.95 if d == "small CNN" else 0.8 for d in DETECTORS for k in names
    }
    areas |= {"area/small CNN@resized 50%": 0.7, "area/fingerprint@real against real": 0.6}
    areas |= {"area/small CNN@JPEG 75": 0.6, "area/neighbours@JPEG 75": 0.94}
    claims = {c.id: c for c in Detection().told("small", [(cell, areas) for cell in cells]).claims}
    assert claims["stylegan.detect.outlasts-pruning-by-a-third"].status == "holds"
    jpeg = claims["stylegan.detect.outlasts-jpeg"]
    assert jpeg.status == "part" and "best here neighbours 0.94" in jpeg.evidence, "another detector still tells"
    assert claims["stylegan.detect.outlasts-resizing"].status == "not"
    assert claims["stylegan.detect.control.fingerprint"].status == "not"
    assert claims["stylegan.detect.control.small-cnn"].status == "holds"
