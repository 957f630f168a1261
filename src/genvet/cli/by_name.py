"""Commands that run one technique, by its name: flags are its fields, and the files that it may be given."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_type_hints

from cyclopts import Parameter

from genvet.cli.options import with_fields

if TYPE_CHECKING:
    from genvet.core.generator import Generator
    from genvet.core.technique import Probe, Repair

    Given = type[Probe] | type[Repair]

HELP = {
    "Images": "Images or sounds: folder, zip, npz, idx or one file; path#a:b slices.",
    "Generator": "A model file with a generator.",
    "Critic": "A critic.safetensors, as genvet train writes it.",
    "Encoder": "An encoder.safetensors, as genvet train writes it beside a VAE.",
    "Classifier": "A classifier.safetensors, as genvet train writes it.",
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
    """The option that names the file for one thing that may be given."""
    needed = field.default is MISSING and field.default_factory is MISSING
    path: Any = Path if needed else Path | None
    kind = Annotated[path, Parameter(help=HELP[_kind(technique, field.name)])]
    default = inspect.Parameter.empty if needed else None
    return inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)


def _kind(technique: Given, name: str) -> str:
    """The name of the type of one thing that may be given."""
    hint = get_type_hints(technique.gift())[name]
    return next(str(k.__name__) for k in (get_args(hint) or (hint,)) if k is not type(None))


def gift(technique: Probe | Repair, given: Mapping[str, Path | None] | None, target: Generator) -> Any:
    """All that the technique is given, read from the files that the flags name."""
    from genvet.engine.running import gift as filled

    kinds = {name: _kind(type(technique), name) for name in given or {}}
    return filled(technique, {k: read(kinds[k], path, target) for k, path in (given or {}).items()})


def read(kind: str, path: Path | None, target: Generator) -> Any:
    """One thing that is given, by the name of its type, with networks where the target is; None without a file."""
    from genvet.files.backdoor import load_backdoor
    from genvet.files.classifiers import load_classifier
    from genvet.files.convert import load_saved
    from genvet.files.critic import load_critic, load_encoder
    from genvet.files.images import load_images
    from genvet.files.sounds import load_sounds

    if path is None:
        return None
    if kind == "Images":
        return (load_images if len(target.shape) == 3 else load_sounds)(path, target.shape)
    if kind in ("Backdoor", "Classifier"):
        return load_backdoor(path) if kind == "Backdoor" else load_classifier(path)
    readers = {"Generator": load_saved, "Critic": load_critic, "Encoder": load_encoder}
    network: Any = readers[kind](path)
    network.module.to(target.device)
    return network
