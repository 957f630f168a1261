"""Characters of one number in several alphabets are several classes; private alphabets are no public ones."""

from __future__ import annotations

import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genvet.core.errors import BadInput
from genvet.core.rng import Rng
from genvet.files.labelled import load_labelled
from genvet.files.omniglot import divided, load_omniglot
from genvet.training.supervision import parted

DATA = Path("../shared/data/omniglot")


def archive(path: Path, top: str, alphabets: str, drawings: int = 5) -> Path:
    with zipfile.ZipFile(path, "w") as out:
        for alphabet in alphabets:
            for character in (1, 2):
                for i in range(drawings):
                    picture = BytesIO()
                    value = 10 * (ord(alphabet) - 64) + character
                    Image.fromarray(np.full((9, 9), value, np.uint8)).save(picture, "PNG")
                    out.writestr(f"{top}/{alphabet}/character0{character}/{character}_{i:02d}.png", picture.getvalue())
    return path


def test_alphabets_stay_apart_and_shared_ones_are_taken_once(tmp_path: Path) -> None:
    first, second = archive(tmp_path / "1.zip", "small1", "AB"), archive(tmp_path / "2.zip", "small2", "BC")
    found = load_labelled(first)
    assert found.classes == ("A/character01", "A/character02", "B/character01", "B/character02")
    assert load_labelled(f"{first}#0:5").classes == ("A/character01",)
    images = load_omniglot([first, second], 9)
    assert len(images) == 30 and len(images.classes) == 6 and images.classes[-1] == "C/character02"
    assert images.x[images.labels == 3].unique().numel() == 1  # one value a character
    parts = divided(images, ("A", "C"), private=3, learned=4)
    assert parts.private.classes == parts.test.classes == ("A/character01", "A/character02", "C/character01")
    assert len(parts.private) == 12 and len(parts.test) == 3 and parts.public.classes == found.classes[2:]
    assert not {*parts.private.names, *parts.test.names} & {*parts.public.names}
    with pytest.raises(BadInput, match="expected 5 private characters"):
        divided(images, ("A", "C"), private=5)
    with pytest.raises(BadInput, match="too few drawings"):
        divided(images, ("A", "C"), private=4)


def test_halves_of_a_data_set_are_no_classes(tmp_path: Path) -> None:
    for half in ("train", "test"):
        for kind in ("cat", "dog"):
            (tmp_path / half / kind).mkdir(parents=True)
            Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / half / kind / "0.png")
    assert load_labelled(tmp_path).classes == ("cat", "dog")


@pytest.mark.skipif(not DATA.is_dir(), reason="needs ../shared/data/omniglot")
def test_the_real_archives() -> None:
    parts = divided(load_omniglot(sorted(DATA.glob("*.zip")), 16))
    assert (len(parts.private), len(parts.test), len(parts.public)) == (840, 360, 3580)
    held_out, learned = parted(parts.drawings.labels, 0.3, "last", Rng(0))
    assert [parts.drawings.names[i] for i in held_out] == list(parts.test.names)
    assert [parts.drawings.names[i] for i in learned] == list(parts.private.names)
    assert not {c.partition("/")[0] for c in parts.private.classes} & {
        c.partition("/")[0] for c in parts.public.classes
    }
