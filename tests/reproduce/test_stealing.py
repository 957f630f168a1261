"""What the stealing tables make of numbers that are known, in both directions."""

from __future__ import annotations

import pytest

from genvet.core.report import Claim
from genvet.reproduce.cells import Done
from genvet.reproduce.experiment import Told
from genvet.reproduce.leakage.attacking import Leak
from genvet.reproduce.stealing import chain
from genvet.reproduce.stealing.architectures import Architectures
from genvet.reproduce.stealing.case_study import CaseStudy, Transfer
from genvet.reproduce.stealing.chain import Chain, Chained
from genvet.reproduce.stealing.defences import Defences
from genvet.reproduce.stealing.js import PAPER, Divergences
from genvet.reproduce.stealing.pictures import DATA, target, theft
from genvet.reproduce.stealing.priors import Priors, asked
from genvet.reproduce.stealing.queries import BUDGETS, GUARD, QueryCounts
from genvet.reproduce.stealing.refinement import refinements
from genvet.reproduce.stealing.thefts import Theft

ORDER = {"fidelity": 9.0, "accuracy_mh": 8.0, "accuracy_white_box": 7.0}


def three(changes: dict[int, float] | None = None, seeds: int = 3) -> Done:
    """Every theft of Table 9 with the paper's order, moved by `changes` for the black box of some seeds."""
    made = []
    for seed in range(1, seeds + 1):
        for data in range(2):
            for attack, value in ORDER.items():
                cell = theft("small", target("small", "pggan", seed, data), "pggan", attack)  # type: ignore[arg-type]
                moved = (changes or {}).get(seed, 0.0) if attack == "fidelity" else 0.0
                accuracy = value + 0.1 * seed + moved
                made.append((cell, {"fidelity.js": 1.0, "fidelity.frechet": 1.0, "accuracy.js": accuracy}))
    return made


def status(told: Told, name: str) -> str:
    found: dict[str, Claim] = {claim.id: claim for claim in told.claims}
    return found[name].status


def test_an_order_holds_where_every_seed_has_it_and_is_open_where_seeds_disagree() -> None:
    tell = Divergences().told
    assert status(tell("small", three()), "stealing.js.mh-below-black-box-1") == "holds"
    turned = {seed: -5.0 for seed in (1, 2, 3)}
    assert status(tell("small", three(turned)), "stealing.js.mh-below-black-box-1") == "not"
    assert status(tell("small", three({2: -5.0})), "stealing.js.mh-below-black-box-1") == "undecided"
    assert status(tell("small", three(seeds=2)), "stealing.js.mh-below-black-box-1") == "undecided"
    assert status(tell("small", three()), "stealing.js.fidelity-below-accuracy") == "holds"


def test_that_chains_come_nearer_is_told_by_what_they_kept() -> None:
    def tell(changes: list[float], chain: int = 20) -> str:
        cells = [cell for cell in refinements("small", 0) if cell.chain == chain]
        done = [(c, {"kept.kernel": 1 + d, "plain.kernel": 1.0}) for c, d in zip(cells, changes, strict=True)]
        name = "chains" if chain == 20 else "longer-chains"
        return status(Divergences().told("small", done), f"stealing.js.{name}-come-nearer-1")

    assert tell([-0.1, -0.2, -0.3]) == "holds" and tell([0.1, 0.2, 0.3], 100) == "not"
    assert tell([-0.1, 0.2, 0.3]) == "undecided" and tell([-0.1, -0.2, -0.3], 100) == "holds"


def test_the_papers_numbers_stand_beside_ours_and_say_that_they_are_of_another_unit() -> None:
    table, _ = Divergences().told("small", three()).tables
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    known = [row for row in rows if row["paper"] is not None]
    assert len(known) == len(PAPER) + 2 and all("another unit" in str(row["note"]) for row in known)
    celeba = next(row for row in rows if row["data"] == DATA["small"][0] and row["paper"] == 9.10e-3)
    assert celeba["ours"] == pytest.approx(9.2) and celeba["n"] == 3


def test_fidelity_above_accuracy_anywhere_is_part_of_the_claim_alone() -> None:
    done = [(cell, told | {"fidelity.js": 100.0} if i == 0 else told) for i, (cell, told) in enumerate(three())]
    assert status(Divergences().told("small", done), "stealing.js.fidelity-below-accuracy") == "part"


def test_more_queries_are_told_with_the_guard_and_without() -> None:
    made, first, last = [], BUDGETS["small"][0], BUDGETS["small"][-1]
    for seed in (1, 2, 3):
        for n, guard, value in ((first, "", 9.0), (last, "", 5.0), (first, GUARD, 9.0), (last, GUARD, 11.0)):
            cell = theft("small", target("small", "pggan", seed), "pggan", n=n).model_copy(update={"guard": guard})
            made.append((cell, {"fidelity.frechet": value}))
    told = QueryCounts().told("small", made)
    assert status(told, "stealing.queries.more-queries") == "holds"
    assert status(told, "stealing.queries.more-queries-through-noise") == "not"
    assert told.figures and told.figures[0].data["series"]["fidelity"] == [[first, last], [9.0, 5.0]]


@pytest.mark.parametrize(("uniform", "expected"), [(10.5, "holds"), (14.0, "not")])
def test_priors_are_alike_within_what_is_said(uniform: float, expected: str) -> None:
    made: list[tuple[Theft, dict[str, float]]] = []
    for seed in (1, 2, 3):
        for prior, value in (("normal", 10.0), ("uniform", uniform)):
            made.append((asked("small", seed, "pggan", prior), {"fidelity.frechet": value}))
    assert status(Priors().told("small", made), "stealing.priors.alike-for-pggan") == expected


