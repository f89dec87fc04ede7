"""The page about Redis, held to the code."""

from cachedeco.backends import redis
from cachedeco.backends.redis_options import CONNECTION, OF_DJANGO, OURS, WITHOUT_EFFECT
from cachedeco.backends.redis_pool import ASK_SECONDS
from tests.docs.test_pages import IN_QUOTES, ROOT, headings_of, tables_under, unquoted

PAGE = ROOT / "docs" / "how-to" / "redis.md"


def test_options_table_is_the_options() -> None:
    """It has every option of ours and of Django's, with its default; and the text names those that have no effect."""
    [table] = tables_under(PAGE, "Options")
    rows = {unquoted(name): unquoted(default) for name, default, _ in table}

    assert {name: repr(value) for name, value in {**CONNECTION, **OURS, **OF_DJANGO}.items()} == rows
    assert set(IN_QUOTES.findall(headings_of(PAGE)["Options"])) >= WITHOUT_EFFECT


def test_errors_table_is_what_the_module_exports() -> None:
    """Each exception, and nothing else but the backend."""
    [table] = tables_under(PAGE, "A server that is out of reach")

    assert sorted(redis.__all__) == sorted(["RedisCache", *[unquoted(name) for name, _ in table]])


def test_seconds_between_questions_to_a_sentinel_are_those_of_the_code() -> None:
    """As the text has them, in words."""
    assert 1.0 == ASK_SECONDS
    assert "asks a Sentinel at most a second before each command" in PAGE.read_text()
