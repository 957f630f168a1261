"""Parts of a critic that break the bound on what one record changes, by name; and what can be put in their place."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.nn.utils.parametrize import is_parametrized

from genvet.core.errors import BadInput
from genvet.core.rng import Rng
from genvet.nets.style_critic import Epilogue, StyleCritic

Rule = Literal[
    "minibatch-deviation",
    "batch-norm",
    "running-statistics",
    "spectral-norm",
    "records-mixed",
    "double-backward",
    "adaptive-augmentation",
    "selection",
    "two-networks",
    "private-generator",
    "old-call",
    "several-backwards",
    "no-poisson",
    "unreadable",
]
WHY: dict[Rule, str] = {
    "minibatch-deviation": "each record changes what all others in its batch are scored by: no norm bounds that",
    "batch-norm": "each record changes the moments that all others are scaled by: no norm bounds that",
    "running-statistics": "moments of the data are kept in buffers that no noise is added to, and are released",
    "spectral-norm": "its power iteration keeps a state that moves with every pass, which per-record gradients cannot "
    "follow; as a constant that follows from noisy weights alone it would be post-processing",
    "records-mixed": "the scores of other records moved when one was changed",
    "double-backward": "a gradient penalty by a second backward pass goes round the hooks that clip records; "
    "inside the per-record loss that is clipped, it is covered",
    "adaptive-augmentation": "its strength follows the scores of real images, without noise and unaccounted for",
    "selection": "a snapshot that is chosen by its distance to private data, or the best of them, is one more look at "
    "the data, without noise and unaccounted for",
    "two-networks": "two networks are made private: by one engine, their steps go to one account that is of neither; "
    "the loader is wrapped twice, and the loss of one runs back through the other's hooks",
    "private-generator": "the generator never sees a record: noise in it costs quality and buys no privacy",
    "old-call": "the call is gone since Opacus 1.0: get_epsilon(delta) gives one number",
    "several-backwards": "a second backward pass before the step: Opacus refuses it under Poisson sampling, and where "
    "it does not, each record is clipped twice and its loss is counted once",
    "no-poisson": "the accountants assume that every record takes part by chance; batches of a fixed order are no such",
    "unreadable": "this is no Python that can be parsed, so that nothing was looked at",
}


@dataclass(frozen=True)
class Breach:
    """One part that breaks the bound."""

    rule: Rule
    where: str
    """Its place in the network, the setting, or the line of the source."""
    mend: str = ""
    """What is put in its place; empty where there is nothing, and private training is refused."""

    @property
    def why(self) -> str:
        """In a sentence."""
        return WHY[self.rule]

    def __str__(self) -> str:
        return f"{self.where}: {self.rule}: {self.why}" + (f" ({self.mend})" if self.mend else "")


DROPPED = "left out"
GROUPED = "a group norm in its place"


def parts(critic: nn.Module) -> Iterator[Breach]:
    """What can be told from the kinds of its modules."""
    for name, module in critic.named_modules():
        where = name or type(module).__name__
        if isinstance(module, Epilogue) and module.group:
            yield Breach("minibatch-deviation", where, DROPPED)
        elif isinstance(module, _BatchNorm):
            yield Breach("batch-norm", where, GROUPED)
        elif isinstance(module, _InstanceNorm) and module.track_running_stats:
            yield Breach("running-statistics", where)
        if _is_spectral(module):
            yield Breach("spectral-norm", where)


def _is_spectral(module: nn.Module) -> bool:
    if is_parametrized(module):
        found = [p for group in module.parametrizations.values() for p in group]  # type: ignore[operator]
        return any(type(p).__name__ == "_SpectralNorm" for p in found)
    return any(type(hook).__name__ == "SpectralNorm" for hook in module._forward_pre_hooks.values())


def settings(knobs: Mapping[str, Any]) -> Iterator[Breach]:
    """What can be told from a recipe's settings."""
    if knobs.get("augment") == "adaptive":
        yield Breach("adaptive-augmentation", "augment")
    if knobs.get("group"):
        yield Breach("minibatch-deviation", "group", DROPPED)
    if knobs.get("penalty") or knobs.get("gamma"):
        yield Breach("double-backward", "penalty" if knobs.get("penalty") else "gamma", "inside the clipped loss")
    if knobs.get("judged") or knobs.get("best"):
        yield Breach("selection", "judged" if knobs.get("judged") else "best", DROPPED)


