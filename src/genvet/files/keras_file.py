"""Keras models, in HDF5 or in `.keras` archives, as data: no layer is made and no code is unpacked."""

from __future__ import annotations

import io
import json
import math
import struct
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from genvet.core.modelfile import Part, TensorSpec
from genvet.core.printable import printable
from genvet.files import keras_layers, numpy_file
from genvet.files.answer import ITEM
from genvet.files.reading import Reading, Stop
from genvet.files.safetensors_file import strides

SIGNATURE = b"\x89HDF\r\n\x1a\n"
_DEPTH = 32
_NOWHERE = 0xFFFFFFFFFFFFFFFF
_SETTINGS = 64 << 20
_CONFIG, _WEIGHTS = "config.json", "model.weights.h5"


class NeedsHdf5(Exception):
    """This process was sealed before the HDF5 library came in: another one has to read the file."""


_MISSING = "HDF5 files need an extra: install genvet[keras]"
_library: list[Any] = []
"""The HDF5 library once it was looked for, or None where it is not installed."""


def prepare() -> Any:
    """The HDF5 library, pure Python above numpy; loaded only for files that need it."""
    if _library:
        return _library[0]
    try:
        import pyfive
        from pyfive import h5d
    except PermissionError:
        raise NeedsHdf5 from None
    except ImportError:
        _library.append(None)
    else:
        # It looks its own version up on disk whenever it reads chunks, for a line in a log: the seal forbids that.
        h5d.version = lambda name: pyfive.__version__
        _library.append(pyfive)
    return _library[0]


def only_missing(reading: Reading) -> bool:
    """Whether all that is wrong with the file is that this installation cannot read it."""
    return bool(reading.evidence) and all(e.message == _MISSING for e in reading.evidence)


def begins(data: memoryview) -> bool:
    return bytes(data[:8]) == SIGNATURE


def matches(data: memoryview) -> bool:
    """The signature, at the start or behind a user block of 512 bytes, 1024, 2048 and so on."""
    at = 0
    while at + 8 <= len(data):
        if bytes(data[at : at + 8]) == SIGNATURE:
            return True
        at = 2 * at or 512
    return False


def read(data: memoryview, reading: Reading, place: str, nesting: int) -> None:
    """One part of kind "keras": the weights by their path, the model's settings as config."""
    file = _opened(data, reading, place)
    if file is None:
        _salvage(data, reading, place)
        return
    config = _attribute(file, "model_config")
    settings = _settings(config, reading, place) if config else {}
    if training := _attribute(file, "training_config"):
        _settings(training, reading, place)
    group = file
    with suppress(Exception):
        group = file["model_weights"] if "model_weights" in file else file
    _add_part(group, settings, reading, place)


def matches_zip(members: Mapping[str, memoryview]) -> bool:
    """The settings of a Keras v3 archive: the model is made by them, whether weights follow or not."""
    return _CONFIG in members and (_WEIGHTS in members or _makes_a_model(members[_CONFIG]))


def _makes_a_model(settings: memoryview) -> bool:
    """Whether these are Keras' settings; diffusers and others have a file of the name as well."""
    try:
        found = json.loads(bytes(settings[:_SETTINGS]))  # as bytes: Keras takes them in UTF-16 too
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and "class_name" in found


def read_zip(members: Mapping[str, memoryview], reading: Reading, place: str, nesting: int) -> set[str]:
    """A `.keras` archive; gives the members that it took."""
    where = f"{place}/{_CONFIG}" if place else _CONFIG
    raw = bytes(members[_CONFIG])
    settings = _settings(str(raw, json.detect_encoding(raw), "replace"), reading, where)
    if _WEIGHTS not in members:
        return {_CONFIG, "metadata.json"}
    where = f"{place}/{_WEIGHTS}" if place else _WEIGHTS
    file = _opened(members[_WEIGHTS], reading, where)
    if file is not None:
        _add_part(file, settings, reading, where)
    return {_CONFIG, _WEIGHTS, "metadata.json"}


def _opened(data: memoryview, reading: Reading, place: str) -> Any:
    """The file's root group; None where it cannot be had, which is noted."""
    cut = _stated_end(data) > len(data)
    if cut:
        message = f"the HDF5 file needs {_stated_end(data)} bytes, {len(data)} are there"
        reading.note("file.truncated", message, place=place)
    library = prepare()
    if library is None:
        reading.note("archive.unreadable", _MISSING, place=place)
        return None
    try:
        return library.File(io.BytesIO(data))
    except (NeedsHdf5, MemoryError, Stop):
        raise
    except Exception as error:  # The library trusts its input: whatever a wrong file makes it raise is one fact.
        if not cut:
            reading.note("keras.malformed", f"the HDF5 structure cannot be read: {_told(error)}", place=place)
    return None


