"""What kind of generator it is, by its weights: measures are compared within one kind."""

from __future__ import annotations

from genvet.core.generator import Generator, StyleGenerator


def family(generator: Generator) -> str:
    """The kind in words, whatever file or name the weights came under: convolutional with batch norms.

    >>> from genvet.nets.build import build
    >>> family(build("dcgan", {"latent": 4, "capacity": 2, "size": 8}))
    'convolutional with batch norms'
    """
    if isinstance(generator, StyleGenerator):
        return "style"
    if len(generator.shape) == 2:
        return "sound"
    state = generator.module.state_dict()
    kind = "convolutional" if any(t.ndim == 4 and t.numel() > max(t.shape) for t in state.values()) else "dense"
    return kind + " with batch norms" * any(key.endswith("running_var") for key in state)
