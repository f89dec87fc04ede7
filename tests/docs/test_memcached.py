"""The page about memcached, held to the code."""

from cachedeco.backends import memcached
from cachedeco.backends.memcached_options import CONNECTION, OPTIONAL, OURS, WITHOUT_EFFECT, Pickles, RendezvousHash
from cachedeco.backends.server import FIRST_PAUSE, LONGEST_PAUSE
from tests.docs.test_pages import IN_QUOTES, ROOT, headings_of, tables_under, unquoted

PAGE = ROOT / "docs" / "how-to" / "memcached.md"


def test_options_table_is_the_options() -> None:
    """It has every option that has an effect, with its default; and the text names those that have none."""
    [table] = tables_under(PAGE, "Options")
    rows = {name: unquoted(default) for names, default, _ in table for name in IN_QUOTES.findall(names)}
    usual = {**CONNECTION, **OURS}
    shown = {name: repr(value) for name, value in usual.items()}
    shown |= {"hasher": RendezvousHash.__name__, "serde": f"{Pickles.__name__}()"}

    assert {**{name: value.replace("'", '"') for name, value in shown.items()}, **dict.fromkeys(OPTIONAL, "")} == rows
    assert set(IN_QUOTES.findall(headings_of(PAGE)["Options"])) >= WITHOUT_EFFECT


def test_errors_table_is_what_the_module_exports() -> None:
    """Each exception, and nothing else but the backend."""
    [table] = tables_under(PAGE, "A server that is out of reach")

    assert sorted(memcached.__all__) == sorted(["MemcachedCache", *[unquoted(name) for name, _ in table]])


def test_pauses_are_those_of_the_code() -> None:
    """As the text has them, in words."""
    assert (0.25, 10.0) == (FIRST_PAUSE, LONGEST_PAUSE)
    assert "a quarter of a second, doubled after each further failure, up to ten seconds" in PAGE.read_text()
