"""The page tells everything the report says, and nothing in the report can attack its reader."""

from __future__ import annotations

import base64
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import pytest

from genvet.core.report import Figure, NotChecked, Report
from genvet.core.severity import Severity
from genvet.page import charts, html, index, media, templates


class Seen(HTMLParser):
    """Every tag, attribute and text that a browser would see."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def urls(self) -> list[str]:
        return [
            v or ""
            for _, attributes in self.tags
            for k, v in attributes.items()
            if k in ("src", "href", "srcset", "action")
        ]


def test_the_page_shows_the_verdict_the_findings_and_the_run(report: Report, folder: Path) -> None:
    path = html.write(report, folder)
    seen = Seen(path.read_text())
    verdict = report.verdict
    for text in (
        *(verdict.loading, verdict.behaviour, verdict.unchecked, report.target.sha256, report.target.networks[0]),
        *("Do not load this file", "posix.system is called", "byte 17", "line 3", "x = open('/tmp/x', 'w')"),
        *("0.28 to 0.33", "141.5", "ran out of memory", "no prior is declared", "genvet scan m.pkl --seed 7"),
        *("cross.png", "99.25", "76,800", "picture by picture".capitalize()),
    ):
        assert text in seen.text, text
    order = [seen.text.index(f.summary) for f in sorted(report.findings, key=lambda f: -f.severity.rank)]
    assert order == sorted(order)
    assert [p.name for p in folder.iterdir() if p.is_file()] == ["report.html"]


def test_the_page_opens_offline_and_holds_no_script(report: Report, folder: Path) -> None:
    seen = Seen(html.render(report, folder))
    assert ("meta", {"http-equiv": "Content-Security-Policy", "content": templates.CSP}) in seen.tags
    assert not {tag for tag, _ in seen.tags} & {"script", "iframe", "object", "embed", "link", "base", "form", "svg"}
    assert all(url.startswith(("#finding-", "data:image/", "data:audio/wav;")) for url in seen.urls())
    kinds = [url.split(";")[0] for url in seen.urls() if url.startswith("data:")]
    assert kinds.count("data:image/svg+xml") == 5
    assert kinds.count("data:image/png") == kinds.count("data:audio/wav") == 1


def test_hostile_text_changes_no_tag_of_the_page(report: Report, hostile: Report, folder: Path) -> None:
    page = html.render(hostile, folder)
    seen = Seen(page)
    plain = Seen(html.render(report, folder))
    assert {tag for tag, _ in seen.tags} <= {tag for tag, _ in plain.tags}
    allowed = {
        "class",
        "id",
        "src",
        "alt",
        "width",
        "href",
        "style",
        "lang",
        "charset",
        "name",
        "content",
        "http-equiv",
    }
    assert {name for _, attributes in seen.tags for name in attributes} <= allowed
    assert all(url.startswith(("#finding-", "data:image/")) for url in seen.urls())
    assert "{{7*7}}" in seen.text and "$x_ \\u202e" in seen.text
    assert not {"\u202e", "\x1b", "\x07", "\ud800", "\u2028"} & set(page)
    assert "\\u202e" in seen.text and "<script>alert(1)</script>" in seen.text


@pytest.mark.parametrize(
    "name", ["../secret.png", "/etc/0001.png", "figures/../0001.png", "figures/1.svg", "a/b/1.png", "0001.png\n"]
)
def test_a_figure_reads_only_counters_beside_the_report(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "report"
    (folder / "figures").mkdir(parents=True)
    for place in (tmp_path / "secret.png", folder / "0001.png", folder / "figures" / "1.svg"):
        place.write_bytes(b"\x89PNG\r\n\x1a\n secret")
    shown = media.inlined(Figure(kind="grid", title="t", file=name), folder)
    assert shown.source is None and shown.note


def test_links_and_disguises_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"\x89PNG\r\n\x1a\n secret")
    (tmp_path / "0001.png").symlink_to(tmp_path / "secret")
    (tmp_path / "0002.png").write_bytes(b"<svg onload=alert(1)>")
    for name in ("0001.png", "0002.png", "0003.png"):
        assert media.inlined(Figure(kind="grid", title="t", file=name), tmp_path).source is None


def test_charts_are_well_formed_and_print_names_as_they_are(hostile: Report) -> None:
    drawn = charts.svg(hostile.findings[0].figures[0])
    tags = {element.tag.rpartition("}")[2] for element in ET.fromstring(drawn).iter()}
    assert not tags & {"script", "foreignObject", "a", "image"}
    assert b"var(--ink)" in drawn and b"prefers-color-scheme" in drawn
    with pytest.raises(ValueError, match="do not make a curve"):
        charts.svg(Figure(kind="curve", title="t"))
    shown = media.inlined(Figure(kind="histogram", title="t", data={"counts": [1], "edges": "x"}), Path("."))
    assert shown.source is None and shown.note


def test_the_same_report_gives_the_same_page(report: Report, folder: Path) -> None:
    assert html.render(report, folder) == html.render(report, folder)


def test_small_pictures_are_enlarged_by_a_whole_factor(folder: Path) -> None:
    shown = media.inlined(Figure(kind="grid", title="t", file="figures/0001.png"), folder)
    assert (shown.width, shown.height) == (24 * 17, 16 * 17)
    assert shown.source and base64.b64decode(shown.source.partition(",")[2]).startswith(b"\x89PNG")


def test_the_headline_never_calls_an_unfinished_scan_clean(report: Report) -> None:
    verdict = report.verdict.model_copy(update={"severity": Severity.INFO, "complete": False})
    assert html.headline(report.model_copy(update={"verdict": verdict})) == "The check is not complete"
    assert not any("safe" in line.lower() for line in html.HEADLINES.values())


def test_one_reason_is_told_once_for_all_that_it_holds_for(report: Report, folder: Path) -> None:
    names = ("static.biases", "static.capacity", "output.brute_force")
    none = [NotChecked(technique=name, part="G", reason="no_generator", detail="a critic") for name in names]
    rest = NotChecked(technique="static.graph", reason="not_applicable", detail="weights alone")
    shown = report.model_copy(update={"not_checked": (rest, *none)}).gaps()
    assert [names for _, names in shown] == [
        "static.biases (G), static.capacity (G), output.brute_force (G)",
        "static.graph",
    ]
    text = Seen(html.render(report.model_copy(update={"not_checked": (rest, *none)}), folder)).text
    assert text.count("a critic") == 2  # here, and among the file's other parts


def test_the_index_puts_the_worst_first_and_names_what_failed(report: Report, hostile: Report, tmp_path: Path) -> None:
    scans = [
        index.Row("a.txt", error="a text file, no model"),
        index.Row("<b>.pkl", hostile, link="0002/report.html"),
        index.Row("m.pkl", report, link="0001/report.html"),
    ]
    seen = Seen(index.write("models", scans, tmp_path).read_text())
    assert seen.text.index("m.pkl") < seen.text.index("<b>.pkl") < seen.text.index("a.txt")
    assert seen.urls() == ["0001/report.html", "0002/report.html"]
    assert (
        "a text file, no model" in seen.text
        and "Loading would call something dangerous: posix.system is called" in seen.text
    )
