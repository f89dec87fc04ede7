"""`manage.py cachedeco list`."""

import pytest

from cachedeco.diagnosis import listing
from cachedeco.functions.spec import all_specs
from cachedeco.testing import isolated
from tests.management.saying import said
from tests.support import catalogue

HERE = "tests.support.catalogue"
SHOP = ["count(cls, number)", "length(self)", "size(self)", "total(self)"]


@pytest.fixture(autouse=True)
def _few_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the project have the functions of the catalogue, and none of other tests."""
    named = [spec for spec in all_specs() if spec.name.startswith((HERE, "clubs.chosen"))]
    specs = [spec for spec in named if "<locals>" not in spec.name]  # those that other tests have made
    for spec in specs:
        spec._resolved = None  # as in a process that has called none
    monkeypatch.setattr(listing, "decorated_functions", lambda: specs)
    monkeypatch.setenv("COLUMNS", "100")


def test_all_functions_are_a_table() -> None:
    """A line for each, with what it depends on and its namespaces."""
    out, err, code = said("list")
    lines = out.splitlines()

    assert ("", 0) == (err, code)
    assert lines[0].split("  ")[0] == "function"
    assert max(map(len, lines)) <= 100
    assert "tests.support.catalogue.name_of      1 h       default  tests.Club            club:{pk}" in lines
    assert "tests.support.catalogue.page_of      none      default" in lines
    assert any("auto: no table known" in line for line in lines)
    assert any("by value" in line for line in lines)


def test_table_fits_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where its columns can't, each function is a list."""
    monkeypatch.setenv("COLUMNS", "40")

    lines = said("list").out.splitlines()

    assert max(map(len, lines)) <= 40
    assert "  timeout     1 h" == lines[lines.index(f"{HERE}.name_of") + 1]


def test_named_functions_are_shown_whole() -> None:
    """By the beginning of a dotted name, at a dot."""
    expected = f"""\
{HERE}.page_of(club, page=1, *, language='en')
    defined                 tests/support/catalogue.py:{catalogue.page_of.__code__.co_firstlineno}
    timeout                 none
    cache                   default
    key                     {{club.pk}}:{{page}}:{{language}}
    stale_while_revalidate  60
"""  # type: ignore[attr-defined] # of the function

    several = said("list", f"{HERE}.Shop", f"{HERE}.later").out

    assert (expected, "", 0) == said("list", f"{HERE}.page_of")
    assert [f"async {HERE}.later(number)", *(f"{HERE}.Shop.{name}" for name in SHOP)] == sorted(
        line for line in several.splitlines() if line and line[0] != " "
    )
    assert "    ids      ids\n" in said("list", f"{HERE}.names").out


@pytest.mark.django_db
def test_functions_that_depend_on_a_model_are_found() -> None:
    """Those that name it, and those that are known to read its table."""
    with isolated():
        before = said("list", "--model", "tests.Member")
        catalogue.members()
        after = said("list", "--model", "tests.Member")
        named = said("list", "--model", "tests.club", "--json").json

    assert ("No function is known to depend on tests.Member. Those under AUTO know", 0) == (
        before.out[:69],
        before.code,
    )
    assert (True, 2) == ("auto: tests_member" in after.out, len(after.out.splitlines()))
    assert [f"{HERE}.name_of"] == [each["name"] for each in named]


def test_list_is_json() -> None:
    """An object for each function, with all that is known of it."""
    [found] = said("list", "--json", f"{HERE}.name_of").json

    assert (3600.0, ["club:{pk}"], ["tests.Club"], ["tests_club"], "(pk)") == (
        found["timeout"],
        found["namespaces"],
        found["depends_on"],
        found["tables"],
        found["signature"],
    )


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["nothing"], "No cached function has a name that begins with 'nothing'"),
        (["nothing", "--json"], "No cached function has a name that begins with 'nothing'"),
        (["--model", "tests.Nothing"], "'tests.Nothing' names no model"),
    ],
    ids=" ".join,
)
def test_name_that_means_nothing_is_told(options: list[str], expected: str) -> None:
    """By the exit code of a misunderstanding."""
    out, err, code = said("list", *options)

    assert ("", 2) == (out, code)
    assert expected in err


def test_project_without_functions_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """No function may be imported, or none decorated."""
    monkeypatch.setattr(listing, "decorated_functions", list)

    assert ("No function is cached, or none is imported: name their modules in MODULES of CACHEDECO.\n", "", 0) == said(
        "list"
    )


def test_function_with_a_problem_shows_it() -> None:
    """The settings would let each call raise."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(catalogue.named._spec.options, "cache", "nowhere")
        catalogue.named._spec._resolved = None
        out = said("list").out
        whole = said("list", "clubs.chosen").out
    catalogue.named._spec._resolved = None

    assert "PROBLEM: clubs.chosen()" in out
    assert "problem" in whole
