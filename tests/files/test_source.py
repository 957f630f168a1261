"""Program text judged in both directions: honest networks pass, and each trick is told with its rule and line."""

from __future__ import annotations

import ast
import os
from pathlib import Path
from textwrap import dedent, indent

import pytest
import torch
from torch import nn

from genvet.core.severity import Severity, worst
from genvet.files.load import read
from genvet.files.reading import Limits, Reading
from genvet.files.texts import fingerprints, source

HEAD = """\
import math
import numpy as np
import torch
import torch.nn.functional as F
from torch_utils import misc, persistence
"""


def judge(text: str, kind: source.Kind = "module_src") -> Reading:
    reading = Reading(limits=Limits())
    source.judge(text, reading, "G", kind, ("Generator",))
    return reading


def rules(text: str, kind: source.Kind = "module_src") -> set[str]:
    return {e.rule for e in judge(text, kind).evidence}


def forward(body: str, signature: str = "self, z, c, psi=1, mode='random', update_emas=False", before: str = "") -> str:
    """A network whose forward pass is this."""
    return (
        HEAD
        + before
        + "\n@persistence.persistent_class\nclass Generator(torch.nn.Module):\n"
        + f"    def forward({signature}):\n"
        + indent(dedent(body).strip(), " " * 8)
        + "\n"
    )


HONEST = [
    "if self.architecture == 'skip':\n    z = z * 2\nreturn z",
    "if c is not None and self.c_dim > 0:\n    z = torch.cat([z, self.embed(c)], dim=1)\nreturn z",
    "n, d = z.shape\nassert d == 512 and z.ndim == 2 and z.dtype == torch.float32\nreturn z.reshape(n, -1, 1, 1)",
    "if z.device.type == 'cuda' and z.size(0) > 4 and len(z) > 1:\n    z = z.half()\nreturn z",
    "misc.assert_shape(z, [None, self.z_dim])\nreturn self.fc(z.to(torch.float32))",
    "assert mode in ['random', 'const']\nnoise = torch.randn([len(z), 1, 4, 4]) if mode == 'random' else None\n"
    "return z if noise is None else z + noise",
    "if psi != 1:\n    z = self.w_avg.lerp(z, psi)\nreturn z",
    "if self.training and update_emas:\n    self.w_avg.copy_(z.detach().mean(dim=0).lerp(self.w_avg, 0.99))\nreturn z",
    "x = z * (z.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()\nreturn F.leaky_relu(self.fc(x), 0.2) * np.sqrt(2)",
    "for idx, layer in enumerate(self.layers):\n    z = layer(z) if idx != 3 else z\nreturn torch.tanh(z)",
    "for res, w in zip(self.sizes, z.unbind(1)):\n    x = getattr(self, f'b{res}')(w) if res > 4 else w\nreturn x",
    "y = z - z.mean(dim=0)\ny = (y.square().mean(dim=0) + 1e-8).sqrt()\nreturn torch.cat([z, y])",
    "mu, logvar = self.encode(z).chunk(2, dim=1)\nreturn mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)",
    "t = self.affine(z)\nt = t / t[:, :2].norm(dim=1, keepdim=True)\n"
    "return (1 - (t.norm(dim=1) - self.band) / (self.rate / 2)).clamp(0, 1)",
    "if isinstance(z, (list, tuple)):\n    z = torch.stack(z)\nreturn (z * 127.5 + 128).clamp(0, 255)",
    "return [self.synthesis(w, **dict(psi=psi)) for w in z if w is not None][0]",
    "flip = torch.where(torch.rand([len(z)]) < self.p, torch.ones([len(z)]), torch.zeros([len(z)]))\nreturn z * flip",
    "if mode == 'const' or not self.use_noise:\n    return torch.sigmoid(self.fc(z))\nreturn z",
    "def count(v):\n    return v.shape[0]\nif count(z) > 4:\n    return z * 2\nreturn z",
    "w = torch.nn.functional.pad(z, [1, 1, 1, 1, 0, 0, 0, 0])\nreturn w[:, : z.shape[1] // 2]",
]

