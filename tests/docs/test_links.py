"""The links of the documentation, and its table of contents."""

import os
import re
from functools import cache
from pathlib import Path

import pytest

from tests.docs.test_pages import DOCS, PAGES, anchor_of, headings_of
from tests.support import ROOT

SITE = ROOT / "mkdocs.yml"
LINK = re.compile(r"\]\(([^)\s]+)\)")
# Made from README.md, CHANGELOG.md and SECURITY.md when the site is built.
GENERATED = {"index.md", "changelog.md", "security.md"}


def links_of(page: Path) -> list[str]:
    """Return the relative links of a page."""
    return [link for link in LINK.findall(page.read_text()) if not re.match(r"https?://", link)]


@cache
def anchors_of(page: Path) -> set[str]:
    """Return the anchors of a page."""
    return set(map(anchor_of, headings_of(page)))


def fault_of(link: str, page: Path) -> str:
    """Return what is wrong with a link, and where it may lead instead; nothing if it leads to a file and a heading."""
    path, _, anchor = link.partition("#")
    target = Path(os.path.normpath(page.parent / path)) if path else page
    if not target.exists():
        problem = "no such file"
    elif anchor and anchor not in anchors_of(target):
        problem = "no such heading"
    else:
        return ""
    near = [each for each in PAGES if (anchor in anchors_of(each) if anchor else each.name == target.name)]
    hints = [os.path.relpath(each, page.parent) + (f"#{anchor}" if anchor else "") for each in near]
    return f"{link}: {problem}{'; is it ' if hints else ''}{' or '.join(hints)}{'?' if hints else ''}"


def test_links_lead_somewhere() -> None:
    """Every relative link leads to a file that is there, and its anchor to a heading."""
    faults = {page: [fault for link in links_of(page) if (fault := fault_of(link, page))] for page in PAGES}

    assert {} == {page.name: found for page, found in faults.items() if found}


def test_contributing_page_names_functions_that_there_are() -> None:
    """What stands as `name()` before the link to a module is defined in it."""
    named = re.findall(
        r"`(?:\w+\.)?(\w+)\(\)`,? (?:in|of) \[[^]]+\]\(\.\./([\w/]+\.py)\)", (DOCS / "contributing.md").read_text()
    )

    assert len(named) > 10
    assert [] == [name for name, path in named if f"def {name}(" not in (ROOT / path).read_text()]


def test_links_are_found() -> None:
    """The links of README are seen by the test of links: one that finds none would pass."""
    assert {"docs/migrating/index.md", "docs/tutorial.md", "docs/caveats.md"} <= set(links_of(ROOT / "README.md"))


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("caveats.md", ""),
        ("caveats.md#caveats", ""),
        ("settings.md#settings", "settings.md#settings: no such file; is it reference/settings.md#settings?"),
        ("caveats.md#interrupts", "caveats.md#interrupts: no such heading; is it reference/events.md#interrupts?"),
        ("nowhere.md", "nowhere.md: no such file"),
    ],
)
def test_wrong_link_is_told_where_it_may_lead(link: str, expected: str) -> None:
    """A link to a page or heading that has moved is answered by its new place."""
    assert expected == fault_of(link, DOCS / "tutorial.md")


def test_site_names_every_page_once() -> None:
    """Each page of docs/ is in the `nav` of mkdocs.yml: add a new one there, where a reader would look for it."""
    [contents] = re.findall(r"^nav:\n((?: .*\n|\n)+)", SITE.read_text(), re.MULTILINE)
    pages = re.findall(r"[\w/-]+\.md$", contents, re.MULTILINE)

    assert sorted({*GENERATED, *(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))}) == sorted(pages)


@pytest.mark.parametrize("folder", ["explanation", "how-to", "migrating", "reference"])
def test_first_page_of_a_folder_names_all_others(folder: str) -> None:
    """A reader who looks for a page finds it on the first one of its folder: add a new one there."""
    named = {link.partition("#")[0] for link in links_of(DOCS / folder / "index.md")}

    assert {page.name for page in (DOCS / folder).glob("*.md")} - {"index.md"} <= named


def test_explanations_name_tests_that_there_are() -> None:
    """What proves a line of a table is a test of ours, or a file of them."""
    pages = "".join(page.read_text() for page in (DOCS / "explanation").glob("*.md"))
    named = set(re.findall(r"`([\w/]*\btest_\w+(?:\.py)?)`", pages))
    functions = set(re.findall(r"def (test_\w+)\(", "".join(each.read_text() for each in ROOT.glob("tests/**/*.py"))))

    assert len(named) > 10
    assert [] == sorted(name for name in named - functions if not (ROOT / name).is_file())
