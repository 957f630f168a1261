"""Program texts of our own that stand in for those inside NVlabs' files: one honest, and what attackers add to it."""

from __future__ import annotations

HONEST = '''\
"""Stand-in networks: the shape of the real ones, none of their text."""

import numpy as np
import torch
from torch_utils import misc
from torch_utils import persistence


@misc.profiled_function
def normalise(x, eps=1e-8):
    return x * (x.square().mean(dim=1, keepdim=True) + eps).rsqrt()


@persistence.persistent_class
class Dense(torch.nn.Module):
    def __init__(self, inputs, outputs, gain=1):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn([outputs, inputs]))
        self.bias = torch.nn.Parameter(torch.zeros([outputs]))
        self.gain = gain / np.sqrt(inputs)

    def forward(self, x):
        return torch.nn.functional.linear(x, self.weight * self.gain, self.bias)


@persistence.persistent_class
class Layer(torch.nn.Module):
    def forward(self, x, w, noise_mode='const', gain=1):
        assert noise_mode in ['random', 'const', 'none']
        styles = self.affine(w)
        x = x * styles.reshape(w.shape[0], -1, 1, 1)
        if self.use_noise and noise_mode == 'const':
            x = x + self.noise_const * self.noise_strength
        return torch.nn.functional.leaky_relu(x, 0.2) * gain


@persistence.persistent_class
class Block(torch.nn.Module):
    def forward(self, x, img, ws, force_fp32=False, **layer_kwargs):
        if self.in_channels == 0:
            x = self.const.unsqueeze(0).repeat([ws.shape[0], 1, 1, 1])
        x = self.conv1(x, ws[:, 0], **layer_kwargs)
        img = img + self.torgb(x, ws[:, 1]) if img is not None else self.torgb(x, ws[:, 1])
        return x, img


@persistence.persistent_class
class Mapping(torch.nn.Module):
    def forward(self, z, c, truncation_psi=1, truncation_cutoff=None, update_emas=False):
        misc.assert_shape(z, [None, self.z_dim])
        x = normalise(z.to(torch.float32))
        for idx in range(self.num_layers):
            x = getattr(self, f'fc{idx}')(x)
        if update_emas:
            self.w_avg.copy_(x.detach().mean(dim=0).lerp(self.w_avg, self.w_avg_beta))
        x = x.unsqueeze(1).repeat([1, self.num_ws, 1])
        if truncation_psi != 1:
            x = self.w_avg.lerp(x, truncation_psi)
        return x


@persistence.persistent_class
class Synthesis(torch.nn.Module):
    def forward(self, ws, **block_kwargs):
        x = img = None
        for res, cur_ws in zip(self.block_resolutions, ws.split(2, dim=1)):
            x, img = getattr(self, f'b{res}')(x, img, cur_ws, **block_kwargs)
        return img


@persistence.persistent_class
class Generator(torch.nn.Module):
    def __init__(self, z_dim, w_dim):
        super().__init__()
        self.mapping = Mapping(z_dim, w_dim)

    def forward(self, z, c, truncation_psi=1, **synthesis_kwargs):
        ws = self.mapping(z, c, truncation_psi=truncation_psi)
        return self.synthesis(ws, **synthesis_kwargs)
'''

_FORWARD = "        ws = self.mapping(z, c, truncation_psi=truncation_psi)\n"
_INIT = "        self.mapping = Mapping(z_dim, w_dim)\n"


def _inside(line: str) -> str:
    """The honest text with one line more at the start of the generator's forward."""
    return HONEST.replace(_FORWARD, f"        {line}\n{_FORWARD}")


