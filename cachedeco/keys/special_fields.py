"""Values of the fields of `django.contrib.gis` and `django.contrib.postgres`: what tells two of one class apart."""

from collections.abc import Callable
from typing import Any, Final


def _identity_of_geometry(geometry: Any) -> object:
    return bytes(geometry.ewkb)  # with its SRID, and a third dimension


def _identity_of_measure(measure: Any) -> object:
    return measure.standard, str(measure)  # as text it has its unit


def _identity_of_range(values: Any) -> object:
    return values.lower, values.upper, values.lower_inc, values.upper_inc, values.isempty


# By name: an import of these needs a library of the system, or the driver of a database.
IDENTITIES: Final[dict[str, Callable[[Any], object]]] = {
    f"{module}.{name}": identity
    for module, names, identity in (
        ("django.contrib.gis.geos.point", ("Point",), _identity_of_geometry),
        ("django.contrib.gis.geos.linestring", ("LineString", "LinearRing"), _identity_of_geometry),
        ("django.contrib.gis.geos.polygon", ("Polygon",), _identity_of_geometry),
        (
            "django.contrib.gis.geos.collections",
            ("GeometryCollection", "MultiLineString", "MultiPoint", "MultiPolygon"),
            _identity_of_geometry,
        ),
        ("django.contrib.gis.measure", ("Area", "Distance"), _identity_of_measure),
        (
            "psycopg.types.range",
            ("DateRange", "Int4Range", "Int8Range", "NumericRange", "Range", "TimestampRange", "TimestamptzRange"),
            _identity_of_range,
        ),
        (
            "psycopg2._range",
            ("DateRange", "DateTimeRange", "DateTimeTZRange", "NumericRange", "Range"),
            _identity_of_range,
        ),
    )
    for name in names
}