def test_tables_share_thefts_and_the_ladder_is_whole() -> None:
    """A theft that two tables have is made once; each of five budgets has both thieves behind every guard."""
    names = {
        kind: {cell.name for cell in kind().cells("small")}
        for kind in (QueryCounts, Architectures, Priors, Divergences, Defences)
    }
    assert len(names[QueryCounts] & names[Defences]) == 7 + 2 * 4, "all of the first seed, ends of the others"
    assert len(names[Priors] & names[Architectures]) == 6 and len(names[Divergences] & names[QueryCounts]) == 3
    wide = {(c.where()["attacker"], c.where()["asked"], c.guard) for c in Defences().cells("small") if of_one(c)}
    assert len(wide) == 2 * 5 * 7
    others = [c.where() for c in Defences().cells("small") if isinstance(c, Theft) and c.target.seed > 1]
    ends = {tuple(at[part] for part in ("seed", "attacker", "guard", "asked")) for at in others if not at["knowing"]}
    assert len(ends) == 2 * 2 * 7 * 2 and {n for *_, n in ends} == {BUDGETS["small"][0], BUDGETS["small"][-1]}


def test_a_stolen_beginning_is_judged_domain_by_domain_and_step_by_step() -> None:
    made = []
    for cell in CaseStudy().cells("small"):
        if isinstance(cell, Transfer):
            near, seed = cell.to == "mnist", cell.theft.target.seed
            gain = (1.0 if near else -1.0) * (1 if cell.steps < 300 else 2 - seed)
            told = {"frechet": 5.0 - gain * cell.stolen, "kernel": 1.0, "frechet.null": 0.1}
            made.append((cell, told))
    told = CaseStudy().told("small", made)
    found = {(to, n): status(told, f"stealing.case-study.stolen-weights-help.{to}-{n}") for to, n in PLACES}
    assert [found["mnist", n] for n in (30, 100, 300)] == ["holds", "holds", "undecided"]
    assert [found["cifar10", n] for n in (30, 100, 300)] == ["not", "not", "undecided"]
    near, far = told.figures
    assert near.data["series"]["from the stolen weights"] == [[30, 100, 300], [4.0, 4.0, 5.0]]
    assert "mnist" in near.title and far.data["series"]["two samples of cifar10"][1] == [0.1] * 3


PLACES = [(to, n) for to in ("mnist", "cifar10") for n in (30, 100, 300)]


def test_curves_of_guards_are_of_the_seeds_that_have_every_budget() -> None:
    thefts = [c for c in Defences().cells("small") if isinstance(c, Theft) and not c.knowing]
    told = Defences().told("small", [(c, {"fidelity.frechet": float(c.target.seed)}) for c in thefts])
    assert len(told.figures) == 4
    for figure in told.figures:
        assert figure.data["series"]["no guard"] == [list(BUDGETS["small"]), [1.0] * 5]


def of_one(cell: object) -> bool:
    return isinstance(cell, Theft) and cell.target.seed == 1 and not cell.knowing


def chained(strong: dict[int, float]) -> Done:
    """A chain whose thief tells members with this AUC, by the number of queries; quality rises with them."""
    made: list[tuple[object, dict[str, float]]] = []
    for cell in Chain().cells("small"):
        if isinstance(cell, Leak):
            made.append((cell, {"auc": 0.99 if cell.variant == "critic" else 0.8}))
        elif isinstance(cell, Chained):
            thief = cell.attacker == chain.THIEF["small"]
            far, auc = (10.0 / cell.queries**0.2, strong[cell.queries]) if thief else (20.0, 0.5)
            told = {"members.auc": auc, "members.low": auc - 0.03, "members.auc.unseen": 0.5, "fidelity.frechet": far}
            made.append((cell, told | {"fidelity.frechet.null": 0.1}))
    return made


def test_the_chain_has_queries_quality_and_membership_on_one_chart() -> None:
    budgets = chain.BUDGETS["small"]
    told = Chain().told("small", chained({n: 0.5 + 0.08 * i for i, n in enumerate(budgets)}))
    (figure,) = told.figures
    series = figure.data["series"]
    assert series["AUC of the stolen critic"] == [list(budgets), [pytest.approx(0.5 + 0.08 * i) for i in range(5)]]
    share = series["distance to the target, share of that after 100 queries"][1]
    assert share == [pytest.approx((100 / n) ** 0.2) for n in budgets]
    floor = series["the same of two samples of the target"][1]
    assert floor == [pytest.approx(0.1 / (10 / 100**0.2))] * 5
    assert series["AUC of the target's own critic"][1] == [0.99, 0.99]
    claims = ("nearer-with-queries", "stolen-critic-tells-members", "more-queries-tell-more", "own-critic-tells-more")
    assert [status(told, f"stealing.chain.{name}") for name in claims] == ["holds"] * 4
    assert status(told, "stealing.chain.stolen-critic-tells-more-than-samples") == "holds", "0.82 against 0.8"
    flat = Chain().told("small", chained(dict.fromkeys(budgets, 0.51)))
    assert [status(flat, f"stealing.chain.{name}") for name in claims] == ["holds", "not", "undecided", "holds"]
