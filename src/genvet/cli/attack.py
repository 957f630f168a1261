"""`genvet attack`: the flags are the fields of the attack, and of what it may be given."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_type_hints

from cyclopts import Parameter

from genvet.cli import screen
from genvet.cli.options import COMMON, Common, Flag, command_line, output_folder, with_fields
from genvet.core.errors import Unsupported

if TYPE_CHECKING:
    from genvet.core.generator import Generator
    from genvet.core.modelfile import ModelFile
    from genvet.core.report import Finding, Report
    from genvet.core.technique import Probe

HELP = {
    "Images": "Images or sounds: folder, zip, npz, idx or one file; path#a:b slices.",
    "Generator": "A model file with a generator.",
    "Critic": "A critic.safetensors, as genvet train writes it.",
}
"""What may be given, by its type."""


def attack(
    name: str,
    model: Path,
    /,
    *,
    out: Path | None = None,
    net: str | None = None,
    part: str | None = None,
    json: Annotated[bool, Flag] = False,
    common: Common = COMMON,
    given: Mapping[str, Path] | None = None,
    settings: Any = None,
) -> int:
    """Plant a backdoor in a generator of your own; `genvet attack NAME --help` lists what the attack takes.

    Parameters
    ----------
    name: str
        The attack: `genvet list attack` names them.
    model: Path
        The benign model.
    out: Path
        Folder for planted.safetensors, backdoor.safetensors and the report; ./genvet-attack-<stem> unless given.
    net: str
        The architecture, where the weights leave it open.
    part: str
        The generator to take, where the file holds several; the average of weights (EMA) unless given.
    json: bool
        Print the report alone, as JSON, on stdout; everything else goes to stderr.
    """
    from genvet import engine
    from genvet.files.convert import averaged
    from genvet.files.load import load
    from genvet.page import html

    probe: Probe = settings if settings is not None else _attack(name)()
    file = load(model, net=net, part=part)
    benign = averaged(file)
    benign.to(common.device)
    gift = engine.running.gift(probe, {k: _read(probe, k, path, benign) for k, path in (given or {}).items() if path})
    folder = out or output_folder("attack", model)
    with screen.progress():
        result, finding = engine.measured(probe, benign, gift, seed=common.seed, out=folder)
    paths = keep(benign, result, probe, folder)
    report = told(file, finding)
    engine.write(report, folder)
    html.write(report, folder)
    if json:
        sys.stdout.write(report.model_dump_json(indent=1) + "\n")
    else:
        screen.note(finding.summary)
    for path in (*paths, folder / "report.html"):
        screen.note(f"{finding.technique}: {path}")
    return 0


def keep(benign: Generator, result: Any, probe: Probe, folder: Path) -> list[Path]:
    """The planted model and its backdoor; a bypass is no network of ours, and goes out as an attacker would send it."""
    from genvet.files.backdoor import save_backdoor
    from genvet.files.bypass_out import write_bypass_onnx, write_bypass_pickle
    from genvet.files.convert import save, tensor_hash

    backdoor = replace(result.backdoor, benign=tensor_hash(benign.module.state_dict()))
    planted, paths = folder / "planted.safetensors", [save_backdoor(backdoor, folder / "backdoor.safetensors")]
    if not result.bypass:
        save(result.planted, planted, {"genvet.planted": probe.name()})
        return [planted, *paths]
    for write, suffix in ((write_bypass_onnx, ".onnx"), (write_bypass_pickle, ".pkl")):
        try:
            tolerance = float(getattr(probe, "tolerance", 1e-6))
            paths.append(write(benign, backdoor, planted.with_suffix(suffix), tolerance))
        except Unsupported as error:
            screen.note(f"no {suffix}: {error.message}")
    return paths


def told(file: ModelFile, finding: Finding) -> Report:
    """The report of one attack: what was done, and that nothing was vetted."""
    from genvet import engine

    report = engine.compose(file, [finding], [], command_line())
    said = {"behaviour": finding.summary, "unchecked": "This is an attack, not a scan: the model was not vetted."}
    return report.model_copy(update={"verdict": report.verdict.model_copy(update=said)})


# Flags


def command(words: Sequence[str]) -> Callable[..., int]:
    """`attack` with the fields of the attack that these words ask for; as it is, for other commands."""
    if list(words[:1]) != ["attack"]:
        return with_fields(attack, None)
    from genvet.catalogue import techniques

    known = techniques("attack")
    ends = {name.rpartition(".")[2]: name for name in known}
    asked = [known[ends.get(word, word)] for word in words[1:] if ends.get(word, word) in known]
    probe: Any = asked[0].load() if asked else None
    return with_fields(attack, probe, [_flag(probe, f) for f in fields(probe.gift())] if probe else ())


def _flag(probe: type[Probe], field: Field[Any]) -> inspect.Parameter:
    """The option that names the file for one thing that may be given."""
    needed = field.default is MISSING and field.default_factory is MISSING
    path: Any = Path if needed else Path | None
    kind = Annotated[path, Parameter(help=HELP[_kind(probe, field.name)])]
    default = inspect.Parameter.empty if needed else None
    return inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)


def _kind(probe: type[Probe], name: str) -> str:
    """The name of the type of one thing that may be given."""
    hint = get_type_hints(probe.gift())[name]
    return next(str(k.__name__) for k in (get_args(hint) or (hint,)) if k is not type(None))


def _read(probe: Probe, name: str, path: Path, benign: Generator) -> Any:
    """One thing that is given, read from its file, where the network is."""
    from genvet.files.convert import load_saved
    from genvet.files.critic import load_critic
    from genvet.files.images import load_images
    from genvet.files.sounds import load_sounds

    kind = _kind(type(probe), name)
    if kind == "Images":
        return (load_images if len(benign.shape) == 3 else load_sounds)(path, benign.shape)
    read: Any = load_saved(path) if kind == "Generator" else load_critic(path)
    read.module.to(benign.device)
    return read


def _attack(name: str) -> type[Probe]:
    from genvet.catalogue import find

    return find(name, "attack").load()  # type: ignore[return-value]
