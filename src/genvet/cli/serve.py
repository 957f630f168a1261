"""`genvet serve`: a guarded endpoint, the keys that open it, and a look at its audit log."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter
from cyclopts.validators import Number

from genvet.cli import screen
from genvet.cli.opening import opened
from genvet.cli.options import DEBUGGING, Debugging, Device, Flag, Opening, output_folder
from genvet.cli.serve_ledger import ready, service, verify
from genvet.core.errors import BadInput, GenVetError

if TYPE_CHECKING:
    from genvet.core.classifier import Classifier
    from genvet.core.generator import Generator
    from genvet.serve.home import Home
    from genvet.serve.policy import Policy
    from genvet.serve.service import Service, Stands


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Listening:
    """Where clients find the service."""

    host: str = "127.0.0.1"
    """The address to listen on; this machine alone can reach the default."""
    port: Annotated[int, Parameter(validator=Number(gte=0, lte=65535))] = 8000
    """Where to listen; 0 takes any free port."""
    workers: Annotated[int, Parameter(validator=Number(gte=1, lte=64))] = 1
    """Processes, each of which holds the model; all share one database."""
    certificate: Path | None = None
    """A TLS certificate with its chain, in PEM; without one, keys and images travel in the open."""
    certificate_key: Path | None = None
    """The certificate's private key, in PEM."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Placing(Debugging):
    """Which model of the file, and where it runs; no seed: what a service draws, nobody is to foretell."""

    device: Device = "auto"
    """Where the network runs."""
    net: str | None = None
    """The architecture, where the weights leave it open."""
    part: str | None = None
    """The generator to take, where the file holds several; the average of weights (EMA) unless given."""

    def opening(self) -> Opening:
        return Opening(device=self.device, net=self.net, part=self.part)


LISTENING, PLACING = Listening(), Placing()


def app() -> App:
    """The service, and what belongs to it."""
    every = App(name="serve", help="Serve a generator or a classifier behind a policy; keys, and the audit log.")
    every.default(serve)
    of_keys = App(name="keys", help="Who may ask: add, list and revoke keys.")
    for command, name in ((add, "add"), (listed, "list"), (revoke, "revoke")):
        of_keys.command(command, name=name)
    every.command(of_keys)
    every.command(verify)
    return every


def serve(
    model: Path,
    /,
    *,
    policy: Path,
    out: Path | None = None,
    listening: Listening = LISTENING,
    common: Placing = PLACING,
) -> int:
    """Serve a model behind a policy: keys, budgets, guards, batches, a review queue and an audit log.

    The database is a file in the folder, or at GENVET_DATABASE: several machines may share one. The audit log's key is
    a file there too, or GENVET_LEDGER_KEY. SIGTERM or Ctrl-C ends it, after what was accepted is answered.

    Parameters
    ----------
    model: Path
        The model file: a generator, or a classifier. It is not vetted here: genvet scan does that.
    policy: Path
        policy.toml: limits, latents, guards in their order.
    out: Path
        Folder for the database, and for the audit log's key and head; ./genvet-serve-<stem> unless given.
    """
    ready()
    from genvet.serve import logs, running, workers
    from genvet.serve.app import build
    from genvet.serve.explore import is_local
    from genvet.serve.home import Home

    home = Home(out or output_folder("serve", model))
    handed = workers.inherited()
    certificate = certified(listening)
    if listening.workers > 1 and handed is None:
        home.store().engine.dispose()  # what does not fit is said once, and not by each worker
        with running.listening(listening.host, listening.port) as bound:
            screen.out().print(running.address(bound, certificate is not None), soft_wrap=True)
            return workers.supervise(sys.argv[1:], listening.workers, bound)
    served, close = built(model, policy, home, common.opening())
    bound = handed or running.listening(listening.host, listening.port)
    if handed is None:
        screen.out().print(running.address(bound, certificate is not None), soft_wrap=True)
        if not is_local(listening.host) and certificate is None:
            screen.note("warning: keys and images travel in the open; give --certificate, or put a proxy before it")
    logs.configured()
    running.run(build(served, close), bound, served.policy.limits.seconds, certificate)
    return 0


