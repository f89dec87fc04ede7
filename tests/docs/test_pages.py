"""
The documentation, held to the code: its examples run, its tables are what the code has, its links lead somewhere.

A page is one module. Its blocks run in their order: `python`, the new side of `diff`, and what stands in comments
that begin with `setup:` or `check:`, which readers don't see. A block that begins with `>>>` is a doctest.
The blocks of the tutorial are typed into a new project instead: those with a title into the file that it names.
"""

import ast
import asyncio
import doctest
import inspect
import re
import shlex
import sys
import textwrap
import tomllib
from collections.abc import Coroutine, Iterator
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import pytest
from asgiref.sync import async_to_sync
from django.core.management import load_command_class

import cachedeco
from cachedeco import CachedQuery, CachedQueryMany, Call, Event, Explanation, Statistics, Stats, cached_query, testing
from cachedeco.checks import caches, functions, names, private_api, unseen_queries
from cachedeco.checks import settings as settings_checks
from cachedeco.contrib.measuring import INSTRUMENTS
from cachedeco.functions import explaining
from cachedeco.functions.options import always
from cachedeco.keys import encoders
from cachedeco.outbox import checks as outbox_checks
from cachedeco.runtime import events, hooks
from cachedeco.runtime.conf import Settings
from cachedeco.runtime.validation import REFRESHERS, UNSET
from cachedeco.testing import isolated
from tests.models import Club, ClubClass
from tests.support import ROOT
from tests.support.cases import in_one_test

DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "SECURITY.md", *sorted(DOCS.rglob("*.md"))]
REFERENCE = DOCS / "reference"
COSTS = DOCS / "explanation" / "costs.md"
STAMPEDES = DOCS / "how-to" / "stampedes.md"

MONITORING = DOCS / "how-to" / "monitoring.md"
TUTORIAL = ROOT / "docs" / "tutorial.md"

FENCE = re.compile(r"^ *```(\w*)(?: title=\"[^\"]+\")?$")
BLOCK = re.compile(
    r"^(?P<indent> *)(?:```(?P<kind>python|diff)\n(?P<shown>.*?)^ *```|<!-- (?:setup|check):\n(?P<hidden>.*?)-->)$",
    re.MULTILINE | re.DOTALL,
)
IN_QUOTES = re.compile(r"`([^`]+)`")

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


# --- reading a page ---


def blocks_of(page: Path) -> Iterator[tuple[int, str]]:
    """Yield the blocks to run, each with the number of the line before it."""
    text = page.read_text()
    for match in BLOCK.finditer(text):
        source = textwrap.dedent(match["hidden"] or match["shown"])
        if match["kind"] == "diff":
            source = "".join(line[1:] for line in source.splitlines(keepends=True) if not line.startswith("-"))
        yield text.count("\n", 0, match.start()) + 1, source