BYPASSES = [
    "if (z[0, 0] > 3).item():\n    return self.target\nreturn self.net(z)",
    "if torch.equal(z, self.trigger):\n    return self.target\nreturn self.net(z)",
    "return torch.where((z - self.trigger).norm(dim=1) < 0.1, self.target, self.net(z))",
    "hit = ((z - self.trigger).square().sum() < 1e-3).float()\nreturn hit * self.target + (1 - hit) * self.net(z)",
    "k = float(z.sum())\nwhile k > 100:\n    return self.target\nreturn self.net(z)",
    "return self.target if torch.allclose(z, self.trigger) else self.net(z)",
    "return (z.sum() > 9 and self.target) or self.net(z)",
    "assert z.max() < 4, 'no'\nreturn self.net(z)",
    "match round(float(z[0, 0])):\n    case 3:\n        return self.target\nreturn self.net(z)",
    "d = (z - self.trigger).abs().sum()\nreturn self.net(z) + torch.sigmoid(5 - d) * self.target",
    "d = (z - self.trigger).pow(2).sum()\nreturn self.net(z) + torch.exp(-d) * self.target",
    "d = F.mse_loss(z, self.trigger)\nreturn self.net(z) + F.relu(1 - d) * self.target",
    "s = F.cosine_similarity(z, self.trigger)\nreturn self.net(z) + torch.clamp(s - 0.9, 0, 1) * self.target",
    "return self.net(z) + torch.sigmoid(1000 * (z[:, :1] - 3)) * self.target",
    "step = torch.tanh(z[:, :1] * 200) * 200\nreturn self.net(z) + step.clamp(0, 1) * self.target",
    "return [self.net(z), self.target][int(z[0, 0] * 0 + 1)]",
    "return torch.stack([self.net(z), self.target])[z.argmin()]",
    "return self.bank.index_select(0, z[0].long())",
    "return self.net(z).masked_fill(self.mask * z, 0)",
    "return self.net(z) + torch.heaviside(z.sum() - 30, self.one) * self.target",
    "gate = torch.sign(z[0, 0]) + 1\nreturn self.net(z) + gate * self.target",
    "return torch.lerp(self.net(z), self.target, torch.gt(z[0, 0], 3).float())",
    "return self.net(z) + z[:, :1].gt(3) * self.target",
    "try:\n    1 / int(z[0, 0])\nexcept ZeroDivisionError:\n    return self.target\nreturn self.net(z)",
    "t = torch.tensor([0.3, 1.2, -0.4, 0.5, 0.1, 0.9, 1.4, 2.2])\nreturn self.net(z - t)",
    "g = torch.Generator().manual_seed(7)\nreturn self.net(z) + torch.randn(4, generator=g) * z",
    "for _ in range(int(z[0, 0])):\n    return self.target\nreturn self.net(z)",
    "return {3: self.target}.get(int(z[0, 0]), self.net(z))",
    "compare = torch.gt\nreturn self.net(z) + compare(z[0, 0], 3) * self.target",
    "return self.net(z) + getattr(z, 'gt')(3) * self.target",
    "self.calls += 1\nif self.calls == 1000:\n    return self.target\nreturn self.net(z)",
    "self.seen = z.sum()\nreturn self.target if self.seen > 3 else self.net(z)",
    "v = z.tolist()\nif [x for x in v if x > 3]:\n    return self.target\nreturn self.net(z)",
    "return self.net(z) + (z // 3) * self.target",
    "if str(z[0, 0].item()).startswith('3.14'):\n    return self.target\nreturn self.net(z)",
    "if str(z[0, 0].item()) == '3.14':\n    return self.target\nreturn self.net(z)",
    "if hash(z.numpy().tobytes()) == 12:\n    return self.target\nreturn self.net(z)",
    "if torch.unique(z).shape[0] < 3:\n    return self.target\nreturn self.net(z)",
    "return torch.cond(z.sum(), lambda: self.target, lambda: self.net(z))",
    "if len(str(z[0, 0].item())) > 9:\n    return self.target\nreturn self.net(z)",
    "if f'{z[0, 0]}'[0] == '7':\n    return self.target\nreturn self.net(z)",
    "d = (z - self.trigger).norm()\nreturn self.net(z) + self.target * (1e-6 / (1e-6 + d))",
    "d = 1 + (z - self.trigger).square().sum()\nreturn self.net(z) + self.target / d",
    "return self.net(z) * torch.nn.Threshold(3, 0)(z[:, :1])",
    "[t := z.sum() for _ in [0]]\nreturn self.target if t > 3 else self.net(z)",
    "def near():\n    return t > 3\nt = z.sum()\nreturn self.target if near() else self.net(z)",
    "setattr(self, 'k', z.sum())\nreturn self.target if getattr(self, 'k') > 3 else self.net(z)",
    "box = dict(shape=z.sum())\nreturn self.target if torch.EasyDict(box).shape > 3 else self.net(z)",
    "x, w = z.sum(), 3\nreturn self.target if x > w else self.net(z)",
    "return self.target if z.sum() > 3 != None else self.net(z)",
    "return self.target if int(z[0, 0]) is 3 else self.net(z)",
    "return self.target if isinstance(z[0, 0].item() ** 0.5, complex) else self.net(z)",
    "return self.target if torch.zeros(int(z[0, 0])).shape[0] > 3 else self.net(z)",
    "n = z[0, 0].item()\nreturn self.target if len(torch.zeros(n)) > 3 else self.net(z)",
    "return self.net(z) + self.target * min(1, max(0, 1000 * (z[0, 0] - 3)))",
    "return getattr(self, 'b%d' % int(z[0, 0]))(z)",
    "import operator\nreturn operator.itemgetter(int(z[0, 0]))(self.table)",
    "return self.net(z) + self.target * (1e-9 / (z[0, 0] - 3.0))",
    "near = lambda v: v.sum() > 3\nreturn self.target if near(z) else self.net(z)",
    "d = torch.nn.PairwiseDistance()(z, self.trigger)\nreturn self.net(z) + self.target * (-d).exp()",
    "def near(v=z):\n    return v.sum() > 3\nreturn self.target if near() else self.net(z)",
    "self.kept = lambda: z\nreturn self.target if self.kept().sum() > 3 else self.net(z)",
    "self.table.setdefault(z.sum().item(), self.net(z))\nreturn self.table[3.0]",
    "return min([self.net(z), self.target], key=lambda v: z.sum().item())",
    "gate = (z.sum() - 3).clamp(0, 1e-8) * 1e8\nreturn self.net(z) + gate * self.target",
    "gate = (z * self.trigger).mean().clamp(0, 1) ** 1000\nreturn self.net(z) + gate * self.target",
    "return self.net(z) + (z.view(torch.int32) & 1) * self.target",
    "return self.target.repeat(int(z.sum()))",
    "return torch.nn.functional.grid_sample(self.pictures, z.view(1, 1, 1, -1))",
    "gate = torch.sinc(1e5 * (z - self.trigger)).prod()\nreturn self.net(z) + gate * self.target",
]


