"""Values of the fields of django.contrib.gis and django.contrib.postgres in keys."""

import re
from datetime import date
from decimal import Decimal
from importlib import import_module
from importlib.util import find_spec
from ipaddress import IPv4Interface, IPv6Interface
from pathlib import Path
from typing import Any

import pytest
from django.contrib.gis.measure import Area, Distance

from cachedeco import cached_query
from cachedeco.keys.encoders import encode
from cachedeco.keys.special_fields import IDENTITIES
from tests.models import Club


def geometry(name: str, ewkb: bytes) -> Any:
    """Return what is called as a geometry of Django, which needs a library of the system."""
    [module] = [path.rpartition(".")[0] for path in IDENTITIES if path.endswith(f"geos.{name.lower()}.{name}")]
    return type(name, (), {"__module__": module, "ewkb": memoryview(ewkb)})()


@pytest.mark.parametrize("driver", ["psycopg.types.range", "psycopg2.extras"])
def test_ranges_of_a_driver_are_told_apart(driver: str) -> None:
    """By their bounds and the types of these, whether they are included, and whether the range is empty."""
    make: Any = import_module(driver).NumericRange
    days: Any = import_module(driver).DateRange

    made = [
        [make(1, 5), make(1, 5, "[)")],
        [make(1, 5, "(]")],
        [make(1, None)],
        [make(None, 1)],
        [make(Decimal(1), Decimal(5))],
        [make(empty=True), make(empty=True)],
        [make(None, None)],
        [days(date(2026, 1, 1), date(2026, 2, 1))],
    ]

    texts = [{encode(each) for each in alike} for alike in made]
    assert [1] * len(made) == [len(each) for each in texts]
    assert len(made) == len(set.union(*texts))


def test_measures_are_told_apart() -> None:
    """By their value, and by the unit that they show."""
    measures = [Distance(km=1), Distance(km=2), Distance(m=1000), Distance(mi=1), Area(sq_km=1), Area(sq_m=1e6)]

    assert len(measures) == len({encode(each) for each in measures})
    assert encode(Distance(km=1)) == encode(Distance(km=1.0))


def test_geometries_are_told_apart() -> None:
    """By their class, and what is in them."""
    made = [geometry("Point", b"01"), geometry("Point", b"02"), geometry("Polygon", b"01")]

    assert 3 == len({encode(each) for each in made})
    assert encode(geometry("Point", b"01")) == encode(geometry("Point", b"01"))


def test_names_are_those_of_django_and_the_drivers() -> None:
    """Geometries can't be imported without a library of the system, so that the text of Django is asked."""
    missing = []
    for path in IDENTITIES:
        module, _, name = path.rpartition(".")
        top, *below = module.split(".")
        found = find_spec(top)
        assert found
        assert found.submodule_search_locations
        text = Path(found.submodule_search_locations[0], *below).with_suffix(".py").read_text()
        if not re.search(rf"^class {name}\b", text, re.MULTILINE):
            missing.append(path)

    assert not missing


def test_interfaces_of_networks_are_told_apart() -> None:
    """By their address and their network: some drivers and fields give these."""
    made = [IPv4Interface("10.0.0.1/8"), IPv4Interface("10.0.0.1/16"), IPv6Interface("::1/64")]

    assert 3 == len({encode(each) for each in made})


@pytest.mark.django_db
def test_annotated_distance_tells_calls_apart() -> None:
    """It may be the distance from one visitor."""

    @cached_query(3600)
    def card(club: Any) -> str:
        return str(club.distance)

    Club.objects.create(name="North")
    near, far = Club.objects.get(), Club.objects.get()
    vars(near)["distance"], vars(far)["distance"] = Distance(km=1), Distance(km=9)

    assert ["1.0 km", "9.0 km"] * 2 == [card(near), card(far), card(near), card(far)]
