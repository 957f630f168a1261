"""policy.toml: what it may say, whose files it may name, and what it must never do."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="needs the extra `serve`")

from genvet.core.errors import BadInput, GenVetError
from genvet.core.queries import Queries
from genvet.core.scores import Scores
from genvet.defences.query.gaussian_noise import GaussianNoise
from genvet.serve.policy import Policy, guards, read


def policy(folder: Path, text: str) -> Policy:
    (folder / "policy.toml").write_text(text)
    return read(folder / "policy.toml")


def test_a_policy_names_guards_in_order(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    text = '[limits]\nimages = 8\n[[guards]]\nname = "gaussian_noise"\nsigma = 0.2\n[[guards]]\nname = "query.jpeg"\n'
    held = policy(tmp_path, text)
    first, second = guards(held, tmp_path, Queries)
    assert held.limits.images == 8 and first.guard == GaussianNoise(sigma=0.2) and second.guard.name() == "query.jpeg"
    assert policy(tmp_path, "") == Policy(), "an empty policy is the careful one"
    assert Policy().latents.source == "server"


HOSTILE = {
    "no toml": ("[limits", "does not parse"),
    "an unknown table": ("[limit]\nimages = 1", "did you mean limits"),
    "an unknown field": ("[limits]\nimage = 1", "did you mean images"),
    "a huge number": ("[limits]\nimages = 99999999999999999999", "images"),
    "a number beyond all": ("[limits]\nseconds = inf", "seconds"),
    "less than nothing": ("[clients]\nbudget = -1", "budget"),
    "another kind": ('[limits]\nimages = ["a"]', "images"),
    "an unknown guard": ('[[guards]]\nname = "gausian_noise"', "did you mean query.gaussian_noise"),
    "a repair": ('[[guards]]\nname = "prune"', "no guard"),
    "an attack": ('[[guards]]\nname = "extraction.fidelity"', "no defence"),
    "code": ("[[guards]]\nname = \"__import__('os').system('id')\"", "no defence"),
    "a guard of another view": ('[[guards]]\nname = "rounding"', "stands before Scores"),
    "an unknown setting": ('[[guards]]\nname = "gaussian_noise"\nsgima = 1.0', "did you mean sigma"),
    "a setting out of bounds": ('[[guards]]\nname = "gaussian_noise"\nsigma = 1e99', "sigma"),
    "an unknown gift": ('[[guards]]\nname = "gaussian_noise"\n[guards.given]\nfile = "a"', "is given no 'file'"),
    "too many guards": ('[[guards]]\nname = "jpeg"\n' * 17, "guards"),
    "depth": ("a = " + "[" * 5000 + "]" * 5000, ""),
    "size": ("#" * 70_000, "too large"),
    "a name that hides": ('[[guards]]\nname = "\\u202enoise"', "no defence"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_policy_is_refused_in_words(tmp_path: Path, name: str) -> None:
    text, said = HOSTILE[name]
    with pytest.raises(GenVetError) as caught:
        guards(policy(tmp_path, text), tmp_path, Queries)
    told = caught.value.message + caught.value.hint
    assert said in told and "\u202e" not in told and len(told) < 2000


def test_files_lie_beside_the_policy(tmp_path: Path) -> None:
    home, other = tmp_path / "home", tmp_path / "other"
    for folder in (home, other):
        folder.mkdir()
        (folder / "c.safetensors").write_bytes(b"x")
    (home / "link").symlink_to(other / "c.safetensors")
    guard = '[[guards]]\nname = "adversarial_noise"\n[guards.given]\nclassifier = "{}"\n'
    found = guards(policy(home, guard.format("c.safetensors#range=0:1")), home, Queries)
    assert found[0].files == {"classifier": home / "c.safetensors#range=0:1"}
    for named in ("../other/c.safetensors", str(other / "c.safetensors"), "link", "/etc/passwd", "a\\u0000b"):
        with pytest.raises(BadInput, match="elsewhere"):
            guards(policy(home, guard.format(named)), home, Queries)
    with pytest.raises(BadInput, match="there is no"):
        guards(policy(home, guard.format("none.safetensors")), home, Queries)
    with pytest.raises(BadInput, match="cannot read"):
        read(home / "none.toml")


def test_guards_of_scores(tmp_path: Path) -> None:
    held = policy(tmp_path, '[[guards]]\nname = "rounding"\n')
    assert guards(held, tmp_path, Scores)[0].guard.name() == "query.rounding"
    with pytest.raises(BadInput, match="holds nothing"):
        guards(policy(tmp_path, '[[guards]]\nname = "rounding"\notherwise = "hold"\n'), tmp_path, Scores)
