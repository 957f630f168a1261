"""`genvet attack`: the flags are the fields of the attack, and of what it may be given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genvet.cli import by_name, classifier_attack, extraction_attack, guarding, membership_attack, outcome, screen
from genvet.cli.guarding import GUARDS, Guards
from genvet.cli.opening import placed
from genvet.cli.options import REPORTING, Reporting, output_folder
from genvet.core.errors import BadInput, Unsupported

if TYPE_CHECKING:
    from genvet.core.generator import Generator
    from genvet.core.modelfile import ModelFile
    from genvet.core.technique import Probe


def attack(
    name: str,
    model: Path | None = None,
    /,
    *,
    out: Path | None = None,
    guards: Guards = GUARDS,
    common: Reporting = REPORTING,
    given: Mapping[str, Path] | None = None,
    settings: Any = None,
) -> int:
    """Attack a model of your own; `genvet attack NAME --help` lists what the attack takes.

    Backdoors go into a generator: those that train from data need no MODEL, and begin with a fresh network, by --net
    dcgan:capacity=16,latent=100. Inversions find images of what a classifier knows, through a generator as --prior.
    Memberships are told from a generator, its samples or its critic: who was in the training set, and who is exposed.
    Extractions steal a generator by its answers, and leave the stolen one.

    Parameters
    ----------
    name: str
        The attack: `genvet list attack` names them.
    model: Path
        The benign generator, or the classifier to invert; none for a training of a fresh network.
    out: Path
        Folder for the report and for what came of it: planted.safetensors and backdoor.safetensors, or the images;
        ./genvet-attack-<stem> unless given.
    """
    from genvet.files.load import load

    probe: Probe = settings if settings is not None else by_name.named(name, "attack")
    if probe.name().startswith("inversion."):
        return classifier_attack.invert(probe, model, out, common, given, guards)
    if probe.name().startswith("membership."):
        return membership_attack.expose(probe, model, out, common, given, guards)
    if probe.name().startswith("extraction."):
        return extraction_attack.steal(probe, model, out, common, given, guards)
    file = (
        load(model, net=common.net, part=common.part)
        if model
        else unread(probe, common.net, (given or {}).get("images"))
    )
    benign = placed(file, common)
    gift = by_name.gift(probe, given, benign)
    folder = out or output_folder("attack", model or Path(name))
    with screen.progress(), outcome.all_or_nothing(folder):
        result, (finding, *_) = guarding.measured(probe, benign, gift, guards, seed=common.seed, out=folder)
    paths = keep(benign if model else None, result, probe, folder)
    report = outcome.told(file, finding, "This is an attack, not a scan: the model was not vetted.")
    outcome.leave(report, folder, common.json, paths)
    return 0 if len(paths) > 1 else outcome.INCOMPLETE


def unread(probe: Probe, net: str | None, images: Path | None) -> ModelFile:
    """In place of a file, a fresh network of the size of the images; raises BadInput where the attack needs a model."""
    from genvet.core.modelfile import ModelFile
    from genvet.files.images import load_images
    from genvet.nets.build import fresh

    if not getattr(probe, "fresh", False):
        raise BadInput(f"{probe.name()} changes a model", expected="a model file", hint="name it after the attack")
    if net is None or images is None:
        raise BadInput(
            "without a model, what is to be trained?", expected="--net, such as dcgan:capacity=16, and --images"
        )
    sounds = len(fresh(net.partition(":")[0], {}).shape) == 2
    usual = {} if sounds else dict(zip(("channels", "size"), load_images(images).x.shape[1:], strict=False))
    return ModelFile(path=f"(fresh {net})", sha256="", size=0, format="none", generators={"": fresh(net, usual)})


def keep(benign: Generator | None, result: Any, probe: Probe, folder: Path) -> list[Path]:
    """The planted model and its backdoor; a bypass is no network of ours, and goes out as an attacker would send it.

    Gives their paths: the backdoor's alone where no kind of file can hold that model.
    """
    from genvet.files.backdoor import save_backdoor
    from genvet.files.bypass_out import write_bypass_onnx, write_bypass_pickle
    from genvet.files.convert import save, tensor_hash

    backdoor = replace(result.backdoor, benign=tensor_hash(benign.module.state_dict()) if benign else "")
    planted, paths = folder / "planted.safetensors", [save_backdoor(backdoor, folder / "backdoor.safetensors")]
    if not result.bypass:
        save(result.planted, planted, {"genvet.planted": probe.name()})
        return [planted, *paths]
    assert benign is not None  # a bypass needs a model
    for write, suffix in ((write_bypass_onnx, ".onnx"), (write_bypass_pickle, ".pkl")):
        try:
            tolerance = float(getattr(probe, "tolerance", 1e-6))
            paths.append(write(benign, backdoor, planted.with_suffix(suffix), tolerance))
        except Unsupported as error:
            screen.note(f"no {suffix}: {error.message}")
    if len(paths) == 1:
        screen.complain("no kind of file can hold the planted model", "its bypass was measured, and is in the report")
    return paths


def command(words: Sequence[str]) -> Callable[..., int]:
    """`attack` with the fields of the attack that these words ask for."""
    return by_name.command(attack, "attack", words)