@torch.no_grad()
def mixing(critic: nn.Module, shape: tuple[int, ...], labels: int = 0, records: int = 8) -> Iterator[Breach]:
    """What shows when one record of a batch is changed: the innermost modules that carry it over to the others.

    The network is a copy, in training mode but for dropout; random images, so that nothing of the data is needed.
    """
    probed = quiet(copy.deepcopy(critic).train())
    with Rng(0).fork("linter").seeded():
        one = torch.randn(records, *shape)
    given = (torch.eye(labels)[torch.arange(records) % labels],) if labels else ()
    other = torch.cat([1 - 3 * one[:1], one[1:]])
    state = copy.deepcopy(probed.state_dict())
    first = _passed(probed, (one, *given))
    kept = [name for name, t in probed.named_buffers() if not torch.equal(t, state[name])]
    probed.load_state_dict(state)
    second = _passed(probed, (other, *given))
    known = [breach.where for breach in parts(critic)]
    guilty = [
        name
        for name, (inputs, out) in first.items()
        if _apart(out, second[name][1], records)
        and not any(_apart(a, b, records) for a, b in zip(inputs, second[name][0], strict=True))
    ]
    for name in guilty:
        inner = any(n != name and (n.startswith(f"{name}.") or not name) for n in (*guilty, *known))
        if not inner and name not in known:
            yield Breach("records-mixed", name or type(critic).__name__)
    for name in kept:
        if not any(name.startswith(f"{where}.") for where in known):
            yield Breach("running-statistics", name)


def quiet(network: nn.Module) -> nn.Module:
    """The same, without its dropout: what moves is then moved by a record."""
    for module in network.modules():
        if isinstance(module, _DropoutNd):
            module.eval()
    return network


Passed = dict[str, tuple[tuple[Tensor, ...], Tensor]]
"""By the name of a module: the tensors that it was given, and what it made of them."""


def _passed(network: nn.Module, given: tuple[Tensor, ...]) -> Passed:
    found: Passed = {}

    def keep(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Any, ...], out: Any) -> None:
            if isinstance(out, Tensor):
                found[name] = (tuple(t.clone() for t in inputs if isinstance(t, Tensor)), out.clone())

        return hook

    handles = [module.register_forward_hook(keep(name)) for name, module in network.named_modules()]
    try:
        network(*given)
    finally:
        for handle in handles:
            handle.remove()
    return found


def _apart(one: Tensor, other: Tensor, records: int) -> bool:
    """Whether anything but record 0 is another; a tensor without one row a record is of all of them."""
    if one.shape != other.shape:
        return True
    rows = slice(1, None) if one.ndim and len(one) == records else slice(None)
    return not torch.allclose(one[rows], other[rows], rtol=1e-4, atol=1e-6)


def lint(
    critic: nn.Module, shape: tuple[int, ...], knobs: Mapping[str, Any] | None = None, labels: int = 0
) -> tuple[Breach, ...]:
    """All that breaks the bound for one record, in a critic of images of this shape and in a recipe's settings.

    >>> [str(b.rule) for b in lint(nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.BatchNorm1d(8)), (1, 2, 2))]
    ['batch-norm']
    """
    return (*parts(critic), *mixing(critic, shape, labels), *settings(knobs or {}))


def mended(critic: nn.Module) -> tuple[nn.Module, tuple[str, ...]]:
    """The critic with what can be replaced replaced, and what that was in words; raises BadInput for what cannot.

    Dropout goes too: noise is enough of it.
    """
    stays = [breach for breach in parts(critic) if not breach.mend]
    if stays:
        raise BadInput("this critic cannot be trained privately", got="; ".join(map(str, stays)))
    told = [f"{breach.where}: {breach.rule}: {breach.mend}" for breach in parts(critic)]
    for name, module in list(critic.named_modules()):
        if isinstance(module, _BatchNorm):
            parent = critic.get_submodule(name.rpartition(".")[0])
            setattr(parent, name.rpartition(".")[2], group_norm(module))
        elif isinstance(module, Epilogue) and module.group:
            _without_deviation(module)
        elif isinstance(module, _DropoutNd) and module.p:
            told.append(f"{name}: dropout: {DROPPED}")
            module.p = 0.0
    if isinstance(critic, StyleCritic):
        critic.layout = torch.preserve_format
    return critic, tuple(told)


def group_norm(norm: _BatchNorm) -> nn.GroupNorm:
    """Of as many channels, in groups of eight or as many as fit."""
    groups = next(g for g in range(max(norm.num_features // 8, 1), 0, -1) if norm.num_features % g == 0)
    return nn.GroupNorm(groups, norm.num_features, eps=norm.eps, affine=norm.affine)


@torch.no_grad()
def _without_deviation(epilogue: Epilogue) -> None:
    epilogue.group = 0
    conv = epilogue.conv
    conv.weight = nn.Parameter(conv.weight[:, :-1].clone())
    inputs, side = conv.weight.shape[1], conv.weight.shape[2]
    conv.scale = (inputs * side * side) ** -0.5
