"""What a text tells of a person: e-mail addresses, phone and identity numbers, days, and what may be a name.

Patterns have bounded repeats, so that a hostile text costs no more than its length. They know the shapes that these
things usually have: a text without any of them may still name somebody.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from genvet.core.printable import printable

Kind = Literal["e-mail", "phone", "identity number", "day", "name"]
MOST = 20_000
"""Characters of a text that are looked at."""

_LETTER = r"[^\W\d_]"
_PATTERNS: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    ("e-mail", re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,5}[A-Za-z]{2,24}")),
    ("identity number", re.compile(r"(?<![\w-])\d{3}-\d{2}-\d{4}(?![\w-])")),
    ("day", re.compile(r"(?<!\d)(?:19|20)\d\d(?P<s>[-_.:]?)(?:0[1-9]|1[0-2])(?P=s)(?:0[1-9]|[12]\d|3[01])(?!\d)")),
    ("day", re.compile(r"(?<!\d)(?:0?[1-9]|[12]\d|3[01])\.(?:0?[1-9]|1[0-2])\.(?:19|20)\d\d(?!\d)")),
    ("phone", re.compile(r"(?<![\w.])(?:\+|00)[1-9](?:[ ()/.-]{0,2}\d){6,13}(?!\d)")),
    ("phone", re.compile(r"(?<![\w.])\(?0\d{2,4}\)?[ /-]\d{3,4}[ -]?\d{2,5}(?!\d)")),
    ("phone", re.compile(r"(?<![\w.-])\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4}(?![\w-])")),
)
_WORD = re.compile(rf"{_LETTER}{{1,40}}")
_CAMEL = re.compile(r"(?<=[a-zß-ÿ])(?=[A-Z])")
# Words with a capital that files and folders have for other reasons than that they are somebody's name.
_NO_NAMES = frozenset(
    """img dsc dscn image images photo photos picture pictures pic screenshot screen shot scan scanned copy final new
    old train training test testing val valid validation eval data dataset set class label sample samples real fake
    raw orig original crop cropped face faces left right front back top bottom view frame video camera canon nikon
    sony apple iphone pixel samsung adobe photoshop lightroom gimp imagemagick version photographer copyright author
    image description creator title comment software the and with from for of by in on at jpeg jpg png bmp ppm tif
    january february march april may june july august september october november december monday tuesday wednesday
    thursday friday saturday sunday jan feb mar apr jun jul aug sep oct nov dec untitled unknown none default created
    all rights reserved ascii unicode srgb rgb adobergb display color colour profile gray grey untagged group batch
    part folder upload uploads download downloads whatsapp character alphabet background small large id no nr""".split()
)


@dataclass(frozen=True)
class Trace:
    """Something in a text that tells of a person."""

    kind: Kind
    text: str

    def __str__(self) -> str:
        """Masked, so that a report does not spread it: the kind, and how it begins.

        >>> str(Trace("e-mail", "anna@example.org"))
        'e-mail a***@example.org'
        """
        local, at, host = self.text.partition("@")
        return printable(f"{self.kind} {local[:1] if at else local[:2]}***{at}{host}", 80)


def traces(text: str, names: bool = False) -> list[Trace]:
    """All that these patterns find; with `names`, also two or more words in a row that begin with a capital.

    >>> [t.kind for t in traces("Anna_Schmidt_1999-04-12 anna@example.org +49 170 1234567", names=True)]
    ['e-mail', 'day', 'phone', 'name']
    """
    text, found = text[:MOST], []
    rest = text
    for kind, pattern in _PATTERNS:
        for match in pattern.finditer(rest):
            found.append(Trace(kind, match[0]))
        rest = pattern.sub(" ", rest)
    return found + [Trace("name", name) for name in _names(rest)] if names else found


def _names(text: str) -> list[str]:
    """Runs of two to four words with a capital each, that are no common words of file names.

    >>> _names("IMG_0001 AnnaSchmidt holiday Peter van Dyck")
    ['Anna Schmidt']
    """
    found, run, end = [], list[str](), 0
    split = _CAMEL.sub(" ", text)
    for match in _WORD.finditer(split):
        word, gap = match[0], split[end : match.start()]
        end = match.end()
        named = len(word) > 1 and word[0].isupper() and not word[1:].isupper() and word.lower() not in _NO_NAMES
        if run and (not named or gap not in (" ", "_", "-", ".", ", ")):
            found.append(run)
            run = []
        if named:
            run = [*run, word]
    return [" ".join(words) for words in [*found, run] if 2 <= len(words) <= 4]
