"""Cached functions are found by their dotted paths."""

import sys
from pathlib import Path
from typing import Any

import pytest

from cachedeco.functions.base import CachedFunction
from cachedeco.functions.discovery import UnknownFunctionError, find_function
from tests.support import catalogue
from tests.support.catalogue import Shop

HERE = "tests.support.catalogue"
LOCAL = catalogue.inner()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (f"{HERE}.name_of", catalogue.name_of),
        (f"{HERE}.names", catalogue.names),
        (f"{HERE}.later", catalogue.later),
        (f"{HERE}.wrapped", catalogue.wrapped.__wrapped__),  # type: ignore[attr-defined] # what functools.wraps() sets
        ("clubs.chosen", catalogue.named),
        (f"{HERE}.named", catalogue.named),
        (f"{HERE}.Shop.total", Shop.total),
        (f"{HERE}.Shop.count", Shop.count),
        (f"{HERE}.Shop.size", vars(Shop)["size"].fget),
        (f"{HERE}.Shop.length", vars(Shop)["length"].func),
    ],
)
def test_function_is_found_by_path_and_by_name(path: str, expected: CachedFunction[..., Any]) -> None:
    """Also inside what other decorators have put around it, and as a method of its class."""
    assert expected == find_function(path)


def test_module_of_a_function_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else has to have imported it."""
    (tmp_path / "freshly_made.py").write_text(
        "from cachedeco import cached_query\n@cached_query\ndef double(number):\n    return 2 * number\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    try:
        assert 4 == find_function("freshly_made.double")(2)
    finally:
        sys.modules.pop("freshly_made", None)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (f"{HERE}.pageof", f"did you mean {HERE}.page_of"),
        ("page_of", f"did you mean {HERE}.page_of"),
        (f"{HERE}.plain", f"{HERE}.plain is no cached function: decorate it with @cached_query"),
        ("tests.support.catalog.page_of", f"did you mean {HERE}.page_of"),
        ("zzz.qqq", "There is no cached function 'zzz.qqq'; it takes a dotted path, such as"),
        ("no path!", "There is no cached function 'no path!'"),
        ("", "There is no cached function ''"),
        (f"{HERE}.inner.<locals>.local", "no dotted path leads to it: it is defined inside another function"),
    ],
)
def test_function_that_is_not_there_is_told_with_the_nearest(path: str, expected: str) -> None:
    """The error names what was given, and what may be meant."""
    with pytest.raises(UnknownFunctionError) as caught:
        find_function(path)

    assert expected in str(caught.value)


class Odd:
    """An object with every attribute, and one that raises."""

    def __getattr__(self, name: str) -> object:
        """Return another one."""
        if name == "func":
            raise RuntimeError
        return Odd()


ODD = Odd()


def test_object_with_every_attribute_is_no_cached_function() -> None:
    """As a mock, or a lazy object, that is never asked for an end."""
    with pytest.raises(UnknownFunctionError, match="is no cached function"):
        find_function("tests.functions.test_discovery.ODD")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("raise RuntimeError('out of luck')", "can't be imported: RuntimeError: out of luck"),
        ("import not_there_at_all", "can't be imported: ModuleNotFoundError: No module named 'not_there_at_all'"),
    ],
)
def test_module_that_can_not_be_imported_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, expected: str
) -> None:
    """What it raises is the answer, and not that there is no such function."""
    (tmp_path / "broken_module.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(UnknownFunctionError) as caught:
        find_function("broken_module.double")

    assert expected in str(caught.value)


def test_function_above_the_line_that_fails_is_told_as_its_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is decorated, and its module has failed behind it: what was raised is the answer."""
    (tmp_path / "half_made.py").write_text(
        "from cachedeco import cached_query\n@cached_query\ndef double(number):\n    return 2 * number\nkept = double\n"
        "raise RuntimeError('out of luck', kept)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(UnknownFunctionError, match=r"can't be imported: RuntimeError: .'out of luck'"):
        find_function("half_made.double")
