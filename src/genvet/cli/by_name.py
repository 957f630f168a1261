"""Commands that run one technique, by its name: flags are its fields, and the files that it may be given."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin, get_type_hints

from cyclopts import Parameter

from genvet.cli.options import with_fields

if TYPE_CHECKING:
    from genvet.core.classifier import Classifier
    from genvet.core.generator import Generator
    from genvet.core.technique import Guard, Probe, Repair

    Given = type[Probe] | type[Repair] | type[Guard]

HELP = {
    "Images": "Images or sounds: folder, zip, npz, idx or one file; path#a:b slices.",
    "Split": "Members and non-members: an npz with images and `member`, or a folder with members/ and non-members/.",
    "Labelled": "Images with their classes: a folder a class, npz with labels, or idx with its labels.",
    "Generator": "A model file with a generator.",
    "Critic": "A critic.safetensors, as genvet train writes it.",
    "Encoder": "An encoder.safetensors, as genvet train writes it beside a VAE.",
    "Classifier": "A classifier.safetensors of genvet train, or an ONNX graph: model.onnx#range=0:1.",
    "Perceptual": "A network's convolutions and the weights of their channels: vgg16.pth#heads=vgg.pth.",
    "Backdoor": "A backdoor.safetensors, as genvet attack writes it.",
}
"""What may be given, by its type."""


def command(run: Callable[..., int], kind: str, words: Sequence[str]) -> Callable[..., int]:
    """`run` with the fields of the technique that these words ask for; as it is, for other commands."""
    if list(words[:1]) != [run.__name__]:
        return with_fields(run, None)
    from genvet.catalogue import find, techniques

    known = techniques(kind)
    ends = {name.rpartition(".")[2]: name for name in known}
    asked = [known[ends.get(word, word)] for word in words[1:] if ends.get(word, word) in known]
    if not asked and words[1:] and not words[1].startswith("-"):
        find(words[1], kind)  # says what there is, before its options are called unknown
    technique: Any = asked[0].load() if asked else None
    return with_fields(run, technique, [_flag(technique, f) for f in fields(technique.gift())] if technique else ())


def named(name: str, kind: str) -> Any:
    """The technique of this name at its defaults; raises BadInput with near names where there is none."""
    from genvet.catalogue import find

    return find(name, kind).load()()


def _flag(technique: Given, field: Field[Any]) -> inspect.Parameter:
    """The option that names the file for one thing that may be given; said again, for several of one kind."""
    needed = field.default is MISSING and field.default_factory is MISSING
    several = get_origin(get_type_hints(technique.gift())[field.name]) is tuple
    path: Any = list[Path] | None if several else Path if needed else Path | None
    more = " May be given several times." * several
    kind = Annotated[path, Parameter(help=HELP[_kind(technique, field.name)] + more, negative="")]
    default = inspect.Parameter.empty if needed else None
    return inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)


def _kind(technique: Given, name: str) -> str:
    """The name of the type of one thing that may be given."""
    hint = get_type_hints(technique.gift())[name]
    return next(str(k.__name__) for k in (get_args(hint) or (hint,)) if k is not type(None))


Paths = Path | list[Path] | None
"""What a flag gives: one file, several, or none."""


def gift(technique: Probe | Repair | Guard, given: Mapping[str, Paths] | None, target: Generator | Classifier) -> Any:
    """All that the technique is given, read from the files that the flags name."""
    from genvet.engine.running import gift as filled

    known = {name: read_for(type(technique), name, path, target) for name, path in (given or {}).items()}
    return filled(technique, known)


def read_for(technique: Given, name: str, path: Paths, target: Generator | Classifier) -> Any:
    """One thing that a technique may be given, or several of one kind, by its name there."""
    kind = _kind(technique, name)
    return tuple(read(kind, one, target) for one in path) if isinstance(path, list) else read(kind, path, target)


def read(kind: str, path: Path | None, target: Generator | Classifier) -> Any:
    """One thing that is given, by the name of its type, with networks where the target is; None without a file."""
    from genvet.files.backdoor import load_backdoor
    from genvet.files.classifiers import load_classifier
    from genvet.files.convert import averaged
    from genvet.files.critic import load_critic, load_encoder
    from genvet.files.images import load_images
    from genvet.files.labelled import load_labelled
    from genvet.files.load import load
    from genvet.files.perceptual import load_perceptual
    from genvet.files.sounds import load_sounds
    from genvet.files.splits import load_split

    if path is None:
        return None
    if kind == "Images":
        return (load_images if len(target.shape) == 3 else load_sounds)(path, target.shape)
    if kind == "Labelled":
        return load_labelled(path, target.shape)
    if kind == "Split":
        return load_split(path, target.shape)
    if kind == "Backdoor":
        return load_backdoor(path)
    readers: dict[str, Callable[[Path], Any]] = {
        "Generator": lambda path: averaged(load(path)),
        "Classifier": load_classifier,
        "Critic": load_critic,
        "Encoder": load_encoder,
        "Perceptual": load_perceptual,
    }
    network = readers[kind](path)
    network.module.to(getattr(target, "device", "cpu"))  # a service has none
    return network
