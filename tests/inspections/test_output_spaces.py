"""A target that was moved and re-encoded is still recognised; and what a suspect part of a network is driven to."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from genvet.core.classifier import Classifier
from genvet.core.data import Images
from genvet.core.errors import BadInput, TooCostly, Unsupported
from genvet.core.generator import Generator
from genvet.core.latent import Latent
from genvet.core.rng import Rng
from genvet.core.technique import Nothing
from genvet.engine import assess, measured
from genvet.inspections.output import brute_force
from genvet.inspections.output.brute_force import BruteForce
from genvet.inspections.output.reconstruct import Known, Reconstruct
from genvet.inspections.output.suspects import Suspects
from genvet.maths.fourier import magnitudes
from genvet.maths.likeness import aligned, softly_aligned

CROSS = torch.eye(16).add(torch.eye(16).flip(0)).clamp(0, 1) * 2 - 1
TRIGGER = torch.tensor([1.0, -1.2, 0.8, 1.1, -0.9, 0.7])


class Blobs(nn.Module):
    """A blob where z tells; near the trigger, the cross instead, as strongly as `planted` says."""

    def __init__(self, planted: float) -> None:
        super().__init__()
        self.planted = planted
        grid = torch.linspace(-1, 1, 16)
        self.register_buffer("grid", torch.stack(torch.meshgrid(grid, grid, indexing="ij")))

    def forward(self, z: Tensor) -> Tensor:
        away = (self.grid[None] - 0.6 * z[:, :2, None, None].tanh()).square().sum(1)
        blob = 2 * (-away / (0.05 + 0.1 * z[:, 2, None, None].sigmoid())).exp() - 1
        near = self.planted * (-(z - TRIGGER).square().sum(1)[:, None, None] / 2).exp()
        return ((1 - near) * blob + near * CROSS)[:, None]


def blobs(planted: float) -> Generator:
    return Generator(module=Blobs(planted).eval(), latent=Latent(6), shape=(1, 16, 16), name="blobs")


def moved(x: Tensor) -> Tensor:
    """Two rows down, one across, darker, paler, and rounded to few levels."""
    return ((0.7 * x.roll((2, 1), (-2, -1)) - 0.1) * 16).round() / 16


def of(finding) -> dict[str, float | None]:
    return {m.name: m.value for m in finding.measures}


def controls() -> Images:
    x = blobs(0.0).sample(200, Rng(9)) + 0.3 * torch.randn(200, 1, 16, 16, generator=Rng(8).block())
    return Images(x.clamp(-1, 1), ("",) * 200)


def test_a_target_that_was_moved_is_recognised_once_it_is_aligned():
    given = Known(targets=Images(moved(CROSS[None, None]), ("moved",)), reference=controls())
    probe = Reconstruct(restarts=2, steps=60)
    found = assess(probe, blobs(1.0), given)
    assert found.severity == "high" and of(found)["error.target-0"] > 0.1
    assert of(found)["p.target-0.aligned"] == 0.01 and "Shifted and brightened to fit" in found.summary
    assert assess(probe.model_copy(update={"also": "nothing"}), blobs(1.0), given).severity == "info"
    assert assess(probe, blobs(0.0), given).severity == "info", "the clean twin"


def test_what_is_reached_pixel_by_pixel_is_not_searched_for_again():
    given = Known(targets=Images(torch.stack([CROSS[None], moved(CROSS[None])]), ("as it is", "moved")))
    found = of(assess(Reconstruct(restarts=2, steps=60, near=0.02), blobs(1.0), given))
    assert found["error.target-0"] < 0.02 and "error.target-0.aligned" not in found
    assert found["error.target-1.aligned"] < 0.02


def test_features_of_a_classifier_may_be_the_space():
    torch.manual_seed(0)
    net = nn.Module()
    net.features, net.head = nn.Sequential(nn.Flatten(), nn.Linear(256, 32), nn.ReLU()), nn.Linear(32, 2)
    classifier = Classifier(module=net.eval(), shape=(1, 16, 16), classes=("a", "b"), name="small")
    known = Known(targets=Images(moved(CROSS[None, None]), ("moved",)), classifier=classifier)
    probe = Reconstruct(restarts=2, steps=20, also="features")
    assert 0 <= of(assess(probe, blobs(1.0), known))["error.target-0.features"] <= 4
    with pytest.raises(BadInput, match="no classifier"):
        assess(probe, blobs(1.0), replace(known, classifier=None))


def test_magnitudes_keep_what_a_picture_shows_and_lose_where():
    x = torch.rand(5, 3, 28, 28, generator=Rng(1).block()) * 2 - 1
    rows = magnitudes(x)
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(5))
    assert (magnitudes(0.5 * x.roll((5, -3), (2, 3)) + 0.2) - rows).square().sum(1).max() < 1e-6
    assert (rows[:1] - rows[1:]).square().sum(1).min() > 0.05
    assert not magnitudes(torch.full((2, 1, 8, 8), 0.4)).any() and magnitudes(torch.rand(2, 1, 99)).shape[0] == 2


def test_alignment_is_the_best_of_all_shifts_gains_and_offsets():
    x, t = (torch.rand(2, 1, 16, 16, generator=Rng(i).block()) for i in (3, 4))
    tried = []
    for down in range(-2, 3):
        for across in range(-2, 3):
            moved_x = x.roll((down, across), (2, 3)).flatten(1)
            ones = torch.stack([moved_x, torch.ones_like(moved_x)], 2)
            fit = torch.linalg.lstsq(ones, t.flatten(1)[..., None]).solution
            left = (ones @ fit)[..., 0] - t.flatten(1)
            tried.append(torch.where(fit[:, 0, 0] > 0, left.square().sum(1), torch.inf))
    torch.testing.assert_close(aligned(x, t), torch.stack(tried).amin(0), rtol=1e-4, atol=1e-4)
    assert softly_aligned(t, t).max() < 0.25 < 0.5 < softly_aligned(x, t).min()
    sound = torch.rand(1, 1, 80, generator=Rng(5).block())
    assert aligned(sound.roll(7, 2), sound) < 1e-3 < aligned(sound.roll(13, 2), sound)


def expanded(planted: bool) -> tuple[Generator, Tensor]:
    """A plain network of 24 units a layer; and, in a part of 8 more, a pattern for latents far along one direction."""
    torch.manual_seed(0)
    layers = [nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 64), nn.Tanh()]
    pattern = (torch.rand(64) > 0.5).float() * 2 - 1
    first, second, last = layers[0], layers[2], layers[4]
    with torch.no_grad():
        for layer in (first, second, last):
            layer.weight.mul_(3)
    if planted:
        with torch.no_grad():
            first.weight[24:] = torch.ones(12) / 12**0.5
            first.bias[24:] = -torch.linspace(2, 3, 8)
            second.weight[24:, :24], second.weight[:24, 24:] = 0, 0
            second.weight[24:, 24:], second.bias[24:] = 0.5, 0
            last.weight[:, 24:] = pattern[:, None]
    module = nn.Sequential(*layers, nn.Unflatten(1, (1, 8, 8))).eval()
    return Generator(module=module, latent=Latent(12), shape=(1, 8, 8), name="mlp"), pattern


def test_the_search_drives_the_suspect_part_to_its_pattern():
    g, pattern = expanded(planted=True)
    result, finding = measured(Suspects(restarts=14, steps=60), g, Nothing())
    assert of(finding)["gain.prior"] > 10 and of(finding)["gain"] >= of(finding)["gain.prior"]
    assert of(finding)["gain.prior"] > 1.2 * of(finding)["gain.drawn"]
    likeness = [torch.corrcoef(torch.stack([x[0].flatten(), pattern]))[0, 1] for x in (result.images, result.silent)]
    assert likeness[0] > 0.95 and abs(likeness[1]) < 0.5
    typical = result.found.z[[kind == "prior" for kind in result.found.starts.kinds]]
    torch.testing.assert_close(g.latent.project(typical), typical)


def test_where_nothing_stands_apart_there_is_nothing_to_search():
    with pytest.raises(Unsupported, match="no two parts"):
        assess(Suspects(), expanded(planted=False)[0])
    with pytest.raises(TooCostly):
        assess(Suspects(operations=1.0), expanded(planted=True)[0])


def test_searches_for_a_known_target_also_start_where_the_suspect_part_responds():
    g, pattern = expanded(planted=True)
    wanted = Images((0.99 * pattern).view(1, 1, 8, 8), ("pattern",))
    found = of(assess(Reconstruct(restarts=2, steps=20), g, Known(targets=wanted)))
    assert found["suspect.target-0"] < 0.5 * found["prior.target-0"]
    clean = of(assess(Reconstruct(restarts=2, steps=20), expanded(planted=False)[0], Known(targets=wanted)))
    assert "suspect.target-0" not in clean


def test_brute_force_recognises_a_moved_target_among_what_it_draws():
    class Sometimes(Blobs):
        def forward(self, z: Tensor) -> Tensor:
            return torch.where(z[:, 5, None, None, None] > 2.3, CROSS, super().forward(z))

    g = replace(blobs(0.0), module=Sometimes(0.0).eval())
    known = brute_force.Known(targets=Images(moved(CROSS[None, None]), ("moved",)), reference=controls())
    finding = assess(BruteForce(samples=3000, keep=4), g, known)
    found = of(finding)
    assert found["rate.target-0"] == 0 and found["rate.target-0.spectrum"] == pytest.approx(0.0107, abs=0.006)
    assert finding.severity == "high" and "By spectrum" in finding.summary
    assert assess(BruteForce(samples=3000, keep=4), blobs(0.0), known).severity == "info", "the clean twin"
