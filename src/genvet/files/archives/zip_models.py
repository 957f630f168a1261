"""What a zip archive holds: a torch file, TorchScript, a Keras model, numpy arrays, or any files at all."""

from __future__ import annotations

from genvet.files import formats, keras_file, numpy_file, torchscript
from genvet.files.archives import zips
from genvet.files.pickles import torch_files
from genvet.files.reading import Reading

matches = zips.matches


def read(data: memoryview, reading: Reading, place: str, nesting: int) -> None:
    """The model, told by the members' names as its loader would, and then every other member by content."""
    found = zips.unpack(data, reading, place)
    taken = _model(found.members, reading, place, nesting)
    rest = [(name, content) for name, content in found.members.items() if name not in taken]
    formats.read_members([*rest, *found.others], reading, place, nesting)


def _model(members: dict[str, memoryview], reading: Reading, place: str, nesting: int) -> set[str]:
    """Read the model that these members make up, if any; gives the members that it took."""
    folder = _torch_folder(members)
    if folder is not None:
        inside = {name.removeprefix(folder): content for name, content in members.items() if name.startswith(folder)}
        scripted = torchscript.matches(inside)
        formats.name(reading, "torchscript" if scripted else "torch-zip", place, nesting)
        taken = (torchscript if scripted else torch_files).read_zip(inside, reading, place, nesting)
        return {folder + name for name in taken}
    if keras_file.matches_zip(members):
        formats.name(reading, "keras", place, nesting)
        return keras_file.read_zip(members, reading, place, nesting)
    arrays = {name: content for name, content in members.items() if numpy_file.matches(content)}
    if arrays and len(arrays) == len(members):
        formats.name(reading, "npz", place, nesting)
        numpy_file.read_arrays(arrays.items(), reading, place, nesting)
        return set(arrays)
    return set()


def _torch_folder(members: dict[str, memoryview]) -> str | None:
    """The folder that torch would read: that of the first member, where a data.pkl and its companions lie in it."""
    first = next(iter(members), "")
    elsewhere = (name.removesuffix("data.pkl") for name in members if name.endswith("/data.pkl"))
    for folder in (first.partition("/")[0] + "/", "", *elsewhere):
        beside = ("version", "byteorder", "constants.pkl", "data/0")
        if folder + "data.pkl" in members and any(folder + name in members for name in beside):
            return folder
    return None
