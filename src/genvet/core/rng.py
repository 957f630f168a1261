"""Randomness that does not depend on batch size, worker or resume.

Sample i is row i % 1024 of block i // 1024, and each block has a generator of its own, seeded with
SHA-256(seed, purpose, block).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

BLOCK = 1024
"""Rows in a block: the unit in which latents are drawn."""


@dataclass(frozen=True)
class Rng:
    """A seed and the purpose that it is used for; hands out one random number generator a block."""

    seed: int = 0
    purpose: str = ""

    def fork(self, purpose: str) -> Rng:
        """An independent stream for `purpose`.

        >>> Rng(0).fork("a").fork("b")
        Rng(seed=0, purpose='/a/b')
        """
        return Rng(self.seed, f"{self.purpose}/{purpose}")

    def block(self, index: int = 0) -> torch.Generator:  # noqa: TID251 - this is the one place that makes them
        """The CPU random number generator of block `index`."""
        import torch  # late: looking at a file alone needs no torch

        digest = hashlib.sha256(f"{self.seed}\0{self.purpose}\0{index}".encode()).digest()
        rng = torch.Generator()  # noqa: TID251
        rng.manual_seed(int.from_bytes(digest[:8], "little", signed=True))
        return rng

    @contextmanager
    def seeded(self, *devices: torch.device) -> Iterator[None]:
        """Let torch's own stream be this one for a while, and as it was before afterwards; on these GPUs too.

        For what has no generator of its own to be handed: start weights and dropout.
        """
        import torch

        seed, gpus = self.block().initial_seed(), [device for device in devices if device.type == "cuda"]
        with torch.random.fork_rng(devices=gpus):
            torch.default_generator.manual_seed(seed)
            if gpus:
                torch.cuda.manual_seed_all(seed)
            yield


def plainly_seeded(seed: int) -> torch.Generator:  # noqa: TID251 - somebody else's
    """What draws as torch does after torch.manual_seed(seed): for what another person's program would draw."""
    import torch

    return torch.Generator().manual_seed(seed)  # noqa: TID251
