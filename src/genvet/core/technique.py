"""A technique is a frozen config with one verb: calling it.

Imports no torch: what looks at files alone must not wait for it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, get_type_hints

from genvet.core.modelfile import Evidence
from genvet.core.report import Figure, Measure, Record, Table
from genvet.core.rng import Rng

if TYPE_CHECKING:
    from torch import Tensor, nn

    from genvet.core.classifier import Classifier
    from genvet.core.dataset import Dataset
    from genvet.core.generator import Generator


@dataclass(frozen=True, eq=False)
class Picture:
    """Images (n, c, h, w) or sounds (n, 1, t) in [-1, 1] on their way to a file beside the report."""

    title: str
    x: Tensor
    captions: tuple[str, ...] = ()
    caption: str = ""
    columns: int = 8


class Result:
    """What a probe measured: holds tensors, speaks numbers. Subclasses are frozen dataclasses."""

    @abstractmethod
    def summary(self) -> str:
        """One or two sentences for a reader in a hurry; a clean result states its power."""

    def measures(self) -> tuple[Measure, ...]:
        return ()

    def figures(self) -> tuple[Figure | Picture, ...]:
        return ()

    def tables(self) -> tuple[Table, ...]:
        return ()

    def evidence(self) -> tuple[Evidence, ...]:
        return ()

    def tensors(self) -> Mapping[str, Tensor]:
        """What is worth a file of its own beside the report, by name."""
        return {}

    @property
    def queries(self) -> int:
        """How many outputs of the generator it took."""
        return 0


@dataclass(frozen=True)
class Nothing:
    """The `given` of a technique that needs nothing but its target."""


class Technique(Record):
    """The knobs are the fields; the name is the file's."""

    source: ClassVar[str]
    """The paper, section and equation that it comes from."""
    smoke: ClassVar[dict[str, Any]] = {}
    """A config that runs in about a second, for the contract tests."""
    depths: ClassVar[dict[str, dict[str, Any] | None]] = {}
    """What `scan --depth` changes: quick, standard, deep. A depth set to None leaves the technique out."""
    version: ClassVar[int] = 1
    """Raised whenever the same config would measure something else."""
    signals: ClassVar[dict[str, str]] = {}
    """Measures that rise where something is planted, and what a high one means: a population calibrates them."""

    @classmethod
    def name(cls) -> str:
        """The file below its room: genvet/inspections/output/brute_force.py is output.brute_force."""
        return cls.__module__.removeprefix("genvet.").partition(".")[2]

    @classmethod
    def gift(cls) -> type[Any]:
        """Its own dataclass of what it may be given: the annotation of `given`."""
        return _hints(cls)["given"]


class Probe(Technique):
    """Measures: attacks, inspections, studies. The annotation of `target` is the access it needs."""

    def __call__(self, target: Any, given: Any, rng: Rng) -> Result:
        raise NotImplementedError

    @classmethod
    def access(cls) -> type[Any]:
        """The view of the target that it is to be handed."""
        return _hints(cls)["target"]


class Repair(Technique):
    """Changes weights so that less of what was planted is left; the generator that it is handed stays as it is."""

    def __call__(self, target: Generator, given: Any, rng: Rng) -> Generator:
        raise NotImplementedError


class Guard(Technique):
    """Stands before a view: Queries -> Queries, or Scores -> Scores. Whoever asks it, asks what it guards."""

    def __call__(self, view: Any, given: Any, rng: Rng) -> Any:
        raise NotImplementedError

    def known(self) -> Mapping[str, Callable[[Any], Any]]:
        """What an attacker who knows it does, in words, each of which makes a view of the guarded one; best first."""
        return {}

    @classmethod
    def guards(cls) -> type[Any]:
        """The view that it stands before: Queries or Scores."""
        return _hints(cls)["view"]


class Audit(Technique):
    """Looks at a data set: what it tells of people, and what a generator would make of it."""

    extra: ClassVar[str] = ""
    """The optional dependencies that it cannot do without."""
    module: ClassVar[str] = ""
    """What these install that it imports."""
    changes: ClassVar[bool] = False
    """It gives a changed data set, and runs only where that is asked for."""

    def __call__(self, dataset: Dataset, given: Any, rng: Rng) -> Result:
        raise NotImplementedError


@dataclass(frozen=True, eq=False, kw_only=True)
class Trained:
    """What a recipe hands over: networks at rest, how their losses went, and the record that their files carry."""

    losses: Mapping[str, Tensor] = field(default_factory=dict)
    """Of every step, by name, (steps,) each."""
    record: Mapping[str, Any] = field(default_factory=dict)
    """Recipe, settings, seed, data, last losses; plain enough for JSON."""


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainedGenerator(Trained):
    """A generator with averaged weights (EMA), and the network that it was trained with."""

    generator: Generator
    critic: nn.Module | None = None
    encoder: nn.Module | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainedClassifier(Trained):
    """A classifier with averaged weights (EMA)."""

    classifier: Classifier


class Recipe(Technique):
    """Trains. The device is that of the data; the same seed gives the same weights, interrupted or not."""

    nets: ClassVar[tuple[str, ...]] = ()
    """The architectures that it trains, by their names in `genvet.nets.build`."""
    example: ClassVar[tuple[int, ...]] = (1, 8, 8)
    """The shape of one sample that `smoke` can learn from, for the contract tests."""
    may_change: ClassVar[frozenset[str]] = frozenset({"steps", "rate"})
    """Fields that a run may go on with at another value than it began with."""

    def __call__(self, given: Any, rng: Rng) -> Trained:
        raise NotImplementedError

    def sample_shape(self) -> tuple[int, ...] | None:
        """The shape that samples are to be brought to when they are read; None takes them as they are."""
        return None

    def side(self) -> int | None:
        """The pixels a side that images of any size are to be brought to; None takes them as they are."""
        return None

    def reads(self) -> type[Any]:
        """What its data are to be read as: images, labelled ones, or sounds."""
        kinds: list[type[Any]] = list(get_type_hints(self.gift()).values())
        return kinds[0]


@cache
def _hints(technique: type[Technique]) -> dict[str, type[Any]]:
    return get_type_hints(technique.__call__)
