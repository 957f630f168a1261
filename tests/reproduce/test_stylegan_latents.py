"""What the tables of latents make of numbers that are known: each claim can hold, and can fail."""

from __future__ import annotations

import pytest

from genvet.core.report import Claim
from genvet.reproduce.cells import Done
from genvet.reproduce.stylegan.disentangle import Disentanglement
from genvet.reproduce.stylegan.looking import Look, untrained, worse
from genvet.reproduce.stylegan.scale import Scalings
from genvet.reproduce.stylegan.sweep import Sweeping

Table = Sweeping | Scalings | Disentanglement


def done(table: Table, **numbers: float) -> Done:
    """The same numbers in every cell at small scale; those with a space or network in front, in its cells alone."""
    found = []
    for cell in table.cells("small"):
        assert isinstance(cell, Look)
        mine = {}
        for name, value in numbers.items():
            *kinds, rest = name.split("|")
            if set(kinds) <= set(cell.where().values()):
                mine[rest] = value
        found.append((cell, mine))
    return found


def claims(table: Table, **numbers: float) -> dict[str, Claim]:
    return {claim.id.split(".", 2)[2]: claim for claim in table.told("small", done(table, **numbers)).claims}


def test_a_sweep_is_judged_by_chance_and_by_the_critic() -> None:
    same = {"by-chance": 0.01, "special": 0.01, "special.p": 0.6, "ratio": 1.0}
    ends = {"variety@1000": 0.01, "w@1000": 0.01, "worse@1000": 0.5, "worse@5": 0.52}
    found = claims(Sweeping(), **same, **ends)
    assert found["a-dimension-is-a-feature"].status == "not"
    assert found["at-1000-a-sample-loses-its-features"].status == "holds"
    assert found["what-is-left-at-1000-is-no-image"].status == "not" == found["at-5-images-are-distorted"].status
    other = claims(
        Sweeping(),
        **{**same, "special": 0.4, "trained|special.p": 1e-6},
        **{**ends, "worse@1000": 0.95, "variety@1000": 0.7},
    )
    assert other["a-dimension-is-a-feature"].status == "holds" == other["what-is-left-at-1000-is-no-image"].status
    assert other["at-1000-a-sample-loses-its-features"].status == "not"


def test_a_control_that_is_as_special_is_told_beside_the_claim() -> None:
    learned = {"trained|special.p": 1e-6, "never trained|special.p": 0.5}
    assert claims(Sweeping(), **learned)["a-dimension-is-a-feature"].status == "holds"
    started = {"trained|special.p": 1e-6, "never trained|special.p": 0.01}
    assert claims(Sweeping(), **started)["a-dimension-is-a-feature"].status == "part", "it was so before training"
    numbers = {"special.p": 0.01, "trained|special": 0.4, "never trained|special": 0.38}
    found = claims(Sweeping(), **numbers)["a-dimension-is-a-feature"]
    assert "ahead are 0.4" in found.evidence and "untrained networks 0.38" in found.evidence


@pytest.mark.parametrize(("largest", "status"), [(1e-5, "not"), (0.3, "holds")])
def test_scaling_z_changes_images_or_does_not(largest: float, status: str) -> None:
    numbers = {"largest/z": largest, "largest/w": 1.0, "sharpness/w@0.05": -1.0, "contrast/w@5": 0.2}
    found = claims(Scalings(), rounding=1e-6, **numbers, **{"brightness/w@5": -0.9, "hue sine/w@5": 0.1})
    assert found["scaling-z-changes-images"].status == status and found["w-at-0.05-is-blurred"].status == "holds"
    assert found["w-at-5-is-exaggerated"].status == "not" and found["w-at-5-changes-light-and-colour"].status == "holds"
    assert "brightness" in found["w-at-5-changes-light-and-colour"].evidence


def test_axes_are_special_where_turned_bases_score_less() -> None:
    found = claims(
        Disentanglement(),
        **{"z|p": 0.4, "trained|w|p": 0.02, "z|dci.disentanglement": 0.1, "w|dci.disentanglement": 0.3},
    )
    assert (
        found["dimensions-of-z-are-factors"].status == "not" and found["dimensions-of-w-are-factors"].status == "holds"
    )
    assert found["w-is-more-disentangled-than-z"].status == "holds"
    assert found["w-is-more-separable-than-z"].status == "undecided", "nothing is known of it"
    less = claims(Disentanglement(), **{"z|dci.disentanglement": 0.3, "w|dci.disentanglement": 0.1})
    assert less["w-is-more-disentangled-than-z"].status == "not"


def test_the_control_has_other_weights_and_the_critic_prefers_what_it_scores_higher() -> None:
    import torch
    from torch import nn

    from genvet.core.data import Critic
    from genvet.core.rng import Rng
    from genvet.nets import stylegan1, stylegan2

    for net in (stylegan1, stylegan2):
        learned = net.build(size=8, channels=1, z_dim=4, w_dim=4, channel_base=32, channel_max=4, rng=Rng(1))
        fresh = untrained(learned, 1)
        assert {k: v.shape for k, v in fresh.module.state_dict().items()} == {
            k: v.shape for k, v in learned.module.state_dict().items()
        }
        assert not torch.equal(fresh.sample(2, Rng(0)), learned.sample(2, Rng(0)))
    critic = Critic(nn.Flatten(), (1, 1, 1))
    low, high = torch.zeros(3, 1, 1, 1), torch.ones(5, 1, 1, 1)
    assert (worse(critic, low, high), worse(critic, high, low), worse(critic, low, low)) == (1.0, 0.0, 0.5)
