"""What breaks the bound is named, in networks and in scripts; and the bound itself is tried out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from genvet.cli.app import run
from genvet.core.errors import BadInput
from genvet.core.rng import Rng
from genvet.nets import dcgan
from genvet.nets.style_critic import critic
from genvet.training.privacy_linter import lint, mended
from genvet.training.sensitivity import alone, jointly, sensitivity
from genvet.training.source_linter import lint_source

DOCUMENT = Path(__file__).parents[2] / "../shared/papers/training-data-leakage.md"
OLD = """
engine = PrivacyEngine()
G = Generator()
netD = Discriminator()
G, opt_g, loader = engine.make_private(module=G, optimizer=opt_g, data_loader=loader)
netD, opt_d, loader = engine.make_private(module=netD, optimizer=opt_d, data_loader=loader)
for x in loader:
    opt_d.zero_grad()
    d_loss.backward()
    opt_d.step()
    epsilon, alpha = engine.get_privacy_spent(delta=1e-5)
"""
OURS = """
engine = PrivacyEngine()
critic, opt, loader = engine.make_private(module=critic, optimizer=opt, data_loader=loader, noise_multiplier=1.0)
for x in loader:
    opt.zero_grad()
    (loss_real + loss_fake).backward()
    opt.step()
    print(engine.get_epsilon(delta=1e-5))
