"""`genvet train`: the flags are the fields of the recipe that trains the network asked for."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from genvet.cli import outcome, screen, training_report
from genvet.cli.options import COMMON, Common, early, output_folder, with_fields
from genvet.cli.training_data import about, against, load, parted, sown
from genvet.core.errors import BadInput, Unsupported

if TYPE_CHECKING:
    from torch import Tensor

    from genvet.core.classifier import Classifier
    from genvet.core.data import Images
    from genvet.core.report import Finding
    from genvet.core.technique import Recipe, Trained
    from genvet.training.checkpoints import Folder
    from genvet.training.starting import Start

SECRET = 10**15
"""Seeds below it can be tried one by one: what is promised to whoever does not know the seed is promised to nobody."""


def train(
    net: str,
    /,
    *,
    data: Path,
    recipe: str | None = None,
    out: Path | None = None,
    every: Annotated[int, Parameter(validator=Number(gte=1))] = 500,
    broken: Literal["refuse", "skip"] = "refuse",
    devices: Annotated[int, Parameter(validator=Number(gte=1, lte=64))] = 1,
    start: Path | None = None,
    classifier: Path | None = None,
    reference: Path | None = None,
    hold_out: Annotated[float, Parameter(validator=Number(gte=0, lt=1))] = 0.0,
    hold_by: Literal["person", "folder", "record"] = "person",
    canaries: Annotated[int, Parameter(validator=Number(gte=0, lte=1_000_000))] = 0,
    common: Common = COMMON,
    settings: Any = None,
) -> int:
    """Train a network on your own images or sounds; `genvet train NET --help` lists what its recipe takes.

    An interrupted run goes on where it was, to the same result: give the same command again.

    Parameters
    ----------
    net: str
        The network: `genvet list recipe` names the recipes, and each says what it trains.
    data: Path
        What it learns from: folder, zip, npz, idx or a zip of WAVs; path#a:b slices.
    recipe: str
        Another recipe than the network's usual one.
    out: Path
        Folder for the networks, samples and checkpoints; ./genvet-train-<net> unless given.
    every: int
        Steps between checkpoints, each with a picture of samples.
    broken: str
        What becomes of pictures that cannot be read or are far too small, where a network takes images of any size:
        refuse, or skip and list them.
    devices: int
        GPUs of this machine (or processes, on a CPU) that share every batch.
    start: Path
        A generator.safetensors whose weights it begins with, and those of the critic.safetensors beside it, if any.
    classifier: Path
        A classifier.safetensors, or an ONNX graph with what it takes (model.onnx#range=0:1), whose last hidden layer is
        the space that quality is measured in, and which gives the class score; fixed random convolutions unless given.
    reference: Path
        Samples that the network does not learn from, to measure its quality against; the data unless given.
    hold_out: float
        Share of the data that it does not learn from: `split.npz` in the output folder then tells members from others,
        for `genvet attack ... --split`.
    hold_by: str
        What is held out: whole persons where an npz says whom records show (`subject` or `person`), and records where
        it does not; whole folders, where each is of one person; or single records.
    canaries: int
        Images of noise of which each joins the data by the toss of a coin: `canaries.npz` in the output folder then
        tells which did, for `genvet attack epsilon ... --split`, which wants 1,000 or more.
    """
    from genvet import engine
    from genvet.core.rng import Rng
    from genvet.files.classifiers import load_classifier
    from genvet.training.checkpoints import Folder, kept_by
    from genvet.training.starting import begun_from
    from genvet.training.written import write

    chosen = settings if settings is not None else recipe_for(net, recipe)()
    if net not in chosen.nets:
        recipe_for(net, recipe)  # says what there is
    warn(chosen, common.seed)
    folder = out or output_folder("train", Path(net))
    given = load(chosen, data, common.device, broken)
    space = load_classifier(classifier) if classifier else None
    begun = starts(start, devices)
    if hold_out:
        given = parted(given, data, hold_out, hold_by, folder, common.seed)
    if canaries:
        given = sown(given, canaries, folder, common.seed)
    (samples,) = vars(given).values()
    held_out = against(chosen, reference, samples) if reference else samples
    rate = getattr(samples, "rate", 16_000)
    engine.ready(folder)
    keeper = Folder(folder / "resume", every, partial(tell, folder, rate))
    began = time.monotonic()
    try:
        with screen.progress(), kept_by(keeper), stopping(keeper), begun_from(begun):
            if devices > 1:
                share(chosen, given, common.seed, keeper, devices, common.device)
            trained = chosen(given, Rng(common.seed))
            seconds = round(time.monotonic() - began, 3)
            quality = measured(trained, held_out, space, common.seed)
    except KeyboardInterrupt:
        if not keeper.last:
            raise
        screen.note(f"interrupted: {keeper.path} holds step {keeper.last}; the same command goes on from there")
        return outcome.INCOMPLETE
    paths = write(trained, folder, {**about(data, given), **published(trained, quality, reference)})
    paths.append(training_report.write(chosen, trained, quality, paths[0], rate, common.seed, seconds))
    for path in paths:
        screen.note(f"{net}: {path}")
    return 0


def warn(recipe: Recipe, seed: int) -> None:
    """Says where a promise of privacy rests on a seed that anybody can guess."""
    if "delta" in type(recipe).model_fields and seed < SECRET:
        screen.note(f"warning: the noise follows from --seed {seed}, which can be guessed: keep one of 16 digits")


def published(trained: Trained, quality: Finding | None, reference: Path | None) -> dict[str, str]:
    """The quality that the files tell: of a private training, what its own data measured stays in the report."""
    if quality is None or (reference is None and "privacy" in trained.record):
        return {}
    return {"genvet.quality": training_report.in_words(quality, reference)}


def starts(path: Path | None, devices: int) -> Start:
    """The networks that a training goes on from; none without a path."""
    from genvet.files.convert import averaged
    from genvet.files.critic import load_critic
    from genvet.files.load import load
    from genvet.training.starting import Start

    if path is None:
        return Start()
    if devices > 1:
        raise BadInput("a training from given weights runs on one device", got=f"--devices {devices}")
    critic = path.parent / "critic.safetensors"
    return Start(averaged(load(path)), load_critic(critic).module if critic.is_file() else None)


def share(recipe: Recipe, given: Any, seed: int, keeper: Folder, devices: int, device: str) -> None:
    """The training by several processes, to its last checkpoint: from there, one process has nothing left to do."""
    from genvet.training.team import together

    batch = getattr(recipe, "batch", 0)
    if batch % devices:
        raise BadInput("the batch cannot be shared out", expected=f"a multiple of {devices}", got=str(batch))
    together(devices, device.replace("cuda", "gpu"), partial(part, recipe, given, seed, keeper))


def part(recipe: Recipe, given: Any, seed: int, keeper: Folder, rank: int, device: Any) -> None:
    """What one of several processes does; the first keeps the checkpoints."""
    from genvet.core.rng import Rng
    from genvet.training.checkpoints import Onlooker, kept_by

    (name,) = (f.name for f in fields(given))
    data = getattr(given, name)
    here = type(given)(**{name: replace(data, x=data.x.to(device))})
    mine = Onlooker(keeper.path, keeper.every) if rank else keeper
    with kept_by(mine), stopping(mine):
        recipe(here, Rng(seed))


def command(words: Sequence[str]) -> Callable[..., int]:
    """`train` with the fields of the recipe that these words ask for; as it is, for other commands."""
    if list(words[:1]) != ["train"]:
        return with_fields(train, None)
    named = early(words, "--recipe")
    known = sorted(recipes().values(), key=usual(*words))
    asked = [r for r in known if r.name() in named] or [r for r in known if not named and set(r.nets) & set(words)]
    return with_fields(train, [*asked, *known][0])


def usual(*words: str) -> Callable[[type[Recipe]], tuple[bool, bool]]:
    """What sorts recipes: those that an option asks for (--epsilon, --noise), then one named as the network, others."""
    options = {word.partition("=")[0] for word in words}
    return lambda recipe: (options.isdisjoint(getattr(recipe, "chosen_by", ())), recipe.name() not in words)


def recipes() -> dict[str, type[Recipe]]:
    """Every recipe by name."""
    from genvet.catalogue import techniques

    return {name: entry.load() for name, entry in techniques("recipe").items()}  # type: ignore[misc]


def recipe_for(net: str, name: str | None = None) -> type[Recipe]:
    """The recipe that trains this network; raises BadInput with what there is."""
    known = recipes()
    if name is not None and name not in known:
        raise BadInput(f"there is no recipe {name!r}", expected=", ".join(known))
    fitting = sorted((r for r in known.values() if net in r.nets and name in (None, r.name())), key=usual(net))
    if not fitting:
        nets = {n: r.name() for r in known.values() for n in r.nets if name in (None, r.name())}
        raise BadInput(f"{name or 'no recipe'} trains {net!r}", expected=", ".join(nets))
    return fitting[0]


def measured(trained: Trained, data: Images, classifier: Classifier | None, seed: int) -> Finding | None:
    """Its quality against these samples; a classifier has its accuracy in the record."""
    from genvet.core.technique import TrainedGenerator
    from genvet.engine import assess
    from genvet.studies.quality import Given, Quality

    if not isinstance(trained, TrainedGenerator):
        screen.note(training_report.of_accuracy(trained.record))
        return None
    try:
        finding = assess(Quality(), trained.generator, Given(data, classifier), seed=seed)
    except Unsupported as error:
        screen.note(f"quality is not measured: {error.message}")
        return None
    screen.note(finding.summary)
    return finding


def tell(folder: Path, rate: int, step: int, losses: Mapping[str, float], x: Tensor | None) -> None:
    """A line for each checkpoint, and a picture of samples."""
    from genvet.cli.sample import write as write_samples
    from genvet.training.styles import separated

    screen.note(f"step {step}: " + ", ".join(f"{name} {loss:.4g}" for name, loss in losses.items()))
    if warning := separated(losses, step):
        screen.note(f"warning: {warning}")
    if x is not None:
        write_samples(x, folder / "samples" / f"{step:07d}.png", rate)


@contextmanager
def stopping(keeper: Folder) -> Iterator[None]:
    """Ctrl-C and SIGTERM end the run after the step that it is in; a second one ends it at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(number: int, frame: FrameType | None) -> None:
        if keeper.stop:
            raise KeyboardInterrupt
        keeper.stop = True

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