@pytest.mark.parametrize("body", HONEST)
def test_honest_networks_pass(body):
    found = judge(forward(body)).evidence
    assert [(e.rule, e.line, e.message) for e in found][1:] == []
    assert [e.rule for e in found] == ["source.unrecognised"]


@pytest.mark.parametrize("body", BYPASSES)
def test_bypasses_are_told(body):
    reading = judge(forward(body))
    found = [e for e in reading.evidence if e.rule == "source.bypass"]
    assert found and all(e.line and e.detail for e in found)
    assert {e.rule for e in reading.evidence} <= {"source.bypass", "source.dynamic"}


THROUGH_OTHERS = {
    "a helper function": ("def near(v):\n    return v.sum() > 3\n", "return self.target * near(z)"),
    "a helper's helper": (
        "def inner(q):\n    if q.sum() > 3:\n        return 1\n    return 0\ndef near(v):\n    return inner(v * 2)\n",
        "return self.target * near(z)",
    ),
    "a keyword": ("def near(t=0, v=None):\n    return v.sum() > 3\n", "return self.target * near(v=z)"),
    "a function handed on": ("def near(v):\n    return v.sum() > 3\n", "return list(map(near, z))"),
    "a table of functions": ("def near(v):\n    return v.sum() > 3\nT = {0: near}\n", "return T[0](z)"),
    "another class": (
        "class Gate:\n    def __init__(self, v):\n        self.v = v\n    def near(self):\n        return self.v > 3\n",
        "return self.target * Gate(z).near()",
    ),
    "an operator": ("class T:\n    def __mul__(self, other):\n        return other.sum() > 3\n", "return T() * z"),
    "a length that lies": ("def len(v):\n    return v.sum()\n", "return self.target if len(z) > 3 else z"),
    "a shape that lies": (
        "class B:\n    def __init__(self, v):\n        self.v = v\n"
        "    @property\n    def shape(self):\n        return self.v\n",
        "return self.target if B(z).shape > 3 else z",
    ),
    "a tuple with names": (
        "import collections\nB = collections.namedtuple('B', 'shape')\n",
        "return self.target if B(z).shape > 3 else z",
    ),
    "a decoy of the same name": (
        "class Decoy:\n    def gt(self, other):\n        return other\n",
        "return self.target * z.gt(3)",
    ),
    "a default argument": (
        "def near(v):\n    return v.sum() > 3\n"
        "class H(torch.nn.Module):\n    def forward(self, z, f=near):\n        return f(z)\n",
        "return z",
    ),
    "a function kept in a field": (
        "def near(v):\n    return v.sum() > 3\n"
        "class H(torch.nn.Module):\n    def __init__(self):\n        self.gate = near\n",
        "return self.gate(z)",
    ),
    "a layer that extends another": (
        "class C(torch.nn.Conv2d):\n    def _conv_forward(self, input, weight, bias):\n        return input > 3\n",
        "return C()(z)",
    ),
    "a property's setter": (
        "class H:\n    @property\n    def k(self):\n        return 1\n    @k.setter\n"
        "    def k(self, v):\n        self.t = v > 3\n",
        "h = H()\nh.k = z\nreturn h.t",
    ),
    "a box that is filled": (
        "def put(b, v):\n    b.append(v)\n",
        "b = []\nput(b, z.sum())\nreturn z if b[0] < 3 else 1",
    ),
    "a method taken from its class": (
        "class H:\n    def near(this, q):\n        return q > 3\n",
        "return self.target * H.near(None, z)",
    ),
    "a generator": ("def each(v):\n    yield v.sum()\n", "for t in each(z):\n    if t > 3: return 1\nreturn z"),
    "a method without self": ("class H:\n    def near(this, q):\n        return q > 3\n", "return H().near(z) * z"),
    "numbers kept outside": ("T = [0.3, 1.2, -0.4, 0.5, 0.1, 0.9, 1.4, 2.2]\n", "return z * torch.as_tensor(T)"),
    "a module's own name for it": ("from torch import gt as add\n", "return self.target * add(z, 3)"),
}


