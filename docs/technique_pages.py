"""Writes a page for each technique, from its class: the documentation that cannot drift."""

from __future__ import annotations

from inspect import cleandoc, getdoc
from typing import Any

from mkdocs.structure.files import File, Files
from pydantic.fields import FieldInfo

from genvet.catalogue import techniques
from genvet.core.rules import RULES
from genvet.core.technique import Technique


def on_files(files: Files, config: Any) -> Files:
    """Add techniques/NAME.md for every technique, an index of them, and the table of rules."""
    rows = []
    for name, entry in sorted(techniques().items()):
        technique = entry.load()
        add(files, config, f"techniques/{name}.md", page(name, entry.kind, technique))
        rows.append(f"| [{name}]({name}.md) | {entry.kind} | {entry.summary} |")
    index = "# Techniques\n\n| name | kind | what it does |\n|---|---|---|\n" + "\n".join(rows) + "\n"
    add(files, config, "techniques/index.md", index)
    add(files, config, "rules.md", rules())
    return files


def add(files: Files, config: Any, path: str, text: str) -> None:
    files.append(File.generated(config, path, content=text))


def page(name: str, kind: str, technique: type[Technique]) -> str:
    """One technique: what it does, where it comes from, its knobs, and what each depth sets."""
    lines = [f"# {name}", "", f"*{kind}, version {technique.version}*", "", cleandoc(getdoc(technique) or ""), ""]
    lines += [f"**Source.** {technique.source}", ""]
    if technique.model_fields:
        lines += ["| field | type | default | what it is |", "|---|---|---|---|"]
        lines += [row(field, info) for field, info in technique.model_fields.items()] + [""]
    if technique.depths:
        lines += ["| depth | sets |", "|---|---|"]
        lines += [f"| {depth} | `{knobs}` |" for depth, knobs in technique.depths.items()] + [""]
    return "\n".join(lines)


def row(field: str, info: FieldInfo) -> str:
    kind = getattr(info.annotation, "__name__", str(info.annotation)).replace("|", "\\|")
    bounds = ", ".join(str(m) for m in info.metadata)
    described = " ".join((info.description or "").split()).replace("|", "\\|")
    return f"| `{field}` | {kind} {bounds} | `{info.default}` | {described} |"


def rules() -> str:
    """Every rule that a file can break."""
    lines = ["# Rules", "", "| rule | severity | what it says | what to do |", "|---|---|---|---|"]
    lines += [f"| `{r.id}` | {r.severity} | {r.title} | {r.help} |" for r in RULES.values()]
    return "\n".join(lines) + "\n"