"""


class Centred(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean(0)


class Counting(nn.Module):
    seen: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.seen += x.detach().sum()
        return x


def rules(network: nn.Module, **knobs: Any) -> set[tuple[str, str]]:
    return {(b.where, b.rule) for b in lint(network, (1, 8, 8), knobs)}


def dense(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Flatten(), *layers, nn.Linear(64, 1))


def test_what_mixes_records_is_named_wherever_it_is() -> None:
    assert rules(critic(8, 1, (8, 4))) == {("b4", "minibatch-deviation")}
    assert rules(dense(Centred())) == {("1", "records-mixed")}, "under no name that anybody knows"
    assert rules(dense(nn.Sequential(nn.ReLU(), Centred()))) == {("1.1", "records-mixed")}, "the innermost"
    assert rules(dense(nn.BatchNorm1d(64))) == {("1", "batch-norm")}
    assert rules(dense(nn.utils.spectral_norm(nn.Linear(64, 64)))) == {("1", "spectral-norm")}
    assert rules(dense(nn.utils.parametrizations.spectral_norm(nn.Linear(64, 64)))) == {("1", "spectral-norm")}
    assert rules(dense(Counting())) == {("1.seen", "running-statistics")}
    assert rules(nn.Sequential(nn.InstanceNorm2d(1, track_running_stats=True))) == {("0", "running-statistics")}
    found = rules(dcgan.critic(2, 8, 1), augment="adaptive", penalty=10.0, judged=True)
    assert found == {
        ("augment", "adaptive-augmentation"),
        ("penalty", "double-backward"),
        ("judged", "selection"),
    }


@pytest.mark.parametrize("clean", [dcgan.critic(2, 8, 1), critic(8, 1, (8, 4), 0, 0), dense(nn.GroupNorm(8, 64))])
def test_what_mixes_nothing_is_left_alone(clean: nn.Module) -> None:
    assert rules(clean) == set() and rules(clean, augment="diffaug", gamma=0.0) == set()


def test_what_can_be_replaced_is_and_the_rest_is_refused() -> None:
    network, told = mended(dense(nn.BatchNorm1d(64), nn.Dropout(0.5)))
    assert rules(network) == set() and "1: batch-norm: a group norm in its place" in told and len(told) == 2
    style, told = mended(critic(8, 1, (8, 4)))
    assert rules(style) == set() and told == ("b4: minibatch-deviation: left out",)
    x = torch.randn(5, 1, 8, 8)
    assert torch.allclose(style(x)[:2], style(x[:2]), atol=1e-5), "who else is there is of no account"
    with pytest.raises(BadInput, match="spectral-norm"):
        mended(dense(nn.utils.spectral_norm(nn.Linear(64, 64))))


@pytest.mark.parametrize("mode", ["flat", "layer", "channel"])
def test_one_record_moves_our_sum_by_no_more_than_the_norm(mode: Any) -> None:
    for network, gamma in ((dcgan.critic(3, 8, 1), 0.0), (mended(critic(8, 1, (8, 4)))[0], 5.0)):
        moved = sensitivity(network, alone(0.3, mode, gamma), (1, 8, 8), 0.3, Rng(1), trials=4)
        assert moved.holds and moved.removed > 0.6, "no bound that is never reached"


def test_mini_batch_deviation_is_caught_by_far() -> None:
    torch.manual_seed(0)
    mixing = critic(8, 1, (8, 4), 0, 4)
    moved = sensitivity(mixing, jointly(1.0), (1, 8, 8), 1.0, Rng(1), trials=4, records=32)
    assert moved.removed > 3 and not moved.holds
    without = critic(8, 1, (8, 4), 0, 0)
    assert sensitivity(without, jointly(1.0), (1, 8, 8), 1.0, Rng(1), trials=2, records=32).holds
    assert not sensitivity(dense(Centred()), jointly(1.0), (1, 8, 8), 1.0, Rng(1), trials=4).holds


def test_the_old_way_is_refused_with_its_reasons() -> None:
    found = lint_source(OLD)
    assert [(b.rule, b.where) for b in found] == [
        ("private-generator", "line 5"),
        ("two-networks", "line 6"),
        ("old-call", "line 11"),
    ]
    assert lint_source(f"# A page\n\n```python\n{OLD}```\n")[0].where == "line 8"
    assert lint_source(OURS) == ()
    assert [b.rule for b in lint_source("x = (")] == ["unreadable"]


@pytest.mark.skipif(not DOCUMENT.exists(), reason="needs ../shared/papers")
def test_the_documents_own_sample_is_refused() -> None:
    assert [b.rule for b in lint_source(DOCUMENT.read_text())] == ["private-generator", "two-networks", "old-call"]


@pytest.mark.parametrize(
    ("source", "rule"),
    [
        ("class Critic(M):\n    def __init__(self):\n        self.n = nn.BatchNorm2d(3)", "batch-norm"),
        ("class Discriminator(M):\n    def forward(self, x):\n        return x.std(dim=0)", "minibatch-deviation"),
        ("layer = MinibatchStdLayer(4)", "minibatch-deviation"),
        ("d = spectral_norm(nn.Linear(2, 2))", "spectral-norm"),
        ("(g,) = torch.autograd.grad(s.sum(), x, create_graph=True)", "double-backward"),
        ("augment_p += (scores.sign().mean() - 0.6).sign() * step", "adaptive-augmentation"),
        ("if fid < best_fid:\n    save()", "selection"),
        ("for x in data:\n    real.backward()\n    fake.backward()\n    opt.step()", "several-backwards"),
        ("engine.make_private(module=D, poisson_sampling=False)", "no-poisson"),
        ("engine = PrivacyEngine(model, sample_rate=0.1, alphas=[2])", "old-call"),
    ],
)
def test_each_rule_of_scripts(source: str, rule: str) -> None:
    assert [b.rule for b in lint_source(source)] == [rule]


def test_a_script_is_linted_by_a_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad, good = tmp_path / "old.py", tmp_path / "new.py"
    bad.write_text(OLD + "\nopen('ran', 'w')\n")
    good.write_text(OURS)
    assert run(["lint", str(bad)]) == 1 and "private-generator" in capsys.readouterr().out
    assert run(["lint", str(good)]) == 0 and not (tmp_path / "ran").exists()
    assert run(["lint", str(tmp_path / "none.py")]) == 2
    (tmp_path / "x.py").write_bytes(b"\xff\xfe\x00")
    assert run(["lint", str(tmp_path / "x.py")]) == 2