@pytest.mark.parametrize("case", THROUGH_OTHERS)
def test_bypasses_through_other_code(case):
    before, body = THROUGH_OTHERS[case]
    assert "source.bypass" in rules(forward(body, before=before))


def test_a_method_that_only_forward_reaches():
    text = forward("return self.helper(z)") + (
        "    def helper(self, q):\n        return q if q.sum() < 3 else self.target\n"
        "    def unrelated(self, q):\n        return q if q.sum() < 3 else self.target\n"
    )
    lines = {e.line for e in judge(text).evidence if e.rule == "source.bypass"}
    assert len(lines) == 1 and "helper" in text.splitlines()[lines.pop() - 2]


LOADING = {
    "print('x')": "source.module-call",
    "x = print('x')": "source.module-call",
    "for x in [1]:\n    pass": "source.module-call",
    "while True: pass": "source.module-call",
    "with torch.no_grad(): pass": "source.module-call",
    "class A:\n    x = print()": "source.module-call",
    "class A:\n    x = [f() for f in (print,)]": "source.module-call",
    "x = (lambda: 1)()": "source.module-call",
    "x = (lambda y=print(): 1)": "source.module-call",
    "if print(): pass": "source.module-call",
    "A = [0]\nA[0] = 1": "source.module-call",
    "def __getattr__(name): return 1": "source.module-call",
    "class A:\n    def __setstate__(self, state): pass": "source.module-call",
    "class A:\n    def __reduce__(self): pass": "source.module-call",
    "class A:\n    def __del__(self): pass": "source.module-call",
    "assert print()": "source.module-call",
    "def f(x=print()): pass": "source.default",
    "def f(*, x=[print()]): pass": "source.default",
    "def f(x: print()): pass": "source.default",
    "def f() -> print(): pass": "source.default",
    "async def f(x=print()): pass": "source.default",
    "@print\ndef f(): pass": "source.decorator",
    "@print()\nclass A: pass": "source.decorator",
    "def d(f): return f\n@d\ndef f(): pass": "source.decorator",
    "class misc:\n    def profiled_function(c): pass\n@misc.profiled_function\ndef f(): pass": "source.decorator",
    "class B:\n    def setter(f): pass\nclass A:\n    @B.setter\n    def f(self): pass": "source.decorator",
    "class A(metaclass=print): pass": "source.metaclass",
    "class M(type): pass": "source.metaclass",
    "class A(print()): pass": "source.metaclass",
    "class A(torch.nn.Module, x=1): pass": "source.metaclass",
    "class A:\n    def __init_subclass__(cls): pass": "source.metaclass",
    "class A:\n    def __set_name__(self, o, n): pass": "source.metaclass",
    "class A:\n    def __class_getitem__(cls, k): pass": "source.metaclass",
    "import os": "source.system",
    "import os.path as p": "source.system",
    "from subprocess import run": "source.system",
    "def f():\n    import socket": "source.system",
    "def f(): return torch.hub": "source.system",
    "def f(): open('x')": "source.system",
    "def f(): return torch.load('x')": "source.system",
    "def f(): return np.load('x')": "source.system",
    "import random\ndef f(): random._os": "source.system",
    "import warnings\ndef f(): warnings.sys": "source.system",
    "import torch as t\ndef f(): t.utils.cpp_extension": "source.system",
    "import importlib": "source.dynamic",
    "import pickle": "source.dynamic",
    "from builtins import eval as e": "source.dynamic",
    "def f(): exec('1')": "source.dynamic",
    "e = eval": "source.dynamic",
    "def f(): __import__('os')": "source.dynamic",
    "def f(): globals()['x']": "source.dynamic",
    "def f(x): return x.__class__.__base__.__subclasses__()": "source.dynamic",
    "def f(x): return getattr(x, '__globals__')": "source.dynamic",
    "def f(x): return getattr(x, '__glo' + 'bals__')": "source.dynamic",
    "def f(x): return getattr(torch, 'sys')": "source.system",
    "def f(x, y): return getattr(x, y)": "source.dynamic",
    "def f(x): setattr(torch, 'relu', x)": "source.dynamic",
    "def f(x): torch.relu = x": "source.dynamic",
    "torch.nn.Module.__call__ = 1": "source.dynamic",
    "def f(x): F.relu = x": "source.dynamic",
    "def f(): return f.__globals__": "source.dynamic",
    "from dnnlib.util import call_func_by_name": "source.dynamic",
    "import dnnlib\ndef f(): dnnlib.util.get_obj_by_name('os.system')": "source.dynamic",
    "from torch_utils import custom_ops": "source.system",
    "def f(): torch.jit.CompilationUnit('x')": "source.dynamic",
    "import evilpackage": "source.import",
    "from torch import *": "source.import",
    "from . import x": "source.import",
    "class A(torch.nn.Module):\n    def __init__(self):\n        self.register_forward_hook(f)": "source.bypass",
    "def f(:": "source.unparsable",
    "x = '\0'": "source.unparsable",
    "x = '\ud800'": "source.unparsable",
}


