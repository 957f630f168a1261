"""The guide's policy is one that serves, and says what becomes of honest and of odd latents."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="needs the extra `serve`")

import numpy as np
import torch
from PIL import Image
from serving import DIM, generator, keyed, live

from genvet.cli.serve import stood
from genvet.core.queries import Queries
from genvet.core.rng import Rng
from genvet.remote import RemoteQueries
from genvet.serve.policy import guards, read

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "serve.md"


def written(folder: Path, images: torch.Tensor) -> None:
    folder.mkdir()
    for i, x in enumerate(images):
        Image.fromarray(((x[0] + 1) * 127.5).round().numpy().astype(np.uint8)).save(folder / f"{i}.png")


def test_the_policy_of_the_guide_serves(tmp_path: Path) -> None:
    text = re.search(r"```toml\n(.*?)```", GUIDE.read_text(), re.S)
    assert text
    (tmp_path / "policy.toml").write_text(text[1])
    model, z = generator(), torch.randn(40, DIM, generator=Rng(8).block())
    written(tmp_path / "faces", model(z[:4]))
    written(tmp_path / "others", torch.rand(400, 1, 8, 8, generator=Rng(9).block()) * 2 - 1)
    policy = read(tmp_path / "policy.toml")
    standing = [stood(one, model) for one in guards(policy, tmp_path, Queries)]
    held = policy.model_dump()
    with live(tmp_path, model, policy=held, guards=standing) as (served, url), keyed(served):
        reply = RemoteQueries(url).ask(torch.cat([z[:4], z[20:], 5 * z[:1]]))
        assert reply.status[:4].tolist() == [2] * 4, "copies of protected images wait for a person"
        assert reply.status[-1] == 2 and int((reply.status[4:-1] == 0).sum()) >= 15
        waiting = served.service.reviews.waiting()
        assert len(waiting) == int((reply.status == 2).sum()) and "latent" in waiting[-1].why
        assert torch.allclose(waiting[0].x, model(z[:1]), atol=1e-5)
