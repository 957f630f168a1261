"""Which part a column of a table plays: it identifies, it narrows down, it is sensitive, or it is none of these."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from genvet.core.personal import traces

Role = Literal["identifier", "pseudonym", "quasi", "sensitive", "link", "other"]
_WORDS: tuple[tuple[Role, str], ...] = (
    (
        "identifier",
        "name surname firstname lastname fullname forename email mail phone telephone mobile ssn passport iban account "
        "address street username user login patient patientid personid employee customer subjectname owner author",
    ),
    (
        "sensitive",
        "diagnosis disease illness condition medication treatment income salary wage religion faith orientation party "
        "vote politics crime offence verdict hiv pregnancy disability genetic grade score",
    ),
    (
        "quasi",
        "age birth birthday birthdate born dob year sex gender race ethnicity ethnic nationality country state county "
        "region city town zip zipcode postcode postal place location latitude longitude lat lon lng occupation job "
        "profession education marital height weight hair eye eyes skin language school employer date",
    ),
)
_LINKS = re.compile(r"(file|path|image|img|photo|picture|filename|filepath|uri|url)s?(name|path|_?id)?", re.I)
_SPLIT = re.compile(r"[^A-Za-z]+|(?<=[a-z])(?=[A-Z])")
_PSEUDONYM = re.compile(r"[a-z2-7]{16}")
"""As files.pseudonyms makes them."""
SHOWS = 0.2
"""Share of a column's values in which an address or a number makes it one that identifies."""


def role(name: str, values: Sequence[str], pictures: frozenset[str]) -> Role:
    """A guess, by what the column is called and by what stands in it.

    >>> role("Patient_Age", ["31", "40"], frozenset()), role("contact", ["a@b.org", "c@d.org"], frozenset())
    ('quasi', 'identifier')
    """
    words = [word.lower() for word in _SPLIT.split(name) if word]
    some = [value for value in values[:500] if value]
    if some and all(_PSEUDONYM.fullmatch(value) for value in some):
        return "pseudonym"
    if some and sum(value.rpartition("/")[2] in pictures for value in some) > len(some) / 2:
        return "link"
    if some and sum(any(t.kind != "day" for t in traces(v)) for v in some) >= SHOWS * len(some):
        return "identifier"
    if _LINKS.fullmatch("".join(words)):
        return "link"
    # The last word says what it is: a patient's age is an age.
    for word in reversed(words):
        for kind, known in _WORDS:
            if word in known.split():
                return kind
    return "other"