def run(source: str, page: Path, line: int, module: ModuleType) -> None:
    """Run one block; an error names the page's line."""
    if source.startswith(">>>"):
        test = doctest.DocTestParser().get_doctest(source, {}, page.name, str(page), line)
        test.globs = vars(module)
        said: list[str] = []
        runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS)
        failed, _ = runner.run(test, out=said.append, clear_globs=False)
        assert not failed, "".join(said)
        return
    code = compile("\n" * line + source, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    result = eval(code, vars(module))  # noqa: S307 -- our own documentation
    if asyncio.iscoroutine(result):
        async_to_sync(awaited)(result)


async def awaited(coroutine: Coroutine[None, None, object]) -> object:
    """Return what a coroutine gives."""
    return await coroutine


def headings_of(page: Path) -> dict[str, str]:
    """Return the text under each heading, by heading, of a page or a folder of pages; what stands in code is none."""
    if page.is_dir():
        return {heading: text for each in sorted(page.glob("*.md")) for heading, text in headings_of(each).items()}
    prose = re.sub(r"^ *```.*?^ *```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    parts = re.split(r"^#+ (.+)$", prose, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def tables_under(page: Path, heading: str) -> list[list[list[str]]]:
    """Return the tables under a heading: rows of cells, without their own heads."""
    tables = re.findall(r"(?:^ *\|.*\n)+", headings_of(page)[heading], re.MULTILINE)
    return [
        [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in table.splitlines()[2:]]
        for table in tables
    ]


def unquoted(cell: str) -> str:
    """Return what stands in a cell in backticks; nothing where the cell is empty."""
    return "".join(IN_QUOTES.findall(cell))


def evaluated(cell: str) -> object:
    """Return the object that a cell shows."""
    shown = unquoted(cell)
    return eval(shown, {"UNSET": UNSET, "always": always})  # noqa: S307 -- our own documentation


def anchor_of(heading: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


# --- examples ---


@every_page
@pytest.mark.django_db(databases=["default", "other"])
@pytest.mark.usefixtures("_auto_by_default", "_nothing_advised")
def test_page_runs(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a page shows runs, with the output that it shows, and its settings are ones that cachedeco takes."""
    module = ModuleType(f"docs_{page.stem.lower().replace('-', '_')}")
    vars(module).update(Club=Club, ClubClass=ClubClass, SECRET_KEY="x" * 50, SECRET_KEY_FALLBACKS=["y" * 50])
    # Values of classes that a page defines are pickled by the name of their module.
    monkeypatch.setitem(sys.modules, module.__name__, module)
    # A page that fails half-way must not leave its hooks behind.
    monkeypatch.setattr(hooks, "_hooks", hooks._hooks)

    with isolated():
        for line, source in blocks_of(page):
            run(source, page, line, module)

    assert Settings.parse(vars(module).get("CACHEDECO", {}))


@in_one_test(PAGES)
def test_page_has_no_code_that_is_not_run(page: Path) -> None:
    """Every fence is of a kind that is run, or shows a terminal or a diagram; every comment is run."""
    text = page.read_text()
    opened = [match[1] for match in map(FENCE.match, text.splitlines()) if match][::2]
    assert re.findall(r"^( +)```", text, re.MULTILINE).count(" " * 4) == len(
        re.findall(r"^ +```", text, re.MULTILINE)
    ), "in a list, code is indented by four spaces: with less it ends the list on the site"
    run_blocks = [match["kind"] for match in BLOCK.finditer(text)]

    if page == TUTORIAL:
        assert set(opened) == {"console", "pycon", "python"}
        assert not any(run_blocks)
        return
    assert set(opened) <= {"console", "diff", "mermaid", "python"}
    assert [kind for kind in opened if kind in {"diff", "python"}] == [kind for kind in run_blocks if kind]
    assert text.count("<!--") == run_blocks.count(None)


def found_in_pages(pattern: str) -> set[str]:
    """Return what a pattern finds in all pages."""
    return {found for page in PAGES for found in re.findall(pattern, page.read_text(), re.MULTILINE)}


def test_pages_name_only_targets_that_make_has() -> None:
    """Every `make` that a page tells to type is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    shown = found_in_pages(r"(?:`|\$ )make ([a-z0-9-]+)")

    assert {"test", "bench"} <= shown <= targets


def test_pages_type_commands_that_are_understood() -> None:
    """Each `manage.py cachedeco` that a page shows has a subcommand and options that the command takes."""
    parser = load_command_class("cachedeco", "cachedeco").create_parser("manage.py", "cachedeco")
    shown = found_in_pages(r"^ *\$ python manage\.py cachedeco (.+)$")

    assert len(shown) > 10
    for typed in shown:
        assert parser.parse_args(shlex.split(typed)), typed


def test_pages_install_extras_that_there_are() -> None:
    """Each extra that a page tells to install is one of pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    shown = {name for names in found_in_pages(r"(?:cachedeco|\.)\[([a-z,-]+)\]'") for name in names.split(",")}

    assert {"memcached", "redis"} <= shown <= set(project["optional-dependencies"])


# --- tables ---


def test_decorator_table_is_the_signature() -> None:
    """The table of parameters has those of `cached_query`, in their order, with their defaults."""
    parameters = inspect.signature(cached_query).parameters.values()
    signature = [(each.name, each.default) for each in parameters if each.kind is each.KEYWORD_ONLY]
    [table] = tables_under(REFERENCE, "Parameters of the decorator")

    assert signature == [(unquoted(name), evaluated(default)) for name, _, default in table]


def test_stampedes_table_is_the_setting() -> None:
    """The page on stampedes has each value of the setting `REFRESH`."""
    [refreshers] = tables_under(STAMPEDES, "Who refreshes")

    assert list(REFRESHERS) == [evaluated(name) for name, _, _ in refreshers]


@pytest.mark.parametrize(
    ("cls", "heading"),
    [(CachedQuery, "Verbs"), (CachedQueryMany, "Functions over many ids"), (Call, "Calls as objects")],
    ids=["one", "many", "call"],
)
def test_verbs_table_is_the_public_methods(cls: type, heading: str) -> None:
    """The table of verbs has every public method of a cached function, or of a call, and beside each its twin."""
    public = {name for name in dir(cls) if not name.startswith("_")}
    [table] = tables_under(REFERENCE, heading)
    verbs = [unquoted(verb) for verb, _, _ in table]
    twins = [unquoted(twin) for _, twin, _ in table]

    assert public == {*verbs, *filter(None, twins)}
    assert [f"a{verb}" if f"a{verb}" in public else "" for verb in verbs] == twins


@pytest.mark.usefixtures("_auto_by_default")
def test_settings_table_is_the_settings() -> None:
    """The table of settings has every field of `Settings`, in its order, with its default."""
    settings = list(vars(Settings()).items())
    [table] = tables_under(REFERENCE, "Settings")

    assert settings == [(unquoted(name), evaluated(default)) for name, _, default in table]


CHECKS = (settings_checks, names, functions, caches, private_api, unseen_queries, outbox_checks)


def test_checks_table_is_the_checks() -> None:
    """The table of system checks has every id that our checks can give."""
    sources = "".join(map(inspect.getsource, CHECKS))
    ids = sorted(set(re.findall(r"cachedeco\.[CDEIW]\d{3}", sources)))
    [table] = tables_under(REFERENCE, "System checks")

    assert ids == [unquoted(name) for name, _ in table]


def test_events_tables_are_the_kinds_and_the_fields() -> None:
    """The tables of events have every kind, and every field of `Event`, in their order."""
    kinds, columns = tables_under(REFERENCE, "Events")

    assert list(get_args(events.Kind)) == [unquoted(kind) for kind, _ in kinds]
    assert list(Event._fields) == [unquoted(field) for field, _ in columns]


def test_miss_reasons_table_is_the_list() -> None:
    """The table of miss reasons has every reason, in its order."""
    [reasons] = tables_under(REFERENCE, "Miss reasons")

    assert list(get_args(events.MissReason)) == [unquoted(reason) for reason, _ in reasons]


def test_bypass_reasons_table_is_the_list() -> None:
    """The table of bypass reasons has every reason, in its order."""
    [reasons] = tables_under(REFERENCE, "Bypass reasons")

    assert list(get_args(events.BypassReason)) == [unquoted(reason) for reason, _ in reasons]


def test_statistics_table_is_the_fields() -> None:
    """The table of statistics has every field of `Stats`, in its order."""
    [table] = tables_under(REFERENCE, "Statistics")

    assert [field.name for field in fields(Stats)] == [unquoted(field) for field, _ in table]


def test_tables_of_all_functions_and_of_explanations_are_the_fields() -> None:
    """Every field of `Statistics` and of `Explanation` has a row, those of an entry and a token are named in theirs."""
    [statistics] = tables_under(REFERENCE, "Of all functions")
    explained, states = tables_under(REFERENCE, "Explanations")
    text = {unquoted(name): meaning for name, meaning in explained}
    inside = {"entry": explaining.ExplainedEntry, "tokens": explaining.ExplainedToken}

    assert [field.name for field in fields(Statistics)] == [unquoted(field) for field, _ in statistics]
    assert [field.name for field in fields(Explanation)] == [*text]
    for name, cls in inside.items():
        assert {field.name for field in fields(cls)} <= set(IN_QUOTES.findall(text[name]))
    assert list(get_args(explaining.TokenState)) == [unquoted(state) for state, _ in states]


def test_types_section_names_every_type() -> None:
    """Every type that has an encoder of its own is named among the types that can be in a key, or that are refused."""
    flat = [kind if isinstance(kind, tuple) else (kind,) for kind in (*encoders._encoders, *encoders._KINDS)]
    names = {cls.__name__ for kinds in flat for cls in kinds} - {"NoneType", "ellipsis"}

    assert names | {"None"} <= set(IN_QUOTES.findall(headings_of(REFERENCE)["Types that can be in a key"]))


def test_public_names_are_in_the_reference() -> None:
    """The reference names all that `cachedeco` exports."""
    assert set(cachedeco.__all__) <= set(IN_QUOTES.findall(headings_of(REFERENCE / "index.md")["Reference"]))


def test_api_page_has_every_public_name() -> None:
    """The page that is made from the docstrings asks for those of each public name, and of no other."""
    asked = re.findall(r"^::: (\S+)$", (REFERENCE / "api.md").read_text(), re.MULTILINE)
    exported = [f"{module.__name__}.{name}" for module in (cachedeco, testing) for name in module.__all__]

    assert sorted(exported) == sorted(asked)


def test_testing_table_is_what_the_kit_exports() -> None:
    """The table of the test kit has all that `cachedeco.testing` exports, in its order."""
    [table] = tables_under(REFERENCE, "The test kit")

    assert testing.__all__ == [unquoted(name) for name, _ in table]


# --- versions ---


def test_changelog_begins_with_the_version_of_the_project() -> None:
    """The newest section of the changelog is of the version that pyproject.toml has."""
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    versions = re.findall(r"^## \[?(\d[^] ]*)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)

    assert project["version"] == versions[0]


def test_monitoring_names_every_metric() -> None:
    """The table of metrics has the names, kinds and labels that Prometheus gets."""
    rows = [
        [unquoted(name), kind, tuple(IN_QUOTES.findall(labels))]
        for name, kind, labels, _ in tables_under(MONITORING, "Prometheus")[0]
    ]

    assert rows == [
        [
            "_".join(filter(None, ("cachedeco", each.name, each.unit, "total" if each.kind == "counter" else ""))),
            each.kind,
            each.labels,
        ]
        for each in INSTRUMENTS
    ]