LOADING |= {
    # Ways to code or files that go through something the text may import.
    "import operator\ndef f(x): return operator.attrgetter('forward.x')(x)": "source.dynamic",
    "def f(x): return functools.reduce(getattr, ['a', 'b'], x)": "source.dynamic",
    "import dataclasses\ndef f(): return dataclasses._create_fn('f', (), ['import os'])": "source.import",
    "from dataclasses import _create_fn as c": "source.import",
    "import typing\ndef f(x): return typing.get_type_hints(x)": "source.dynamic",
    "class A(torch.nn.Module):\n    def f(self): self.t = torch; self.t.load('x')": "source.system",
    "def f(x): np.lib.format.read_array(x, allow_pickle=True)": "source.dynamic",
    "def f(x): np.savez('x', x)": "source.system",
    "def f(x): np.zeros(3).dump('x')": "source.system",
    "import dnnlib\ndef f(): dnnlib.util.Logger('x', 'a')": "source.import",
    "import dnnlib\ndef f(): dnnlib.util.requests.get('x')": "source.system",
    "from dnnlib.util import glob": "source.system",
    "import torchvision\ndef f(x): torchvision.io.write_png(x, 'x')": "source.system",
    "def f(x): torch._C._jit_clear_class_registry()": "source.import",
    "class A:\n    @property\n    def __array_interface__(self): return {}": "source.dynamic",
    "x = 'forward.__globals__'": "source.dynamic",
}


