"""Names of rows with one value: what the database may take for equal has one name, or is not told apart."""

from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connections, models
from django.test.utils import isolate_apps
from django.utils.functional import SimpleLazyObject

from cachedeco import Namespace, cached_query, rows
from cachedeco.checks.functions import check_parts
from cachedeco.invalidation import parts
from cachedeco.invalidation.rows import otherwise_compared, text_of
from tests.invalidation.dependencies.conftest import Starting, starting
from tests.models import Club, ClubClass, ProxyClub, SportsClub, Squad, Trainee, YouthSquad

__all__ = ["starting"]  # the fixture

NAME: Any = Club._meta.get_field("name")
CLUB: Any = ClubClass._meta.get_field("club")


@pytest.mark.parametrize(
    "texts",
    [
        ["judo", "JUDO", "Judo", "judo  "],  # NOCASE, RTRIM, citext, MySQL's PAD SPACE
        ["straße", "STRASSE", "Strasse"],
        ["Žluťoučký", "zlutoucky", "ŽLUŤOUČKÝ"],
        ["İstanbul", "istanbul", "\N{LATIN SMALL LETTER DOTLESS I}stanbul", "ISTANBUL"],
        ["ﬁn", "fin"],
    ],
    ids=lambda texts: texts[0],
)
def test_texts_that_a_collation_may_take_for_equal_have_one_name(texts: list[str]) -> None:
    """Without case, accents and spaces at the end: a part that is too large costs a miss."""
    assert 1 == len({text_of(NAME, text) for text in texts})


def test_other_texts_have_names_of_their_own() -> None:
    """Parts stay apart by all else."""
    texts = ["judo", "judo.", " judo", "ju do", "jud", "", "None", "judo\n"]

    assert len(texts) == len({text_of(NAME, text) for text in texts})


@pytest.mark.parametrize(
    ("field", "row"),
    [(CLUB, Club(name="A")), (ClubClass._meta.pk, ClubClass(name="Judo"))],
    ids=["foreign key", "primary key"],
)
def test_row_without_a_primary_key_names_no_rows(field: Any, row: models.Model) -> None:
    """None is the name of rows without a club; a club that is not saved is none of these."""
    with pytest.raises(TypeError, match="it is not saved, so it names no namespace"):
        text_of(field, row)

    assert "club_id.None" == text_of(CLUB, None)


@isolate_apps("tests")
def test_row_without_what_a_foreign_key_holds_of_it_is_told_of_as_such() -> None:
    """A row that is saved, and has no value in the to_field of the key: to save it would not help."""
    meta = type("Meta", (), {"app_label": "tests"})
    code: Any = models.CharField(max_length=9, unique=True, null=True)
    author: Any = type("Author", (models.Model,), {"__module__": __name__, "Meta": meta, "code": code})
    key: Any = models.ForeignKey(author, to_field="code", on_delete=models.CASCADE)
    book: Any = type("Book", (models.Model,), {"__module__": __name__, "Meta": meta, "author": key})

    with pytest.raises(TypeError, match="its code is None, so that no row has it in author_id: name the whole model"):
        text_of(book._meta.get_field("author"), author.from_db("default", ["id", "code"], [1, None]))


def test_row_without_a_primary_key_is_refused_in_an_invalidation_by_hand() -> None:
    """It would reach nothing, in silence."""
    with pytest.raises(TypeError, match="it is not saved"):
        Namespace.for_model(ClubClass, club=Club(name="A"))


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("club", Trainee(pk=7), "club_id takes a row of tests.Club, or its primary key"),
        ("pk", Club(pk=7), "id takes a row of tests.ClubClass, or its primary key"),
    ],
    ids=["foreign key", "primary key"],
)
def test_row_of_another_model_is_refused(field: str, value: models.Model, expected: str, starting: Starting) -> None:
    """Its primary key is that of another row: the part of that one would end, and the one that is meant would not."""
    with starting():

        @cached_query(name="rows.of_other", key=lambda it: it.pk, depends_on=[rows(ClubClass, **{field: "{it}"})])
        def of_other(it: models.Model) -> str:
            return str(it)

    with pytest.raises(TypeError, match=f"can't take <tests.models.{type(value).__name__} object>; {expected}"):
        Namespace.for_model(ClubClass, **{field: value})
    with pytest.raises(TypeError, match=expected):
        of_other(value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (CLUB, ProxyClub(pk=7)),
        (CLUB, SportsClub(pk=7, id=7)),
        (SportsClub._meta.pk, SportsClub(pk=7, id=7)),
        (SportsClub._meta.pk, Club(pk=7)),
        (Club._meta.pk, SportsClub(pk=7, id=7)),
        (YouthSquad._meta.pk, Squad(pk=7)),
        (NAME, Trainee(pk=7)),
        (CLUB, SimpleLazyObject(lambda: Club(pk=7))),
    ],
)
def test_row_of_the_same_table_or_of_a_number_that_is_no_key_is_taken(field: Any, value: Any) -> None:
    """A proxy, a multi-table child and its parent are one row; a number may be the key of any row."""
    assert f"{field.attname}.7" == text_of(field, value)


def test_value_that_no_column_holds_names_rows_that_are_not_there() -> None:
    """What the field refuses is in no row, also where it raises something else than a ValidationError."""
    assert "club_id.inf" == text_of(CLUB, float("inf"))


