"""`genvet sample`: see what a generator puts out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from genvet.cli import screen
from genvet.cli.opening import opened
from genvet.cli.options import OPENING, Opening

if TYPE_CHECKING:
    from torch import Tensor

    from genvet.core.generator import Generator


def sample(
    model: Path,
    /,
    *,
    out: Path = Path("samples.png"),
    count: Annotated[int, Parameter(validator=Number(gte=1, lte=4096))] = 64,
    truncation: Annotated[float, Parameter(validator=Number(gte=-2, lte=2))] = 1.0,
    common: Opening = OPENING,
) -> int:
    """Draw samples from a model file, without running any of it, into a PNG grid or WAV files.

    Parameters
    ----------
    model: Path
        The model file.
    out: Path
        The picture to write; sounds beyond the first get numbers.
    count: int
        How many samples.
    truncation: float
        For style generators: pulls w towards its average; 1 leaves it alone.
    """
    _, generator = opened(model, common)
    with screen.progress():
        x = draw(generator, count, common.seed, truncation)
    for path in write(x, out, generator.rate):
        screen.note(f"{generator.name}: {path}")
    return 0


def draw(generator: Generator, count: int, seed: int, truncation: float = 1.0) -> Tensor:
    """Samples (count, *shape); the same for the same seed, whatever the batch."""
    import torch

    from genvet.core.errors import Unsupported
    from genvet.core.generator import StyleGenerator
    from genvet.core.progress import track
    from genvet.core.rng import Rng

    rng = Rng(seed).fork("sample")
    if truncation == 1.0:
        return generator.sample(count, rng)
    if not isinstance(generator, StyleGenerator):
        raise Unsupported("only style generators have a truncation", hint="leave --truncation out")
    images = []
    with torch.inference_mode():
        for start in track(range(0, count, 16), -(-count // 16), "samples"):
            stop = min(start + 16, count)
            z = generator.latent.sample(start, stop, rng).to(generator.device)
            w = generator.mapping(z, generator.labels_of(torch.arange(start, stop)), truncation)
            images.append(generator.synthesis(generator.broadcast(w)).float().cpu())
    return torch.cat(images)


def write(x: Tensor, out: Path, rate: int = 16_000) -> list[Path]:
    """One picture of all images, or one WAV a sound, of so many samples a second."""
    from genvet.files.images import write_grid
    from genvet.files.sounds import write_wav

    if x.ndim == 4:
        return [write_grid(x, out)]
    out = out.with_suffix(".wav")
    names = [out] if len(x) == 1 else [out.with_stem(f"{out.stem}-{i:04d}") for i in range(1, len(x) + 1)]
    return [write_wav(sound, name, rate) for sound, name in zip(x, names, strict=True)]
