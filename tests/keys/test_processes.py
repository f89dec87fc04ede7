"""Keys are the same in every process: what one has stored, another finds and invalidates."""

import pytest

from tests.support.programs import output_of

pytestmark = pytest.mark.usefixtures("_unmeasured_processes")

PROGRAM = """
import datetime, decimal, enum, pathlib, uuid, zoneinfo
import django
django.setup()
from django.http import QueryDict
from cachedeco import Namespace, cached_query

class Colour(enum.Flag):
    RED, BLUE, GREEN = 1, 2, 4

@cached_query(
    vary=lambda: {"de", "fr", "it"},
    namespace=["club:{club}", lambda club: {Namespace(text) for text in "abcdefgh"}],
)
def rows(club, *args, **kwargs):
    return club

words = "the quick brown fox jumps over the lazy dog".split()
values = [
    set(words), frozenset(words), {word: {word[0], word[-1]} for word in words}, {None, 1, "1", b"1", (1,), 1.5},
    Colour.RED | Colour.GREEN, Colour, decimal.Decimal("1.0"), uuid.UUID(int=1), pathlib.PurePosixPath("a/b"),
    datetime.datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")), QueryDict("b=1&a=2&b=3"),
    [{"k": ({1, 2, 3}, {"x", "y", "z"})}], "long " * 100,
]
for value in values:
    terms, keys = rows._spec.resolve_call((7, value), dict.fromkeys(words, value))
    print(*keys, rows._spec.own_token((7, value), {}).key, rows._spec.function_token().key)
    print(rows.key_for(7, (value, "ü")))
print(" ".join({"a", "b", "c", "d", "e", "f", "g", "h"}))  # what would differ
"""


def lines_of(seed: int) -> list[str]:
    """Run the program in a process whose hashes begin with a seed."""
    environment = {"PYTHONHASHSEED": str(seed), "DJANGO_SETTINGS_MODULE": "tests.settings"}
    return output_of("-c", PROGRAM, environment=environment).splitlines()


def test_keys_do_not_depend_on_the_hash_seed() -> None:
    """Sets, dicts, and namespaces in a set have one order, in each process."""
    first, second = lines_of(1), lines_of(2)

    assert first[-1] != second[-1]
    assert first[:-1] == second[:-1]
    assert 26 == len(set(first[:-1]))