def add(
    name: str,
    /,
    *,
    policy: Path | None = None,
    budget: Annotated[int | None, Parameter(validator=Number(gte=0))] = None,
    rate: Annotated[float | None, Parameter(validator=Number(gt=0))] = None,
    burst: Annotated[int | None, Parameter(validator=Number(gte=1))] = None,
    operator: Annotated[bool, Flag] = False,
    out: Path | None = None,
    common: Debugging = DEBUGGING,
) -> int:
    """Make a key and show it, once: the database keeps its SHA-256 alone. Clients put it into GENVET_KEY.

    Parameters
    ----------
    name: str
        The client's.
    policy: Path
        policy.toml, whose `clients` say what a new client gets; 10,000 queries at any rate without.
    budget: int
        Queries that the client may ask, rather than the policy's.
    rate: float
        Queries a second.
    burst: int
        Queries at once.
    operator: bool
        The key also opens the page, the metrics and the review queue, and has no budget.
    out: Path
        The service's folder, where there are several here.
    """
    ready()
    from genvet.serve import keys
    from genvet.serve.policy import Policy, read

    usual = (read(policy) if policy else Policy()).clients
    how = {"budget": usual.budget if budget is None else budget, "rate": rate or usual.rate}
    how = {**({} if operator else how), "burst": burst or usual.burst}
    with in_words():
        key = keys.added(service(out).store(), name, role="operator" if operator else "client", **how)  # type: ignore[arg-type]
    screen.out().print(key, soft_wrap=True)
    screen.note("this key is shown once; its client puts it into GENVET_KEY")
    return 0


def listed(*, out: Path | None = None, common: Debugging = DEBUGGING) -> int:
    """Name all clients, with what they have used of their budgets.

    Parameters
    ----------
    out: Path
        The service's folder, where there are several here.
    """
    ready()
    from genvet.serve import keys

    with in_words():
        every = [keys.told(row) for row in service(out).store().clients()]
    for told in every:
        budget = "any number" if told["budget"] is None else told["budget"]
        words = [f"{told['name']}: {told['role']}, {told['used']} of {budget} queries"]
        words += [f"{told['rate']:g} a second"] if told["rate"] else []
        words += ["revoked"] * told["revoked"]
        screen.out().print(", ".join(words), soft_wrap=True)
    return 0


def revoke(name: str, /, *, out: Path | None = None, common: Debugging = DEBUGGING) -> int:
    """Take a client's key back, from the next request on.

    Parameters
    ----------
    name: str
        The client's.
    out: Path
        The service's folder, where there are several here.
    """
    ready()
    from genvet.serve import keys

    with in_words():
        keys.revoked(service(out).store(), name)
    return 0


@contextmanager
def in_words() -> Iterator[None]:
    """What the database has to say, as an error of the command."""
    from genvet.serve.problems import Problem

    try:
        yield
    except Problem as problem:
        raise BadInput(problem.detail) from None


def certified(listening: Listening) -> Any:
    """The certificate, where there is one; raises BadInput for half of it."""
    from genvet.serve.running import Certificate

    if (listening.certificate is None) != (listening.certificate_key is None):
        raise BadInput("a certificate goes with its key", expected="--certificate and --certificate-key")
    if listening.certificate is None or listening.certificate_key is None:
        return None
    return Certificate(listening.certificate, listening.certificate_key)


def built(path: Path, policy: Path, home: Home, common: Opening) -> tuple[Service, Any]:
    """The service of a model's file and a policy's, and what ends what it stands on."""
    from genvet.core.generator import Generator
    from genvet.core.queries import Queries
    from genvet.core.scores import Scores
    from genvet.serve.policy import guards, read
    from genvet.serve.service import Service

    held: Policy = read(policy)
    model = held_by(path, common)
    kind: type[Any] = Queries if isinstance(model, Generator) else Scores
    standing = [stood(one, model) for one in guards(held, policy.resolve().parent, kind)]
    store = home.store()
    log = home.ledger(store)

    def close() -> None:
        log.close()
        store.engine.dispose()

    return Service(model, held, store, secret=home.secret(), log=log, guards=standing), close


def held_by(path: Path, common: Opening) -> Generator | Classifier:
    """The generator of a file, or else its classifier."""
    from genvet.files.classifiers import load_classifier

    try:
        return opened(path, common)[1]
    except GenVetError as why:
        try:
            classifier = load_classifier(path)
        except GenVetError:
            raise why from None
        classifier.to(common.device)
        return classifier


def stood(asked: Any, model: Generator | Classifier) -> Stands:
    """A guard of the policy, with its files read."""
    from genvet.cli.by_name import read_for
    from genvet.engine.running import gift
    from genvet.serve.service import Stands

    have = {name: read_for(type(asked.guard), name, path, model) for name, path in asked.files.items()}
    return Stands(asked.guard, gift(asked.guard, have), asked.otherwise)
