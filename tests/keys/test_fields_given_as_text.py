"""Fields of rows in templates: what a form gave as text is the value that a query gives."""

import uuid
from datetime import UTC, date, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import models
from django.test.utils import isolate_apps

from cachedeco import cached_query
from cachedeco.keys.encoders import encode
from tests.models import Club, ClubClass, Match, Player, Squad, UuidThing
from tests.support.stored import bare

ID = uuid.uuid4()
NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)


class OddField(models.CharField):  # type: ignore[type-arg] # Django's own class takes no parameters
    """A field of another package."""

    def to_python(self, value: Any) -> Any:
        """Return what no row has that was read."""
        return [value]


with isolate_apps("tests"):
    Odd: Any = type(
        "Odd",
        (models.Model,),
        {"code": OddField(max_length=9), "Meta": type("Meta", (), {"app_label": "tests"}), "__module__": __name__},
    )


# A template, a row as a form makes it, and the same as a query gives it.
ROWS: dict[str, tuple[str, models.Model, models.Model]] = {
    "a foreign key": ("{row.club_id}", ClubClass(club_id="7"), ClubClass(club_id=7)),
    "a primary key": ("{row.pk}", Club(pk="7"), Club(pk=7)),
    "its name": ("{row.id}", Club(id="7"), Club(id=7)),
    "a UUID": ("{row.id}", UuidThing(id=str(ID).upper()), UuidThing(id=ID)),
    "a date": ("{row.day}", Match(day="2026-11-29"), Match(day=date(2026, 11, 29))),
    "a time": ("{row.start_time}", ClubClass(start_time="2026-11-29T12:00:00Z"), ClubClass(start_time=NOON)),
    "a related row": ("{row.squad.pk}", Player(squad=Squad(pk="7")), Player(squad=Squad(pk=7))),
    "several fields": ("{row.pk}:{row.club_id}", ClubClass(pk=1, club_id="7"), ClubClass(pk=1, club_id=7)),
}


@pytest.mark.parametrize("case", ROWS)
def test_row_that_was_made_with_text_has_the_key_of_the_row_as_read(case: str) -> None:
    """Else `invalidate()` with one would not reach what the other has stored."""
    template, made, read = ROWS[case]

    @cached_query(key=template)
    def page(row: models.Model) -> object:
        return row

    assert page.key_for(read) == page.key_for(made)


@pytest.mark.parametrize(
    ("template", "row", "text"),
    [
        ("{row.name}", Club(name="7"), "7"),
        ("{row.club_id}", ClubClass(club_id="seven"), "seven"),
        ("{row.start_time}", ClubClass(start_time="noon"), "noon"),
        ("{row.code}", Odd(code="a"), "a"),
        ("{row.nickname}", SimpleNamespace(nickname="7"), "7"),
        ("{row.name}", UuidThing(name="None"), "None"),
    ],
)
def test_text_that_is_no_other_value_of_its_field_stays_text(template: str, row: Any, text: str) -> None:
    """A text field's, what the field refuses, what another package's would make of it, and other attributes."""

    @cached_query(key=template, name="fields.page")
    def page(row: Any) -> object:
        return row

    assert f"={encode(text)}" in bare(page.key_for(row))
