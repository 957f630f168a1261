"""The objects in NVlabs' StyleGAN files: persistent objects with their source text, and TensorFlow networks.

Loading such a file runs the text. Here it is only judged (files.texts.source) and the tensors are read beside it.
Standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from genvet.core.modelfile import Part, TensorSpec
from genvet.files.pickles.inert import BytesLike, Global, Record
from genvet.files.pickles.modules import Tensors, class_of, is_persistent, mapping, meta
from genvet.files.pickles.settings import jsonable
from genvet.files.reading import Reading
from genvet.files.texts import source

_VERSION = 6
# In the first two lines: Python reads bytes, but not texts, as the encoding says that is named there.
_COOKIE = re.compile(rb"(?:[^\r\n]*(?:\r\n?|\n))?[ \t\f]*#[^\r\n]*coding[:=]")
_NETWORK = "Network"


def is_network(value: Any) -> bool:
    """A network of TensorFlow's StyleGAN 1 and 2, as a record."""
    return (
        isinstance(value, Record)
        and isinstance(value.callee, Global)
        and value.callee.name == _NETWORK
        and "tflib" in value.callee.module.split(".")  # dnnlib.tflib hands the class on as well
        and value.state is not None
    )


def persistent_part(record: Record, name: str, tensors: Tensors) -> Part | None:
    """The module as a part: tensors by dotted names, and what its constructor was given."""
    found = tensors.flatten(record)
    state = mapping(meta(record).get("state")) or {}
    config = jsonable(state.get("_init_kwargs", {}))
    if not isinstance(config, dict):
        config = {"_init_kwargs": config}
    if state.get("_init_args"):
        config["_init_args"] = jsonable(state["_init_args"])
    if not found:
        return None
    return Part(name=name, kind="persistent", class_name=class_of(record), config=config, tensors=found)


def network_part(record: Record, name: str, tensors: Tensors) -> Part | None:
    """The network as a part: variables of its components under "mapping/..." and "synthesis/..."."""
    found: dict[str, TensorSpec] = {}
    config = _settings(record, "", tensors, found, set())
    if not found:
        return None
    return Part(name=name, kind="tensorflow", class_name=_NETWORK, config=config, tensors=found)


def _settings(
    record: Record, prefix: str, tensors: Tensors, found: dict[str, TensorSpec], above: set[int]
) -> dict[str, Any]:
    """Fills `found`; gives static_kwargs with the function's name, and those of the components under "components"."""
    state = mapping(record.state) or {}
    for entry in state.get("variables") or []:
        if isinstance(entry, (tuple, list)) and len(entry) == 2 and isinstance(entry[0], str):
            spec = tensors.spec(entry[1])
            if spec is not None:
                found[prefix + entry[0]] = spec
    static = jsonable(state.get("static_kwargs", {}))
    config = {**(static if isinstance(static, dict) else {}), "build_func_name": jsonable(state.get("build_func_name"))}
    components = {}
    for name, inner in (mapping(state.get("components")) or {}).items():
        if is_network(inner) and id(inner) not in above and len(above) < 8:
            components[name] = _settings(inner, f"{prefix}{name}/", tensors, found, above | {id(record)})
    return {**config, "components": components} if components else config


def judge_sources(records: Iterable[Record], reading: Reading, place: str) -> None:
    """Judge every program text that the file would run, once each, with the classes taken from it.

    All records count, also those that the stream made and threw away: the text has been run by then.
    """
    texts: dict[tuple[str, str], list[str]] = {}
    for record in records:
        if is_persistent(record):
            _check_meta(record, reading, place)
            _collect(texts, "module_src", meta(record).get("module_src"), meta(record).get("class_name"))
        elif is_network(record):
            state = _network_state(record, reading, place)
            _collect(texts, "tensorflow", state.get("build_module_src"), state.get("build_func_name"))
    for (kind, text), classes in texts.items():
        label = "module_src" if kind == "module_src" else "build_module_src"
        where = f"{place} > {label} of {classes[0]}" if classes else f"{place} > {label}"
        source.judge(text, reading, where.strip(" >"), kind, tuple(classes))
        if kind == "module_src":
            _check_classes(text, classes, reading, where.strip(" >"))


def _network_state(record: Record, reading: Reading, place: str) -> dict[str, Any]:
    """What the network's `__setstate__` is given; its text must be one that reads the same to every reader."""
    state = mapping(record.state)
    text = (state or {}).get("build_module_src", "")
    wrong = ""
    if state is None or not isinstance(text, (str, BytesLike)):
        wrong = "has a state that is no dict" if state is None else "has a source that is no text"
    elif isinstance(text, BytesLike) and _COOKIE.match(bytes(text[:1000])):
        wrong = "has a source of bytes that names its own encoding"
    if wrong:
        message = f"the network made at byte {record.offset} {wrong}"
        reading.note("pickle.malformed", message, place=place, offset=record.offset)
    return state or {}


def _collect(texts: dict[tuple[str, str], list[str]], kind: str, text: Any, name: Any) -> None:
    if isinstance(text, BytesLike):  # Python 2 wrote texts as bytes
        text = str(bytes(text), "utf-8", "replace")
    if isinstance(text, str):
        classes = texts.setdefault((kind, text), [])
        if isinstance(name, str) and name not in classes:
            classes.append(name)


def _check_meta(record: Record, reading: Reading, place: str) -> None:
    held = meta(record)
    wrong = ""
    if held.get("type") != "class" or held.get("version") != _VERSION:
        wrong = f"is of type {held.get('type')!r:.40} and version {held.get('version')!r:.40}, not a class of version 6"
    elif not isinstance(held.get("module_src"), str) or not isinstance(held.get("class_name"), str):
        wrong = "has no source text or no class name"
    elif record.state is not None or record.items or record.elements:
        wrong = "is changed again after it was made"
    if wrong:
        message = f"the persistent object made at byte {record.offset} {wrong}"
        reading.note("pickle.malformed", message, place=place, offset=record.offset)


def _check_classes(text: str, classes: list[str], reading: Reading, place: str) -> None:
    for name in classes:
        if not re.search(rf"^\s*class {re.escape(name)}\b", text, re.MULTILINE):
            reading.note("pickle.malformed", f"the source text defines no class {name:.100}", place=place)