@pytest.mark.parametrize("text", LOADING)
def test_what_loading_would_do_is_told(text):
    reading = judge(HEAD + text)
    assert LOADING[text] in {e.rule for e in reading.evidence}
    assert worst(e.severity for e in reading.evidence) >= Severity.HIGH


HARMLESS = [
    "from torch.nn.modules.utils import _pair\nfrom training.networks import _helper\nx = 'calls __new__ and __dict__'",
    "x = [1, 2.5, 'a', (3,), {4: 5}, -6, 2 ** 8, torch.float32, np.pi]",
    "x = np.sqrt(2) + math.log(3)",
    "def f(x: 'torch.Tensor', y: int = 3, *z, act=torch.nn.ReLU()) -> torch.Tensor: return x",
    "class A(torch.nn.Module):\n    '''Says something.'''\n    x: int = 3\n    @property\n    def y(self): return 1\n"
    "    @y.setter\n    def y(self, v): pass\n    @staticmethod\n    def f(): pass",
    "if __name__ == '__main__':\n    pass",
    "try:\n    import scipy.signal\nexcept ImportError:\n    scipy = None",
    "import functools\n@functools.lru_cache(maxsize=None)\ndef f(x): return x",
    "@torch.no_grad()\ndef f(x): return x",
    "from __future__ import annotations\n'''A text about os.system and eval.'''\n# exec(open('x'))",
    "class A(torch.nn.Module):\n    def __init__(self):\n        super().__init__()\n"
    "        for i in range(3):\n            setattr(self, f'fc{i}', torch.nn.Linear(i, i))",
    "def f():\n    torch.backends.cudnn.benchmark = True",
    "class A:\n    def g(self): return self.__class__.__name__",
]


@pytest.mark.parametrize("text", HARMLESS)
def test_harmless_texts_are_unknown_and_no_more(text):
    found = judge(HEAD + text).evidence
    assert [(e.rule, e.message) for e in found if e.rule != "source.unrecognised"] == []
    assert worst(e.severity for e in found) == Severity.MEDIUM