@pytest.mark.parametrize("template", ["{it.pk}", "{it}", "no {it.pk}"])
def test_row_without_a_primary_key_is_refused_in_rows(starting: Starting, template: str) -> None:
    """The error names function and field."""
    with starting():

        @cached_query(name="rows.of_club", key="{it.name}", depends_on=[rows(ClubClass, club=template)])
        def of_club(it: Club) -> str:
            return it.name

    expected = (
        r"\{it.*\} in rows\(ClubClass, club='.*'\) of rows\.of_club\(\): .*is not saved, so it names no namespace"
    )
    with pytest.raises(TypeError, match=expected):
        of_club(Club(name="A"))


def test_field_of_rows_that_an_argument_does_not_have_is_named(starting: Starting) -> None:
    """A slip in the template of `rows()` is told as one of a key is."""
    with starting():

        @cached_query(key="{it.name}", depends_on=[rows(ClubClass, club="{it.pkk}")])
        def of_club(it: Club) -> str:
            return it.name

    with pytest.raises(AttributeError, match="has no attribute 'pkk'"):
        of_club(Club(pk=7, name="A"))


@pytest.mark.django_db
def test_text_literals_of_rows_may_have_quotes(starting: Starting) -> None:
    """A template's own text is no part of the source that is compiled."""
    with starting():

        @cached_query(depends_on=[rows(Club, name='{name}\'s "club" \\ {{}}')])
        def club(name: str) -> int:
            return Club.objects.filter(name=f'{name}\'s "club" \\ {{}}').count()

    before = club("Ann")
    Club.objects.create(name='Ann\'s "club" \\ {}')

    assert [0, 1] == [before, club("Ann")]


class Lower(models.CharField):
    """A field that compares otherwise than its text says."""

    def get_prep_value(self, value: Any) -> Any:
        """Store another text."""
        return value.strip("-")


class OfDatabase(models.CharField):
    """A field whose type only the database knows."""

    def db_type(self, connection: Any) -> str:  # noqa: ARG002 -- as Django calls it
        """Return it."""
        return "citext"


def of_model(field: "models.Field[Any, Any]") -> Any:
    """Return a field of a model that no table is made for."""
    with isolate_apps("tests"):
        meta = type("Meta", (), {"app_label": "tests"})
        model: Any = type("Thing", (models.Model,), {"__module__": __name__, "Meta": meta, "field": field})
    return model._meta.get_field("field")


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        (models.CharField(max_length=9), ""),
        (models.TextField(), ""),
        (models.CharField(max_length=9, db_collation="NOCASE"), ""),
        (models.SlugField(db_collation="de-x-icu"), ""),
        (models.TextField(db_collation="en_US.utf8"), ""),
        (models.TextField(db_collation="utf8mb4_bin"), ""),
        (models.IntegerField(), ""),
        (models.UUIDField(), ""),
        (models.GenericIPAddressField(), ""),
        (models.ForeignKey(Group, on_delete=models.CASCADE), ""),
        (models.CharField(max_length=9, db_collation="ci"), "the collation 'ci' may take"),
        (models.TextField(db_collation="numeric"), "the collation 'numeric' may take"),
        (Lower(max_length=9), "Lower.get_prep_value() may change its values"),
        (OfDatabase(max_length=9), "OfDatabase.db_type() may change its values"),
    ],
    ids=range(14),
)
def test_fields_that_a_database_compares_otherwise_are_known(field: Any, reason: str) -> None:
    """Collations by name, and fields of another package by the methods that they replace."""
    found = otherwise_compared(of_model(field))

    assert reason == found[: len(reason)]
    assert bool(reason) is bool(found)


def test_texts_are_not_told_apart_where_a_database_ignores_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """MySQL's collations take texts for equal that no rule of Python's does, unless they end in _bin."""
    monkeypatch.setattr(connections["other"], "vendor", "mysql")

    found = [
        otherwise_compared(of_model(field))
        for field in (models.TextField(), models.TextField(db_collation="utf8mb4_bin"), models.IntegerField())
    ]

    assert ["mysql may take different texts for equal", "", ""] == found


def test_lookup_by_equality_of_another_package_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """A project can replace what `filter(name=...)` does."""
    exact = type("Exact", (models.lookups.Exact,), {"__module__": __name__})
    monkeypatch.setattr(models.CharField, "get_lookup", lambda _self, _name: exact)

    assert "its lookup by equality is not Django's" == otherwise_compared(NAME)


@pytest.mark.django_db
def test_function_by_a_field_that_is_not_told_apart_depends_on_the_model(
    starting: Starting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every write to the table reaches it, and the check says why."""
    monkeypatch.setattr(parts, "otherwise_compared", lambda _field: "odd")
    monkeypatch.setattr("cachedeco.checks.functions.otherwise_compared", lambda _field: "odd")
    with starting():

        @cached_query(name="rows.odd", depends_on=[rows(Club, name="{name}")])
        def clubs(name: str) -> int:
            return Club.objects.filter(name=name).count()

    clubs("judo")
    Club.objects.create(name="else")

    assert not clubs.peek("judo")
    [message] = [each for each in check_parts() if "rows.odd" in each.msg]
    assert message.msg.endswith("and not on those of one name: odd.")
    assert "without rows()" in str(message.hint)


@pytest.mark.django_db
def test_row_of_another_case_ends_what_was_read_by_the_first(starting: Starting) -> None:
    """A column that ignores case finds "judo" by "JUDO"."""
    with starting():

        @cached_query(depends_on=[rows(Club, name="{name}")])
        def count(name: str) -> int:
            return Club.objects.filter(name__iexact=name).count()

    before = count("JUDO")
    Club.objects.create(name="judo")

    assert [0, 1] == [before, count("JUDO")]
