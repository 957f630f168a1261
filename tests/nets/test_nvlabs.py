"""Our style generators against NVlabs' own code, where GENVET_NVLABS points at a checkout of it; nothing is kept."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from style_oracle import part_of

from genvet.nets import stylegan2, stylegan3

CHECKOUT = Path(os.environ.get("GENVET_NVLABS", "/nowhere"))
CASES = {
    "skip": ("2", {}),
    "resnet": ("2", {"synthesis_kwargs": {"architecture": "resnet", "conv_clamp": 256}}),
    "orig": ("2", {"synthesis_kwargs": {"architecture": "orig"}}),
    "conditional": ("2", {"c_dim": 4, "img_channels": 1}),
    "T": ("3", {}),
    "R": ("3", {"conv_kernel": 1, "use_radial_filters": True}),
    "T conditional": ("3", {"c_dim": 4}),
}
SCRIPT = """
import importlib, json, sys, types
import torch
from safetensors.torch import save_file

version = lambda text: tuple(int("".join(filter(str.isdigit, part)) or 0) for part in text.split("+")[0].split(".")[:2])
sys.modules.setdefault("pkg_resources", types.SimpleNamespace(parse_version=version))
out, name, config = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
torch.manual_seed(0)
net = importlib.import_module(name).Generator(**config).eval().requires_grad_(False)
for key, tensor in net.state_dict().items():
    if key.endswith(("bias", "noise_strength", "w_avg")):
        tensor.add_(0.3 * torch.randn(tensor.shape))
    elif key.endswith("magnitude_ema"):
        tensor.uniform_(0.5, 1.5)
z = torch.randn(4, net.z_dim)
c = torch.eye(4) if net.c_dim else torch.zeros(4, 0)
extra = {} if "stylegan3" in name else {"noise_mode": "const"}
x, cut = (net(z, c, truncation_psi=psi, force_fp32=True, **extra) for psi in (1, 0.5))
state = {f"state.{k}": v.contiguous() for k, v in net.state_dict().items()}
save_file({**state, "z": z, "c": c, "x": x, "cut": cut}, out)
"""


@pytest.mark.parametrize("case", CASES)
def test_equal_within_1e_5(case, tmp_path):
    family, changes = CASES[case]
    files = {"2": ("training.networks", "training.networks_stylegan2"), "3": ("training.networks_stylegan3",)}[family]
    name = next((n for n in files if (CHECKOUT / f"{n.replace('.', '/')}.py").exists()), None)
    if name is None:
        pytest.skip(f"GENVET_NVLABS names no checkout with {files[0]}")
    config = {"z_dim": 16, "c_dim": 0, "w_dim": 24, "img_resolution": 32, "img_channels": 3}
    config |= {"mapping_kwargs": {"num_layers": 2}}
    small = {"channel_base": 512, "channel_max": 24}
    inner = small | changes.get("synthesis_kwargs", {})  # only the older repository nests them
    config |= changes | ({"synthesis_kwargs": inner} if name == "training.networks" else inner)
    if name != "training.networks":
        config.pop("synthesis_kwargs", None)
    out = tmp_path / "reference.safetensors"
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT, str(out), name, json.dumps(config)]
    subprocess.run(command, cwd=CHECKOUT, check=True, env={**os.environ, "PYTHONPATH": str(CHECKOUT)})
    with safe_open(out, "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}
    state = {key.removeprefix("state."): value for key, value in tensors.items() if key.startswith("state.")}
    net = stylegan2 if family == "2" else stylegan3
    (candidate,) = net.hypotheses(part_of(state, config, "persistent"))
    assert candidate.score == 1.0 and candidate.differences == ()
    generator = candidate.build(state)
    labels = tensors["c"] if config["c_dim"] else None
    scale = float(tensors["x"].abs().max())
    assert float((generator(tensors["z"], labels) - tensors["x"]).abs().max()) < 1e-5 * scale
    w = generator.mapping(tensors["z"], labels, truncation=0.5)
    assert float((generator.synthesis(generator.broadcast(w)) - tensors["cut"]).abs().max()) < 1e-5 * scale
    assert torch.isfinite(tensors["x"]).all()