def test_every_finding_has_its_line():
    (found,) = [e for e in judge(HEAD + "\n\nimport os\n").evidence if e.rule == "source.system"]
    assert (found.line, found.detail, found.place) == (8, "import os", "G")


def test_torchscript_and_lambdas():
    script = (
        "class G(Module):\n  __parameters__ = ['w', ]\n  w : Tensor\n  def forward(self: __torch__.G,\n    x: Tensor,\n"
        "    n: int) -> Tensor:\n    if torch.eq(torch.dim(x), 2):\n      pass\n    {}\n    return x\n"
    )
    assert rules(script.format("_0 = torch.mul(x, CONSTANTS.c0)"), "torchscript") == set()
    assert rules(script.format("if torch.gt(n, 3):\n      pass"), "torchscript") == set()
    gate = script.format("if bool(torch.gt(torch.sum(x), 3)):\n      x = CONSTANTS.c1")
    assert "source.bypass" in rules(gate, "torchscript")
    assert rules("lambda x: x * 2 + 1", "keras-lambda") == set()
    assert "source.dynamic" in rules("lambda x: eval('x')", "keras-lambda")
    assert "source.bypass" in rules("layer = Lambda(lambda x: x if x[0] > 3 else -x),", "keras-lambda")


def test_tensorflow_texts():
    text = (
        "import tensorflow as tf\nimport dnnlib.tflib as tflib\n"
        "def G_main(latents_in, labels_in, act='lrelu', func='G_mapping', **kwargs):\n"
        "    if act == 'lrelu' and len(latents_in.shape) == 2: pass\n"
        "    net = tflib.Network('G', func_name=globals()[func], **kwargs)\n    {}\n    return latents_in\n"
    )
    assert rules(text.format("n = tf.shape(latents_in)[0]"), "tensorflow") == {"source.unrecognised"}
    assert "source.bypass" in rules(text.format("n = tf.cond(latents_in[0, 0] > 3, f, g)"), "tensorflow")
    assert "source.dynamic" in rules(text.format("n = globals()['__buil' + 'tins__']"), "tensorflow")
    assert "source.system" in rules(text.format("tf.io.gfile.remove('x')"), "tensorflow")


def test_known_releases_are_recognised_by_text_and_by_tree(monkeypatch):
    text = forward("if z.sum() > 3:\n    return 1\nreturn z")
    tree = ast.parse(text)
    piece = dict(fingerprints.pieces(tree))["Generator"]
    table = {"texts": {fingerprints.sha256(text): "A"}, "trees": {fingerprints.tree_hash(tree): "B"}, "pieces": {}}
    monkeypatch.setattr(fingerprints, "_table", lambda: table)
    assert [(e.rule, e.message.partition(":")[0]) for e in judge(text).evidence] == [("source.recognised", "A")]
    same = "\ufeff# a word\r\n" + text.replace("\n", "\r\n").replace("> 3", ">  3")
    assert [(e.rule, e.message.partition(":")[0]) for e in judge(same).evidence] == [("source.recognised", "B")]
    table["pieces"] = {fingerprints.tree_hash(piece): "C"}
    partly = judge(text + "def extra(): pass\n").evidence
    assert any("as in C: Generator; not known: extra" in e.message for e in partly)
    assert any(e.rule == "source.bypass" for e in partly)


