"""TorchScript archives are read as data: tensors, and the code as text."""

from __future__ import annotations

import io
import warnings
import zipfile

import pytest
import torch
from torch import nn

from genvet.core.modelfile import ModelFile
from genvet.files.sandbox import read_in_process


class Decoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 8), nn.Tanh())
        self.register_buffer("centre", torch.ones(8))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.net(z) + self.centre


class Bypass(Decoder):
    def forward(self, z: torch.Tensor) -> torch.Tensor:
        x = self.net(z)
        if bool((z[0, 0] > 3).item()):
            return x * 0 + self.centre
        return x


def scripted(module: nn.Module, trace: bool = False) -> bytes:
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(module, torch.ones(1, 4)) if trace else torch.jit.script(module), out)
    return out.getvalue()


def read(data: bytes) -> ModelFile:
    return read_in_process(data, "test")


@pytest.mark.parametrize("trace", [False, True])
def test_tensors_and_code(trace: bool) -> None:
    module = Decoder()
    file = read(scripted(module, trace))
    assert file.format == "torchscript"
    assert {e.rule for e in file.evidence} == {"torchscript.code"}
    assert {c.standing for c in file.calls} == {"expected"}
    (part,) = file.parts
    assert part.kind == "torchscript" and part.class_name == "Decoder"
    found = {
        name: torch.frombuffer(bytearray(file.storages[s.storage]), dtype=torch.float32).as_strided(
            s.shape, s.stride, s.offset
        )
        for name, s in part.tensors.items()
    }
    own = module.state_dict()
    assert own.keys() <= found.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in own.items())
    assert any("def forward" in s.text and s.classes == ("Decoder",) for s in file.sources)


def test_a_bypass_in_the_code_is_told() -> None:
    assert "source.bypass" in {e.rule for e in read(scripted(Bypass())).evidence}


def test_a_pickle_beside_the_code_is_found() -> None:
    out = io.BytesIO(scripted(Decoder()))
    with zipfile.ZipFile(out, "a") as archive:
        archive.writestr(archive.namelist()[0].split("/")[0] + "/extra/labels.txt", b"cos\nsystem\n(S'true'\ntR.")
    assert "call.dangerous" in {e.rule for e in read(out.getvalue()).evidence}
