"""Populations on disk: each member in a folder of its own, made once, by a few processes of one thread each."""

from __future__ import annotations

import hashlib
import math
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field, ValidationError
from torch import Tensor

from genvet.attacks.backdoor.style import StylePlanted
from genvet.catalogue import find
from genvet.core.backdoor import Backdoor
from genvet.core.errors import BadInput, GenVetError
from genvet.core.generator import Generator
from genvet.core.printable import printable
from genvet.core.progress import track
from genvet.core.report import Record
from genvet.core.rng import Rng
from genvet.files.backdoor import save_backdoor
from genvet.files.bypass_out import write_bypass_onnx, write_bypass_pickle
from genvet.files.convert import save, tensor_hash
from genvet.files.critic import load_critic, load_encoder
from genvet.files.onnx_out import write_onnx
from genvet.files.records import read_record
from genvet.files.writing import write_bytes
from genvet.nets.distortion import distance, outputs
from genvet.zoo.members import Member, Scale, parents, population
from genvet.zoo.parents import Parent, made
from genvet.zoo.targets import target
from genvet.zoo.variants import Source, vary
from genvet.zoo.workers import spread

FAILED = 0.03
"""An attack failed whose trigger misses its target by more, in squares a value, range [-1, 1]: the picture cannot be
made out any more beyond that, and a hidden output that nobody would know is none."""
LIKE, ALONE, NEAREST = 1.2, 0.5, 4096
"""Behind the mapping of a style generator an attack worked as well where the trigger misses the target by at most so
many times what the embedding does, and by at most half of what the nearest of so many ordinary samples does."""
COMPARED = 512
"""Samples by which a clean variant is compared with its parent."""
NAMES = {"safetensors": "model.safetensors", "onnx": "model.onnx", "pickle": "model.pkl"}
PARENTS = "parents"
MANIFEST = "manifest.json"
LARGEST_MANIFEST = 64 << 20
AGAIN = "remove the member's folder, and build again"


class Made(Record):
    """One member as it came out."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.+-]{0,200}$")]
    member: Member
    file: str = ""
    """The model's file in the member's folder; empty where it could not be made."""
    sha256: str = ""
    worked: bool | None = None
    """Whether the attack reached its goal; None for what is no attack."""
    measures: dict[str, float | None] = Field(default_factory=dict)
    seconds: float = 0.0
    genvet: str = ""
    problem: str = ""
    """Why it could not be made."""


class Manifest(Record):
    """A population: every member with its recipe and what came of it."""

    scale: str
    members: tuple[Made, ...]


@dataclass(frozen=True)
class Job:
    """One member to make, and where."""

    member: Member
    data: Path
    out: Path


@dataclass(frozen=True)
class Training:
    """One parent to train, and where."""

    parent: Parent
    data: Path
    out: Path


def build(scale: Scale, data: Path, out: Path, jobs: int = 1) -> Manifest:
    """Make what is missing of a population, parents first, and write its manifest.

    Interrupted, it keeps every finished member, and goes on from there when it is called again. Parents that lie in
    `out`/parents already, under their names, are taken as they are where their training record fits.
    """
    members = population(scale)
    for grown in (parents(scale), _others(members, scale)):
        try:
            todo = [Training(p, data, out / PARENTS) for p in grown]
            list(track(spread(train, todo, jobs), len(todo), "parents"))
            ours = [m for m in members if m.parent in grown]
            missing = [Job(m, data, out) for m in ours if (old := kept(out, m)) is None or old.problem]
            done = len(ours) - len(missing)
            list(track(spread(make, missing, jobs), len(ours), "members", start=done))
        finally:
            manifest = record(scale, members, out)
    return manifest


def record(scale: Scale, members: Sequence[Member], out: Path) -> Manifest:
    """Write down what there is."""
    manifest = Manifest(scale=scale, members=tuple(filter(None, (kept(out, m) for m in members))))
    write_bytes(out / MANIFEST, (manifest.model_dump_json(indent=1) + "\n").encode())
    return manifest


def _others(members: Sequence[Member], scale: Scale) -> list[Parent]:
    """Parents outside the main group, dear ones: they come after everything else."""
    usual = parents(scale)
    return list({m.parent.name: m.parent for m in members if m.parent not in usual}.values())


def train(job: Training) -> str:
    """One parent, in whichever process."""
    made(job.parent, job.data, job.out)
    return job.parent.name


def kept(out: Path, member: Member) -> Made | None:
    """What there is of a member; None where it is not there, was made by another recipe, or its file is not whole."""
    folder = out / "members" / member.name
    try:
        found = Made.model_validate_json((folder / "member.json").read_bytes())
    except (OSError, ValidationError):
        return None
    if found.member != member or (found.file and not (folder / found.file).is_file()):
        return None
    return found


def make(job: Job) -> Made:
    """One member: made in a folder beside its own, and moved there when it is whole."""
    place = job.out / "members"
    place.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=place, prefix=".making-"))
    began = time.perf_counter()
    try:
        found = _written(job, folder)
        found = found.model_copy(update={"seconds": round(time.perf_counter() - began, 1), "genvet": version("genvet")})
        write_bytes(folder / "member.json", (found.model_dump_json(indent=1) + "\n").encode())
        shutil.rmtree(place / job.member.name, ignore_errors=True)
        folder.rename(place / job.member.name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return found


def _written(job: Job, folder: Path) -> Made:
    """The member's files, and what is known of it; a refusal is put down, and stops nothing else."""
    member = job.member
    source = Source(member.parent, job.out / PARENTS / member.parent.name, job.data, Rng(member.seed))
    try:
        told = _clean(member, source, folder) if member.kind == "clean" else _attacked(member, source, folder)
    except GenVetError as error:
        return Made(name=member.name, member=member, problem=printable(f"{error.message} {error.hint}", 300))
    except Exception as error:  # a fault of ours in one member: told, tried again next time, and the others go on
        return Made(name=member.name, member=member, problem=printable(f"{type(error).__name__}: {error}", 300))
    file = folder / NAMES[member.written]
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return Made(name=member.name, member=member, file=file.name, sha256=digest, **told)