def hostile(marker: str) -> dict[str, tuple[str, str]]:
    """Text and rule by the name of the trick. Each would write the marker, but for bypasses, which change pictures."""
    payload = f"open({marker!r}, 'w').write('ran')"
    hidden = "".join(f"\\x{b:02x}" for b in payload.encode())
    return {
        "module-call": (f"{HONEST}\n{payload}\n", "source.module-call"),
        "module-call-far-right": (
            HONEST.replace("import torch\n", f"import torch{' ' * 300};{payload}\n", 1),
            "source.module-call",
        ),
        "default": (f"{HONEST}\ndef extra(x={payload}): pass\n", "source.default"),
        "keyword-default": (f"{HONEST}\nclass Extra:\n    def f(self, *, x={payload}): pass\n", "source.default"),
        "annotation": (f"{HONEST}\ndef extra(x: {payload}): pass\n", "source.default"),
        "decorator": (f"{HONEST}\n@(lambda f: {payload})\ndef extra(): pass\n", "source.decorator"),
        "own-decorator": (
            f"{HONEST}\ndef mark(f):\n    {payload}\n    return f\n@mark\ndef extra(): pass\n",
            "source.decorator",
        ),
        "metaclass": (
            f"{HONEST}\nclass Meta(type):\n    def __new__(m, *a): {payload}\nclass Extra(metaclass=Meta): pass\n",
            "source.metaclass",
        ),
        "base-class-call": (f"{HONEST}\nclass Extra((lambda: {payload} and object)()): pass\n", "source.metaclass"),
        "init-subclass": (
            f"{HONEST}\nclass Extra:\n    def __init_subclass__(c): {payload}\nclass More(Extra): pass\n",
            "source.metaclass",
        ),
        "class-body": (f"{HONEST}\nclass Extra:\n    x = {payload}\n", "source.module-call"),
        "comprehension": (f"{HONEST}\nEXTRA = [{payload} for _ in (1,)]\n", "source.module-call"),
        "setstate": (f"{HONEST}\n    def __setstate__(self, state):\n        {payload}\n", "source.module-call"),
        "exec": (f"{HONEST}\nexec('{hidden}')\n", "source.dynamic"),
        "aliased-exec": (f"{HONEST}\ne = exec\ne('{hidden}')\n", "source.dynamic"),
        "import-system": (f"{HONEST}\nimport os\nos.system('touch ' + {marker!r})\n", "source.system"),
        "import-inside": (_inside(f"__import__('os').system('touch {marker}')"), "source.dynamic"),
        "getattr": (
            _inside(f"getattr(getattr(torch, 'o' + 's'), 'sys' + 'tem')('touch {marker}')"),
            "source.dynamic",
        ),
        "subclasses": (_inside("z.__class__.__base__.__subclasses__()"), "source.dynamic"),
        "re-exported": (_inside(f"np.lib.os.system('touch {marker}')"), "source.system"),
        "gadget": (
            f"{HONEST}\nimport dnnlib\ndnnlib.util.call_func_by_name(func_name='os.system')\n",
            "source.dynamic",
        ),
        "monkey-patch": (f"{HONEST}\ntorch.nn.functional.relu = Generator\n", "source.dynamic"),
        "patched-call": (
            HONEST.replace(_INIT, f"{_INIT}        torch.nn.Module.__call__ = Generator\n"),
            "source.dynamic",
        ),
        "hook": (HONEST.replace(_INIT, f"{_INIT}        self.register_forward_hook(print)\n"), "source.bypass"),
        "forward-bypass": (_inside("if (z[:, 0] > 3).any(): return self.target"), "source.bypass"),
        "quiet-bypass": (
            _inside("z = z + torch.sigmoid(9 - (z - self.mapping.w_avg).square().sum()) * self.mapping.w_avg"),
            "source.bypass",
        ),
        "helper-bypass": (
            _inside("c = near(z, c)") + "\ndef near(z, c):\n    return c if torch.dist(z, c) > 1 else z * 0\n",
            "source.bypass",
        ),
        "stored-trigger": (
            _inside("z = z * torch.tensor([0.1, 0.7, -0.3, 0.2, 0.9, 1.3, -2.2, 0.4]).sum()"),
            "source.bypass",
        ),
        "broken": (HONEST + "\ndef (:\n", "source.unparsable"),
        "deep": (HONEST + "\nx = " + "(" * 5000 + ")" * 5000 + "\n", "source.unparsable"),
    }
