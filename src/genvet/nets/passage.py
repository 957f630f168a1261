"""What happens to z on its way to x: one forward pass, watched operation by operation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from genvet.core.generator import Generator
from genvet.core.rng import Rng

SMALL = 1e-3
"""A constant below this that is added changes nothing that matters."""
RANDOM = set(
    "rand randn randint rand_like randn_like randint_like randperm normal normal_ uniform_ bernoulli bernoulli_ "
    "multinomial poisson binomial random_ exponential_ cauchy_ geometric_ log_normal_ gumbel_softmax".split()
)
DROPS = set(
    "dropout dropout_ dropout1d dropout2d dropout3d alpha_dropout alpha_dropout_ feature_dropout feature_dropout_ "
    "feature_alpha_dropout feature_alpha_dropout_ rrelu rrelu_ native_dropout".split()
)
STEPS = set(
    "round floor ceil trunc fix sign sgn heaviside floor_divide __floordiv__ remainder __mod__ fmod frac signbit "
    "argmax argmin bucketize searchsorted quantize_per_tensor quantize_per_channel fake_quantize_per_tensor_affine "
    "fake_quantize_per_channel_affine".split()
)
CUTS = {"detach", "detach_", "numpy", "tolist", "item"}
_PAIRS = ("exp log", "exp2 log2", "expm1 log1p", "sigmoid logit", "tanh atanh", "tanh arctanh", "sinh asinh")
INVERSE = {(a, b) for pair in _PAIRS for a, b in (pair.split(), pair.split()[::-1])}
"""Functions that undo one another."""
_CARRY = set(
    "reshape view flatten unflatten squeeze unsqueeze permute transpose contiguous clone detach to float double half "
    "expand repeat __getitem__ identity clamp clip clamp_min clamp_max maximum minimum abs mul __mul__ __rmul__ "
    "multiply div __truediv__ true_divide".split()
)
"""After these, a function is still the last one that was applied."""
_ADD = {"add", "__add__", "__radd__", "sub", "__sub__", "__rsub__"}


@dataclass(frozen=True)
class Met:
    """An operation on the way that hides gradients: of which kind, its name, and the module that it is in."""

    kind: str
    """random, step, inverse or cut."""
    operation: str
    place: str


@torch.no_grad()
def passage(generator: Generator, z: Tensor, labels: Tensor | None = None) -> list[Met]:
    """Every operation between z and x that draws at random, goes in steps, undoes another, or cuts the gradient."""
    z = z.detach().clone()
    z._reached = True  # type: ignore[attr-defined]
    with _placed(generator.module) as places, torch.random.fork_rng(devices=[]), _Watch(places) as watch:
        generator(z, labels)
    return list(dict.fromkeys(watch.met))


@torch.no_grad()
def repeats(generator: Generator, z: Tensor, labels: Tensor | None = None) -> float:
    """How far two answers to the same latents are apart, at most, whatever the state of the random numbers."""
    answers = []
    for number in range(2):
        with Rng(number, "repeats").seeded(z.device):
            answers.append(generator(z, labels).float())
    return float((answers[0] - answers[1]).abs().max())


class _Watch(TorchFunctionMode):
    """Marks every tensor that z reaches, and notes what is done to it."""

    def __init__(self, places: Sequence[str]) -> None:
        super().__init__()
        self.places, self.met = places, list[Met]()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = "detach" if func == torch.Tensor.data.__get__ else getattr(func, "__name__", "")  # type: ignore[attr-defined]
        given = list(_tensors([*args, *kwargs.values()]))
        reached = any(hasattr(t, "_reached") for t in given)
        last = next((t._last for t in given if hasattr(t, "_last")), "")
        answer = func(*args, **kwargs)
        kind = self._kind(name, reached, last, args, kwargs, answer)
        if kind:
            operation = f"{name} of {last}" if kind == "inverse" else name
            self.met.append(Met(kind, operation, self.places[-1]))
        if reached:
            self._mark(name, last, args, kwargs, answer)
        return answer

    def _kind(
        self, name: str, reached: bool, last: str, args: Sequence[Any], kwargs: Mapping[str, Any], answer: Any
    ) -> str:
        if name in RANDOM:
            return "random"
        if not reached:
            return ""
        if name in DROPS and _training(name, args, kwargs):
            return "random"
        if name.removesuffix("_") in STEPS or _cast(args, answer):
            return "step"
        if name in CUTS:
            return "cut"
        return "inverse" if (last, name.removesuffix("_")) in INVERSE else ""

    def _mark(self, name: str, last: str, args: Sequence[Any], kwargs: Mapping[str, Any], answer: Any) -> None:
        plain = name.removesuffix("_")
        keep = plain in _CARRY or (plain in _ADD and _negligible(args))
        changed = [args[0]] if args and (name == "__setitem__" or name.endswith("_")) else []
        for t in _tensors([answer, *changed, kwargs.get("out")]):
            t._reached = True  # type: ignore[attr-defined]
            t._last = last if keep else plain  # type: ignore[attr-defined]


def _tensors(values: Any) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)


def _training(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Of a dropout: whether it drops. Its third argument in `torch` and in `torch.nn.functional`."""
    at = 4 if name.startswith("rrelu") else 3
    known = [*args[at - 1 : at], *(kwargs[k] for k in ("training", "train") if k in kwargs)]
    default = not name.startswith(("rrelu", "feature_alpha", "alpha"))
    return bool(known[0]) if known else default


def _cast(args: Sequence[Any], answer: Any) -> bool:
    """Whether fractions became whole numbers."""
    if not (args and isinstance(args[0], Tensor) and isinstance(answer, Tensor)):
        return False
    whole = not answer.is_floating_point() and not answer.is_complex() and answer.dtype != torch.bool
    return whole and args[0].is_floating_point()


def _negligible(args: Sequence[Any]) -> bool:
    """Of a sum: whether all but what z reaches is next to nothing."""
    others = [a for a in args if not hasattr(a, "_reached")]
    return all(isinstance(a, Tensor) or isinstance(a, int | float) for a in others) and all(
        float(a.abs().max() if isinstance(a, Tensor) else abs(a)) < SMALL for a in others
    )


@contextmanager
def _placed(module: nn.Module) -> Iterator[list[str]]:
    """The names of the modules that are running, the innermost last."""
    running = [""]

    def left(*_: Any) -> None:
        running.pop()

    hooks = []
    for name, m in module.named_modules():
        hooks.append(m.register_forward_pre_hook(lambda m, given, name=name: running.append(name)))
        hooks.append(m.register_forward_hook(left))
    try:
        yield running
    finally:
        for hook in hooks:
            hook.remove()