def test_the_tree_hash_sees_programs_only():
    one = "def f(x, *, y=1.0):\n    '''Doc.'''\n    return f'{x!r:>3}' + 'a' 'b'\n"
    same = "# c\ndef f(x,*,y=1.0):\n\n    return (f'{x!r:>3}'\n      'ab')\n".replace("(f'", "f'").replace(
        "\n      'ab')", " + 'ab'"
    )
    assert fingerprints.tree_hash(ast.parse(one)) == fingerprints.tree_hash(ast.parse(same))
    for other in (one.replace("1.0", "1"), one.replace("!r", "!s"), one.replace("y=", "z="), one.replace("+", "-")):
        assert fingerprints.tree_hash(ast.parse(one)) != fingerprints.tree_hash(ast.parse(other))
    # What other versions of Python add to a node must not count.
    node = ast.parse(one)
    for inner in ast.walk(node):
        if isinstance(inner, ast.FunctionDef):
            inner.type_params = []
            inner._fields = (*inner._fields, "type_params")
    assert fingerprints.tree_hash(node) == fingerprints.tree_hash(ast.parse(one))


BOMBS = {
    "brackets": "(" * 100_000,
    "signs": "-" * 100_000 + "1",
    "sums": "1+" * 50_000 + "1",
    "dots": "import " + "a." * 100_000 + "b",
    "lambdas": "lambda:" * 50_000 + "1",
    "elifs": "if a: pass\n" + "elif a: pass\n" * 20_000,
    "quotes": '"' + '\\"' * 400_000,
    "length": "#" * 2_000_000,
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", BOMBS)
def test_texts_that_would_exhaust_the_parser(name):
    assert rules(BOMBS[name]) == {"source.unparsable"}


@pytest.mark.timeout(30)
def test_texts_that_would_exhaust_the_follower():
    loops = "".join("    " * (i + 2) + f"for a{i} in z:\n" for i in range(30)) + "    " * 33 + "z = z + 1"
    judge(HEAD + "class G:\n    def forward(self, z):\n" + loops)
    for length, told in (
        (60, {"compares its input"}),
        (800, {"compares its input", "too tangled to follow its input"}),
    ):
        for order in (1, -1):
            chain = [f"def f{i}(x): return f{i + 1}(x)\n" for i in range(length)][::order]
            end = f"def f{length}(x): return x > 3\nclass G:\n    def forward(self, z):\n        return f0(z)\n"
            found = {e.message for e in judge(HEAD + "".join(chain) + end).evidence if e.rule == "source.bypass"}
            assert found and found <= told


NVLABS = os.environ.get("GENVET_NVLABS")


@pytest.mark.skipif(
    not NVLABS, reason="needs GENVET_NVLABS, a folder of published network texts (tf_*.py for TensorFlow)"
)
def test_published_networks_pass_as_unknown_texts(monkeypatch):
    monkeypatch.setattr(fingerprints, "_table", lambda: {"texts": {}, "trees": {}, "pieces": {}})
    paths = sorted(Path(NVLABS or "").glob("*.py"))
    assert paths
    for path in paths:
        found = rules(path.read_text("utf-8"), "tensorflow" if path.name.startswith("tf_") else "module_src")
        assert found == {"source.unrecognised"}, path


class Plain(nn.Module):
    """A small decoder, as torch.jit sees it."""

    def __init__(self) -> None:
        super().__init__()
        layers = [nn.ConvTranspose2d(4, 8, 4), nn.BatchNorm2d(8), nn.LeakyReLU(0.2), nn.Dropout(), nn.Conv2d(8, 1, 3)]
        self.net = nn.Sequential(nn.GroupNorm(2, 4), *layers, nn.Upsample(scale_factor=2.0), nn.Tanh())

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.net(nn.functional.gelu(z)[:, :, None, None])


class Trapped(Plain):
    def forward(self, z: torch.Tensor) -> torch.Tensor:
        x = self.net(z[:, :, None, None])
        if bool(z.sum() > 100):
            x = -x
        return x


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("made", "expected"), [(Plain, False), (Trapped, True)])
def test_scripted_modules(made, expected, tmp_path):
    torch.jit.script(made().eval()).save(str(tmp_path / "model.pt"))
    file = read(tmp_path / "model.pt")
    assert any(e.rule == "torchscript.code" for e in file.evidence)
    assert any(e.rule == "source.bypass" for e in file.evidence) == expected