def _stated_end(data: memoryview) -> int:
    """The end of the file by its superblock; 0 where that stands elsewhere or has no addresses of eight bytes."""
    if not begins(data):
        return 0
    if len(data) < 48:  # the smallest superblock
        return 48
    old = data[8] < 2
    wide = data[13 if old else 9] == 8
    (end,) = struct.unpack_from("<Q", data, {0: 40, 1: 44}.get(data[8], 28))
    return 0 if not wide or end == _NOWHERE else int(end)


def _told(error: Exception) -> str:
    return printable(f"{type(error).__name__}: {error}", 120)


def _attribute(file: Any, name: str) -> str:
    try:
        value = file.attrs[name]
    except Exception:
        return ""
    return bytes(value).decode("utf-8", "replace") if isinstance(value, (bytes, bytearray)) else str(value)


def _settings(text: str, reading: Reading, place: str) -> dict[str, Any]:
    """The model's settings, with every layer that carries or imports code told."""
    try:
        settings = json.loads(text[: reading.limits.text])
    except (ValueError, RecursionError):
        reading.note("keras.malformed", "the model's settings are no JSON", place=place)
        # What cannot be parsed may still name a Lambda.
        keras_layers.check_text(text, reading, place)
        return {}
    keras_layers.check(settings, reading, place)
    return settings if isinstance(settings, dict) else {}


def _salvage(data: memoryview, reading: Reading, place: str) -> None:
    """Look for the settings in the raw bytes, since the structure around them cannot be had."""
    raw = bytes(data[: reading.limits.text])
    at = raw.find(b'{"class_name"')
    found = at < 0
    while at >= 0 and not found:
        with suppress(ValueError, RecursionError):
            settings, _ = json.JSONDecoder().raw_decode(raw[at:].decode("utf-8", "replace"))
            keras_layers.check(settings, reading, place)
            found = True
        at = raw.find(b'{"class_name"', at + 1) if not found else -1
    if not found:
        keras_layers.check_text(raw.decode("latin-1"), reading, place)


def _add_part(group: Any, settings: dict[str, Any], reading: Reading, place: str) -> None:
    """The weights below a group. What the library cannot unpack must not keep the rest from being read."""
    tensors: dict[str, TensorSpec] = {}
    waiting, seen = [("", group, 0)], 0
    while waiting:
        path, group, depth = waiting.pop()
        for name in _names(group, reading, place, path):
            seen += 1
            if seen > reading.limits.members or depth > _DEPTH:
                raise Stop("archive.bomb", "groups nested without end")
            inside = f"{path}/{name}" if path else name
            try:
                item = group[name]
                if hasattr(item, "shape"):
                    spec = _tensor(item, reading, f"{place}/{inside}" if place else inside)
                    tensors.update({inside: spec} if spec else {})
                elif hasattr(item, "keys"):
                    waiting.append((inside, item, depth + 1))
            except (NeedsHdf5, MemoryError, Stop):
                raise
            except Exception as error:
                message = f"the dataset cannot be read: {_told(error)}"
                reading.note("archive.unreadable", message, place=f"{place}/{inside}" if place else inside)
    class_name = settings.get("class_name", "")
    class_name = printable(class_name) if isinstance(class_name, str) else ""
    reading.parts.append(Part(name="", kind="keras", tensors=tensors, class_name=class_name, config=settings))


def _names(group: Any, reading: Reading, place: str, path: str) -> list[str]:
    try:
        return [str(name) for name in group]
    except MemoryError:
        raise
    except Exception as error:
        reading.note("keras.malformed", f"the group {printable(path, 80)} cannot be read: {_told(error)}", place=place)
        return []


def _tensor(dataset: Any, reading: Reading, place: str) -> TensorSpec | None:
    """The dataset's numbers, as a storage of their own; its size is charged before it is unpacked."""
    shape = tuple(int(n) for n in dataset.shape)
    code = getattr(dataset.dtype, "str", "")
    dtype = numpy_file.KINDS.get(code.lstrip("<>|="))
    if dtype is None:
        if getattr(dataset.dtype, "kind", "O") not in "OSU":
            reading.note("tensor.dtype", f"a dataset of the kind {printable(dataset.dtype, 40)}", place=place)
        return None
    size = ITEM[dtype] * math.prod(shape)
    if size and getattr(dataset.id, "layout_class", 0) == 1 and dataset.id.data_offset == _NOWHERE:
        # The library would give zeros; others follow the name of an external file.
        reading.note("archive.unreadable", "the dataset's numbers are not in this file", place=place)
        return None
    reading.unpack(size)
    array = dataset[()]
    content = array.astype(array.dtype.newbyteorder("<")).tobytes()
    if len(content) != size:
        raise Stop("tensor.bounds", f"the dataset {printable(place, 80)} gives {len(content)} of {size} bytes")
    return TensorSpec(dtype=dtype, shape=shape, stride=strides(shape), offset=0, storage=reading.keep(content))
