"""Training of a StyleGAN2 with its recipe's own settings: images a second, a lazy penalty among them."""

from __future__ import annotations

import time

import torch

from genvet.core.rng import Rng
from genvet.training.stylegan2 import StyleGAN2
from genvet.training.styles import StyleDuel

SIZE, STEPS = 32, 16
"""As many steps as there are from one penalty to the next."""


def took(recipe: StyleGAN2) -> tuple[float, float]:
    """Seconds for the steps: wall, and CPU."""
    rng = Rng(0)
    x = torch.rand(256, 3, recipe.size, recipe.size, generator=rng.block()) * 2 - 1
    with rng.fork("weights").seeded():
        duel = StyleDuel(recipe, recipe.fresh(3, 0), recipe.opponent(3, 0), x, None, rng)
        duel.step(1)
        wall, cpu = time.perf_counter(), time.process_time()
        for number in range(STEPS):
            duel.step(number)
    return time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    for precision in ("float32", "bfloat16"):
        recipe = StyleGAN2(size=SIZE, precision=precision)
        wall, cpu = took(recipe)
        images = STEPS * recipe.batch
        print(
            f"{SIZE} px, batch {recipe.batch}, {precision:9} {images / cpu:6.1f} images a second of CPU "
            f"({images / wall:.1f} by the clock): {1000 * cpu / images:.0f} s for a thousand"
        )


if __name__ == "__main__":
    main()