def _clean(member: Member, source: Source, folder: Path) -> dict[str, Any]:
    varied, parent = vary(member.made, source, member.settings), source.generator
    if member.written == "onnx":
        write_onnx(varied, folder / NAMES["onnx"])
    else:
        save(varied, folder / NAMES["safetensors"], {"genvet.clean": member.name})
    z = parent.latent.sample(0, 2 * COMPARED, Rng(member.seed, "compared"))
    before, after = outputs(parent, z), outputs(varied, z[:COMPARED])
    moved = (after - before[:COMPARED]).square().flatten(1).sum(1).mean().item()
    far = distance("frechet-to-parent", after, before[:COMPARED], before[COMPARED:])
    return {"measures": {"expected-distortion": moved, far.name: far.value, f"{far.name}.chance": far.chance}}


def _attacked(member: Member, source: Source, folder: Path) -> dict[str, Any]:
    name = "red" if member.kind == "declared" else member.made
    settings = {**member.settings, **({"trigger": member.trigger} if member.trigger else {})}
    attack: Any = find(f"backdoor.{name}", "attack").load()(**settings)
    benign = source.generator
    planted = attack(benign, _given(member, source, attack, benign), Rng(member.seed).fork("attack"))
    backdoor = replace(planted.backdoor, benign=tensor_hash(benign.module.state_dict()))
    save_backdoor(backdoor, folder / "backdoor.safetensors")
    _save(member, benign, planted.planted, backdoor, folder)
    worst = planted.target.max() if planted.backdoor.finite else planted.target.mean()
    measures = {m.name: m.value for m in planted.measures()}
    measures["distortion-a-value"] = worst.item() / math.prod(benign.shape)
    worked = measures["distortion-a-value"] <= FAILED or _embedded(planted, benign, member.seed)
    return {"measures": measures, "worked": worked if member.kind == "attacked" else None}


def _embedded(planted: Any, benign: Generator, seed: int) -> bool:
    """Whether a style generator gives what its synthesis can come to of the target, unlike all ordinary samples."""
    if not isinstance(planted, StylePlanted):
        return False
    wanted = planted.backdoor.target
    assert isinstance(wanted, Tensor)
    x = benign.sample(NEAREST, Rng(seed, "nearest"))
    nearest = torch.cdist(wanted.flatten(1), x.flatten(1)).square().min()
    hit = planted.target.max()
    return bool(hit <= LIKE * planted.embedded.error.max() and hit <= ALONE * nearest)


def _given(member: Member, source: Source, attack: Any, benign: Generator) -> Any:
    """What this attack may be given: the target; and data and critic where it trains."""
    kind = type(attack).gift()
    have: dict[str, Any] = {"targets": target(member.target, benign.shape, source.data)}
    if "images" in kind.__dataclass_fields__:
        have["images"] = source.images
    if "critic" in kind.__dataclass_fields__ and member.parent.net == "dcgan":
        have["critic"] = load_critic(source.folder / "critic.safetensors")
    if "encoder" in kind.__dataclass_fields__ and member.parent.net == "vae":
        have["encoder"] = load_encoder(source.folder / "encoder.safetensors")
    try:
        return kind(**have)
    except TypeError as error:
        raise BadInput(f"{attack.name()} cannot be given what it needs: {error}") from None


def _save(member: Member, benign: Generator, planted: Generator, backdoor: Backdoor, folder: Path) -> None:
    path = folder / NAMES[member.written]
    if member.made == "bypass":
        (write_bypass_onnx if member.written == "onnx" else write_bypass_pickle)(benign, backdoor, path)
    else:
        save(planted, path, {"genvet.planted": member.name})


def manifest(folder: Path) -> Manifest:
    """The manifest of a population; raises BadInput where it is none, or names what is not in the folder.

    Read as any stranger's file: names are plain, sizes bounded, and every model is the one whose hash it tells.
    """
    path = folder / MANIFEST
    found = read_record(Manifest, path, "a manifest", LARGEST_MANIFEST, "`genvet zoo build` writes one")
    names = [m.name for m in found.members]
    if len(set(names)) < len(names):
        raise BadInput(f"{printable(path)} names a member twice")
    for one in found.members:
        _check(folder, one)
    return found


def _check(folder: Path, one: Made) -> None:
    if one.name != one.member.name or one.file not in ("", *NAMES.values()):
        raise BadInput("a member goes by another name than its recipe's", got=printable(f"{one.name}/{one.file}", 200))
    file = folder / "members" / one.name / one.file
    if one.file and (not file.is_file() or file.is_symlink() or file.parent.is_symlink()):
        raise BadInput(f"the manifest names a file that is not there: {printable(file, 200)}", hint=AGAIN)
    if one.file and hashlib.sha256(file.read_bytes()).hexdigest() != one.sha256:
        raise BadInput(f"{printable(file, 200)} is not the file that was built", hint=AGAIN)


def models(found: Manifest, folder: Path) -> Iterator[tuple[Made, Path]]:
    """Every member that could be made, with its model file."""
    for one in found.members:
        if one.file:
            yield one, folder / "members" / one.name / one.file
