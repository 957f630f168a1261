"""What goes over the wire: safetensors in and out, read as claims of somebody who may lie."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from safetensors import SafetensorError
from safetensors.torch import load as unpacked
from safetensors.torch import save as packed
from torch import Tensor

from genvet.core.latent import Latent
from genvet.core.queries import Reply
from genvet.core.scores import Answers
from genvet.serve.problems import Problem

BINARY = "application/octet-stream"
"""Safetensors have no registered type of their own."""


def latents(body: bytes, latent: Latent, most: int) -> tuple[Tensor, Tensor | None]:
    """Latents (n, dim) and one-hot labels (n, classes) of a request; raises Problem where they do not fit."""
    found = _tensors(body, {"z", "labels"})
    z = _rows(found, "z", (latent.dim,), most)
    if (labels := found.get("labels")) is None:
        if latent.classes:
            raise Problem(422, f"this generator wants `labels` (n, {latent.classes}), one-hot")
        return z, None
    if not latent.classes:
        raise Problem(422, "this generator takes no labels")
    one_hot = tuple(labels.shape) == (len(z), latent.classes) and not labels.is_complex()
    if not one_hot or not torch.equal(labels.float(), torch.eye(latent.classes)[labels.float().argmax(1)]):
        raise Problem(422, f"the labels do not fit: `labels` ({len(z)}, {latent.classes}) is to be one-hot")
    return z, labels.float()


def images(body: bytes, shape: tuple[int, ...], most: int) -> Tensor:
    """Images (n, *shape) of a request; raises Problem where they do not fit."""
    return _rows(_tensors(body, {"x"}), "x", shape, most)


def answered(reply: Reply) -> bytes:
    """Images, whose each is, and what became of each query."""
    held = {"x": reply.images.float(), "owner": reply.owner.to(torch.int32), "status": reply.status.to(torch.uint8)}
    return packed({name: tensor.cpu().contiguous() for name, tensor in held.items()})


def told(scores: Tensor, answers: Answers) -> bytes:
    """Scores, or what the policy tells of them."""
    if answers == "label":
        return packed({"label": scores.argmax(1)})
    if answers == "top_k":
        best = scores.topk(max(1, int((scores > 0).sum(1).max())), 1)
        return packed({"top": best.indices.contiguous(), "top_scores": best.values.float().contiguous()})
    return packed({"scores": scores.float().cpu().contiguous()})


def _tensors(body: bytes, names: set[str]) -> Mapping[str, Tensor]:
    try:
        found = unpacked(body)
    except (SafetensorError, ValueError, OverflowError, KeyError, TypeError, RuntimeError):
        raise Problem(400, "the body is no safetensors", hint=f"it holds {' and '.join(sorted(names))}") from None
    if not found.keys() <= names:
        raise Problem(422, f"the body holds other tensors than {' and '.join(sorted(names))}")
    return found


def _rows(found: Mapping[str, Tensor], name: str, shape: tuple[int, ...], most: int) -> Tensor:
    rows = found.get(name)
    wanted = f"`{name}` (n, {', '.join(map(str, shape))}) with n from 1 to {most}"
    if rows is None or rows.ndim != 1 + len(shape) or tuple(rows.shape[1:]) != shape:
        raise Problem(422, f"the body does not fit: {wanted}")
    if not rows.is_floating_point():
        raise Problem(422, f"`{name}` holds no floating-point numbers")
    if not 1 <= len(rows) <= most:
        raise Problem(422, f"so many rows are not answered at once: {wanted}")
    if not bool(rows.isfinite().all()):
        raise Problem(422, f"`{name}` holds numbers that are not finite")
    return rows.float()
