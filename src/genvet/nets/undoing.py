"""What an attacker who knows a guard does about it: averages, denoises, smooths, inverts, or asks otherwise.

The functions take images (n, c, h, w) in [-1, 1]. The classes are Queries on the attacker's side of a guard, so that
any attack runs through them unchanged; what they ask is charged at the guard.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from genvet.core.errors import Refused
from genvet.core.queries import Queries, Reply
from genvet.core.rng import Rng
from genvet.maths.delivery import jpeg
from genvet.maths.membership import auc
from genvet.nets.between import Asked, Between, Draws, first_each
from genvet.nets.random_features import random_features

WINDOW = 5
"""Pixels to each side in which alike patches are looked for."""
STEPS = 4001
"""Of the table by which the clipping of noise is undone: from -1 to 1."""


def unclipped(mean: Tensor, sigma: float) -> Tensor:
    """What an image was, from the mean of its clipped noisy copies: clipping pulls bright and dark pixels inwards.

    >>> bool((unclipped(torch.tensor([-0.9601058, 0.0]), 0.1) - torch.tensor([-1.0, 0.0])).abs().max() < 1e-3)
    True
    """
    x = torch.linspace(-1, 1, STEPS, dtype=torch.float64)
    seen = x + sigma * (_excess((-1 - x) / sigma) - _excess((x - 1) / sigma))
    at = torch.searchsorted(seen, mean.double().cpu().contiguous()).clamp(1, STEPS - 1)
    share = (mean.double().cpu() - seen[at - 1]) / (seen[at] - seen[at - 1])
    return (x[at - 1] + share * (x[1] - x[0])).clamp(-1, 1).to(mean)


def _excess(u: Tensor) -> Tensor:
    """E max(u - e, 0) for standard normal e."""
    density = (-u.square() / 2).exp() / math.sqrt(2 * math.pi)
    excess: Tensor = u * torch.special.ndtr(u) + density
    return excess


def denoised(x: Tensor, sigma: float) -> Tensor:
    """Non-local means: each pixel is the mean of those around it whose patches look alike (Buades et al. 2005)."""
    wide = F.pad(x, (WINDOW,) * 4, mode="reflect" if min(x.shape[2:]) > WINDOW else "replicate")
    total, weights = torch.zeros_like(x), torch.zeros_like(x[:, :1])
    for down in range(2 * WINDOW + 1):
        for across in range(2 * WINDOW + 1):
            other = wide[..., down : down + x.shape[2], across : across + x.shape[3]]
            apart = F.avg_pool2d((x - other).square().mean(1, keepdim=True), 3, 1, 1, count_include_pad=False)
            # Two noisy copies of one patch are 2 sigma^2 apart in the mean.
            weight = (-(apart - 2 * sigma**2).clamp_min(0) / sigma**2).exp()
            total, weights = total + weight * other, weights + weight
    return unclipped(total / weights, sigma)


def deblocked(x: Tensor, quality: int, step: int = 2) -> Tensor:
    """JPEG again at shifted blocks, shifted back and averaged: borders of blocks differ, the image does not.

    Nosratinia 2001, "Enhancement of JPEG-compressed images by re-application of JPEG".
    """
    wide = F.pad(x.cpu(), (8,) * 4, mode="replicate")
    places = [(i, j) for i in range(0, 8, step) for j in range(0, 8, step)]
    back = [jpeg(wide[..., i:, j:], quality)[..., 8 - i :, 8 - j :] for i, j in places]
    return torch.stack([y[..., : x.shape[2], : x.shape[3]] for y in back]).mean(0).to(x)


def deblurred(x: Tensor, sigma: float, noise: float = 1e-4) -> Tensor:
    """Wiener's filter against a Gaussian blur of so many pixels; `noise` is its power, over the image's.

    The image is mirrored beyond its border, so that both ends of the Fourier transform fit each other.
    """
    mirrored = torch.cat([x, x.flip(3)], 3)
    mirrored = torch.cat([mirrored, mirrored.flip(2)], 2)
    down, across = (_response(side, sigma).to(x) for side in mirrored.shape[2:])
    response = down[:, None] * across[None, : mirrored.shape[3] // 2 + 1]
    spectrum = torch.fft.rfft2(mirrored) * (response / (response.square() + noise))
    sharp: Tensor = torch.fft.irfft2(spectrum, s=mirrored.shape[2:])
    return sharp[..., : x.shape[2], : x.shape[3]].clamp(-1, 1)


def _response(side: int, sigma: float) -> Tensor:
    """By how much the filter of `maths.delivery.blurred` weakens each frequency, (side,)."""
    reach = max(1, round(3 * sigma))
    taps = (-torch.arange(-reach, reach + 1, dtype=torch.float64).square() / (2 * sigma**2)).exp()
    at = torch.fft.fftfreq(side, dtype=torch.float64)[:, None] * torch.arange(-reach, reach + 1)
    response: Tensor = (2 * math.pi * at).cos() @ (taps / taps.sum())
    return response.float()


class Knowing(Between):
    """Asks for each latent several times, the mean of whose answers is restored."""

    def __init__(
        self,
        view: Queries,
        restore: Callable[[Tensor], Tensor] = lambda x: x,
        *,
        times: int = 1,
        jitter: float = 0.0,
        move: Callable[[Tensor], Tensor] = lambda z: z,
    ) -> None:
        """`jitter`, in root mean square latents, tells questions apart that are one; `move` changes latents before."""
        super().__init__(view, price=times)
        self._restore, self._times, self._move = restore, times, move
        self._jitter = jitter * (3**-0.5 if view.latent.distribution == "uniform" else 1.0)
        self._draws = Draws(Rng(0, "attacker"), fresh=True)

    def _passed(self, z: Tensor, labels: Tensor | None) -> Reply:
        z = self._move(z)
        rows = z.repeat_interleave(self._times, 0)
        if self._jitter:
            rows = rows + self._jitter * self._draws(rows, Asked(rows, None, torch.arange(len(rows))))
        reply = self.inner.ask(rows, None if labels is None else labels.repeat_interleave(self._times, 0))
        if self._times == 1:
            return Reply(self._restore(reply.images), reply.owner, reply.status) if len(reply.images) else reply
        return self._mean(reply, len(z))

    def _mean(self, reply: Reply, n: int) -> Reply:
        """One answer for each group of questions; raises Refused where their answers differ in number."""
        brings = torch.bincount(reply.owner, minlength=len(reply.status)).view(n, self._times)
        if not bool((brings == brings[:1, :1]).all()) or not int(brings[0, 0]):
            raise Refused("answers to one latent differ in number, and cannot be averaged")
        many = reply.images.unflatten(0, (n, self._times, -1)).mean(1)
        owner = torch.arange(n).repeat_interleave(many.shape[1])
        return Reply(self._restore(many.flatten(0, 1)), owner, reply.status.view(n, self._times).amax(1))


class Second(Between):
    """Asks for each latent twice in a row, and keeps what comes the second time: the query before was the same."""

    def __init__(self, view: Queries, move: Callable[[Tensor], Tensor] = lambda z: z) -> None:
        super().__init__(view, price=2)
        self._move = move

    def _passed(self, z: Tensor, labels: Tensor | None) -> Reply:
        twice = None if labels is None else labels.repeat_interleave(2, 0)
        reply = self.inner.ask(self._move(z).repeat_interleave(2, 0), twice)
        kept = reply.owner % 2 == 1
        return Reply(reply.images[kept.to(reply.images.device)], reply.owner[kept] // 2, reply.status[1::2])


class Discarding(Between):
    """Learns how answers to latents asked once differ from those asked twice in a row, and drops the likeliest."""

    def __init__(self, view: Queries, share: float, samples: int = 1024) -> None:
        """`share` of the answers are of the kind that is to be dropped."""
        from sklearn.linear_model import LogisticRegression  # here, so that --help need not wait for it

        super().__init__(view)
        z, labels = view.latent.sample(0, samples, Rng(0, "attacker")), view.latent.labels(0, samples)
        clean = random_features(first_each(Second(view).ask(z, labels)).float().cpu())
        asked = random_features(first_each(view.ask(z, labels)).float().cpu())
        self._centre, self._scale = clean.mean(0), clean.std(0).clamp_min(1e-6)
        held = torch.arange(samples) % 4 == 3
        rows, kinds = torch.cat([self._rows(clean), self._rows(asked)]), torch.arange(2 * samples) >= samples
        fitted = torch.cat([~held, ~held])
        machine = LogisticRegression(C=0.01, max_iter=1000).fit(rows[fitted].numpy(), kinds[fitted].numpy())
        self._weights = torch.from_numpy(machine.coef_[0]).float()
        self.auc = auc(self._score(asked[held]), self._score(clean[held]))
        """Of answers as they come against those that are clean, on latents held back."""
        self._most = float(self._score(asked).quantile(1 - share))

    def _rows(self, features: Tensor) -> Tensor:
        """And their squares: what is interpolated is nearer to the middle, on whichever side of it."""
        apart = (features - self._centre) / self._scale
        return torch.cat([apart, apart.square()], 1)

    def _score(self, features: Tensor) -> Tensor:
        return self._rows(features) @ self._weights

    def _passed(self, z: Tensor, labels: Tensor | None) -> Reply:
        reply = self.inner.ask(z, labels)
        if not len(reply.images):
            return reply
        kept = self._score(random_features(reply.images)) < self._most
        status = reply.status.clone()
        status[~torch.isin(torch.arange(len(z)), reply.owner[kept])] = 1
        return Reply(reply.images[kept.to(reply.images.device)], reply.owner[kept], status)
