"""Draw samples from a StyleGAN pickle without unpickling it, and show that batch sizes change nothing.

python examples/pictures_from_a_pickle.py model.pkl
"""

import sys

import torch

import genvet
from genvet.core.rng import Rng
from genvet.files.images import write_grid


def main(path: str) -> None:
    model = genvet.load(path)
    generator = model.generators.get("G_ema") or next(iter(model.generators.values()))
    rng = Rng(seed=0).fork("example")
    images = generator.sample(16, rng, batch=16)
    assert torch.allclose(images, generator.sample(16, rng, batch=5), atol=1e-4)
    write_grid(images, "grid.png", columns=4)
    print(f"{generator.name}, {generator.parameters:,} parameters: grid.png")


if __name__ == "__main__":
    main(sys.argv[1])
