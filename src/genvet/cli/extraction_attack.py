"""What `genvet attack` does where it steals a generator: a report, and the stolen one with its critic beside it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genvet.cli import by_name, guarding, outcome, screen
from genvet.cli.guarding import GUARDS, Guards
from genvet.cli.options import Reporting, output_folder
from genvet.cli.served import served, target
from genvet.core.errors import BadInput

if TYPE_CHECKING:
    from genvet.core.technique import Probe

EVERY = 500
"""Steps of the attacker's training from one checkpoint to the next."""


def steal(
    probe: Probe,
    model: Path | None,
    out: Path | None,
    common: Reporting,
    given: Mapping[str, by_name.Paths] | None,
    guards: Guards = GUARDS,
) -> int:
    """Run an extraction on the generator of a file, or of an address."""
    from genvet.training.checkpoints import Folder, kept_by

    if model is None:
        raise BadInput(f"{probe.name()} steals a generator", expected="its file", hint="name it after the attack")
    folder = out or output_folder("attack", model)
    file, generator = target(model, common, folder)
    gift = by_name.gift(probe, given, generator)
    if gift.undefended is None and not served(model):
        gift = replace(gift, undefended=generator)  # what is stolen is held against the target, not against its guard
    # One training keeps its state, and the same command goes on from there; several would not know which is whose.
    keeping: Any = nullcontext() if guards.guard else kept_by(Folder(folder / "resume", EVERY))
    with screen.progress(), outcome.leaving_nothing_empty(folder), keeping:
        result, findings = guarding.measured(probe, generator, gift, guards, seed=common.seed, out=folder)
    paths = keep(result, probe, folder)
    report = outcome.told(file, findings, "This is an attack, not a scan: the model was not vetted.")
    outcome.leave(report, folder, common.json, paths)
    return 0


def keep(result: Any, probe: Probe, folder: Path) -> list[Path]:
    """The stolen generator and its critic, in the files that a training leaves."""
    from genvet.files.convert import save, save_part

    stolen, paths = result.stolen, [folder / "stolen.safetensors"]
    about = {"genvet.attack": probe.name(), "genvet.training": str(stolen.metadata.get("genvet.training", ""))}
    save(stolen, paths[0], about)
    if result.critic is not None:
        paths.append(folder / "critic.safetensors")
        of = {"genvet.of": str(stolen.metadata["genvet.config"]), "genvet.part": f"{stolen.name} critic"}
        save_part(result.critic, paths[1], {**about, **of})
    return paths
