"""What a critic makes of images, whatever else lies in the batch."""

from __future__ import annotations

import torch
from torch import Tensor

from genvet.core.data import Critic
from genvet.core.errors import BadInput

ALONE = 8
"""Images that are shown one by one, to see whether the critic looks at the others of a batch."""


@torch.no_grad()
def scores_of(critic: Critic, x: Tensor, batch: int = 256) -> Tensor:
    """The score of each image (n, *shape), on the CPU in float64: (n,). Dropout and batch norms are at rest.

    A critic whose score depends on the batch, as one with a mini-batch deviation does, is shown one at a time.
    """
    modes = {module: module.training for module in critic.module.modules()}
    critic.module.eval()
    try:
        first = x[:ALONE]
        alone = _scores(critic, first, 1)
        if len(first) > 1 and not torch.allclose(_scores(critic, first, ALONE), alone, rtol=1e-3, atol=1e-3):
            batch = 1
        return _scores(critic, x, batch)
    finally:
        for module, mode in modes.items():
            module.training = mode


def _scores(critic: Critic, x: Tensor, batch: int) -> Tensor:
    on = next((t.device for t in critic.module.state_dict().values()), torch.device("cpu"))
    found = [critic(some.to(on)).double().cpu() for some in x.split(batch)]
    score = torch.cat(found) if found else torch.empty(0)
    if score.numel() != len(x):
        raise BadInput("the critic gives no score an image", expected=f"({len(x)}, 1)", got=str(tuple(score.shape)))
    return score.flatten()
