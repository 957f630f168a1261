"""What a part is that is no generator: a critic, a classifier, an encoder, a language model, an optimiser."""

from __future__ import annotations

import re

from genvet.core.modelfile import Part
from genvet.core.printable import printable
from genvet.nets.layer_shapes import LayerShapes, chained, inputs, layer_shapes, orders, outputs, weighty
from genvet.nets.sketch import image_shape
from genvet.nets.style_layouts import critic_of

_OPTIMISER = re.compile(r"(^|\.)(exp_avg|exp_avg_sq|momentum_buffer|square_avg|max_exp_avg_sq|param_groups)(\.|$)")
_LANGUAGE = re.compile(
    r"(embed_tokens|word_embeddings|\bwte\b|\bwpe\b|lm_head|token_type_embeddings|self_attn|self_attention|"
    r"attention\.(self|query|q_lin)|\.attn\.|encoder\.layer\.\d|transformer\.(h|layer)\.\d)"
)
_DIFFUSION = re.compile(r"(diffusion_model|down_blocks?\.\d|time_embed|unet\.|input_blocks\.\d)")
_ENCODER = re.compile(r"(^|[._])(enc|encoder|mu|logvar|fc_var|mapping_network_inverse)([._\d]|$)")


def what_else(part: Part) -> str:
    """One sentence, such as "a critic: images (1, 28, 28) -> one score"; empty where it could be anything."""
    for tell in (_by_kind, _by_class, _by_names, _by_shapes):
        sentence = tell(part)
        if sentence:
            return sentence
    return ""


def _by_kind(part: Part) -> str:
    if part.kind == "arrays":
        return "arrays, not a network"
    if part.kind == "keras":
        return "a Keras model: its weights are read, but GenVet does not rebuild it as a generator"
    if not part.tensors and part.graph is None:
        return "no tensors, so no network"
    return ""


def _by_class(part: Part) -> str:
    """Pickled modules carry the name of their class."""
    name = part.class_name.rpartition(".")[2]
    if re.search(r"discriminator|critic", name, re.IGNORECASE):
        return f"a critic, by the name of its class, {printable(name, 60)}"
    if re.search(r"augment", name, re.IGNORECASE):
        return f"augmentation for training, by the name of its class, {printable(name, 60)}"
    return ""


def _by_names(part: Part) -> str:
    """Tensors of well-known families."""
    critic = critic_of(part.tensors)
    if critic:
        return f"a critic: {critic}"
    n = len(part.tensors)
    for pattern, what in [
        (_OPTIMISER, "the state of an optimiser, not a network"),
        (_DIFFUSION, "part of a diffusion model, which GenVet does not rebuild"),
        (_LANGUAGE, "a transformer such as a language model"),
    ]:
        sign = next((key for key in part.tensors if pattern.search(key)), None)
        if sign is not None:
            return f"{what}: {n} tensors, {printable(sign, 60)!r} among them"
    return ""


def _by_shapes(part: Part) -> str:
    """Layers that narrow from images to a few numbers."""
    layers = [g for g in layer_shapes(part) if g.kind]
    for order in orders(layers):
        chain = weighty(order)
        if len(chain) > 1 and chained(order, transposed=False):
            takes, gives = inputs(chain[0], False), outputs(chain[-1], False)
            if chain[0].kind == "kernel" and takes <= 16:
                return _sentence(part, _images(chain), gives)
            if chain[0].kind == "linear" and gives < takes:
                shape = image_shape(takes)
                return _sentence(part, f"images {shape}" if shape else f"{takes} numbers", gives)
    return ""


def _images(chain: list[LayerShapes]) -> str:
    """What the first convolution takes; with its size where kernels of 4 halve it down to one last kernel."""
    channels = inputs(chain[0], False)
    if all(g.kind == "kernel" and g.weight[2:] == (4, 4) for g in chain):
        side = 4 * 2 ** (len(chain) - 1)
        return f"images ({channels}, {side}, {side})"
    return f"images of {channels} channel{'s' if channels > 1 else ''}"


def _sentence(part: Part, takes: str, gives: int) -> str:
    if gives == 1:
        return f"a critic: {takes} -> one score"
    if any(_ENCODER.search(key) for key in part.tensors):
        return f"an encoder: {takes} -> {gives} numbers"
    return f"a classifier: {takes} -> {gives} scores"
