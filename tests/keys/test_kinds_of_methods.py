"""A method's key has the class of its instance where that can matter: what it calls may be another class's."""

from typing import Any

import pytest
from django.db import models

from cachedeco import MISSING, cached_query
from tests.models import Club, ProxyClub


class Methods:
    """Methods with a key of each form, which call what another class overrides."""

    def label(self) -> str:
        """Return what is of this class alone."""
        return type(self).__name__

    @cached_query
    def by_arguments(self) -> str:
        """Have the instance in the key."""
        return self.label()

    @cached_query(key="{self}")
    def by_self(self) -> str:
        """Have it in a template."""
        return self.label()

    @cached_query(key="{self.pk}")
    def by_attribute(self: Any) -> str:
        """Have an attribute of it in a template."""
        return str(self.label())

    @cached_query(key=lambda self: self.pk)
    def by_callable(self: Any) -> str:
        """Have what a callable gives."""
        return str(self.label())

    @cached_query(ignore=("self",))
    def without_self(self) -> str:
        """Have nothing of it."""
        return self.label()


FORMS = ["by_arguments", "by_self", "by_attribute", "by_callable", "without_self"]


class Plain(Methods):
    """A class that is no model."""

    pk = 7

    def __cache_key__(self) -> int:
        """Return the primary key."""
        return self.pk


class Derived(Plain):
    """A class that derives from it."""


@pytest.mark.parametrize("form", FORMS)
def test_subclass_has_entries_of_its_own(form: str) -> None:
    """A method that is inherited computes anew for each class, with any key."""
    methods = [getattr(each, form) for each in (Plain(), Derived())]

    values = [method() for method in (*methods, *methods)]
    methods[0].invalidate()

    assert ["Plain", "Derived"] * 2 == values
    assert methods[0].peek() is MISSING


def test_invalidation_of_a_method_that_ignores_its_instance_reaches_each_class() -> None:
    """There is no instance that it could be about."""
    methods = [Plain().without_self, Derived().without_self]
    values = [method() for method in methods]

    Methods.without_self.invalidate(None)

    assert ["Plain", "Derived"] == values
    assert [MISSING, MISSING] == [method.peek() for method in methods]


@pytest.mark.parametrize("form", FORMS)
def test_proxy_has_entries_of_its_own_which_its_row_invalidates(form: str) -> None:
    """A proxy may override what the method calls; an invalidation by either reaches both, as they are one row."""

    class Labelled(Methods, Club):
        class Meta:
            proxy = True
            app_label = f"tests_{form}"

    class Other(Labelled):
        class Meta:
            proxy = True
            app_label = f"tests_{form}"

    rows = Labelled(pk=7), Other(pk=7)
    for row in rows:
        row._state.adding = False
    methods = [getattr(row, form) for row in rows]

    values = [method() for method in (*methods, *methods)]
    methods[1].invalidate()

    assert ["Labelled", "Other"] * 2 == values
    assert [MISSING, MISSING] == [method.peek() for method in methods]


class ClubManager(models.Manager[Club]):
    """A manager with arguments of its own, and a method that reads them."""

    def __init__(self, kind: str = "") -> None:
        """Keep the kind."""
        super().__init__()
        self.kind = kind

    @cached_query(ignore=("self",))
    def described(self) -> str:
        """Return what tells the managers apart."""
        return f"{self.model.__name__} {self.kind} {self.db}"

    @cached_query(key=lambda self: self.kind[:0])
    def by_callable(self) -> str:
        """Return the same, by a key that tells less."""
        return f"{self.model.__name__} {self.kind} {self.db}"


def test_managers_of_one_class_have_entries_of_their_own() -> None:
    """Managers of two models, of two names and of two databases are told apart where `self` is ignored."""

    class North(Club):
        objects = ClubManager("all")
        others = ClubManager("others")

        class Meta:
            proxy = True
            app_label = "tests_managers"

    class South(North):
        class Meta:
            proxy = True
            app_label = "tests_managers"

    managers: list[Any] = [North.objects, North.others, South.objects, North.objects.db_manager("other")]

    for values in ([each.described() for each in managers], [each.by_callable() for each in managers]):
        assert ["North all default", "North others default", "South all default", "North all other"] == values


class Unsaid(models.Manager[Club]):
    """A manager with a cached method that does not say of what it is one."""

    @cached_query
    def number(self) -> int:
        """Return how many rows there are."""
        return self.count()


def test_manager_that_is_not_ignored_is_told_that_it_can_be() -> None:
    """The method of a manager stays where it is: two words make a key of its model."""
    manager = Unsaid()
    manager.model = Club

    with pytest.raises(TypeError, match=r"self of .*number\(\).*the manager of a model says ignore=\('self',\)"):
        manager.number()


@cached_query(key="{club.classes}", name="kinds.of_relation")
def of_relation(club: Club) -> Club:
    """Have a relation in the key."""
    return club


def test_relation_in_a_template_is_not_told_what_a_method_can_do() -> None:
    """Nothing is called `self` here, which a cached method could ignore."""
    with pytest.raises(TypeError, match=r"a RelatedManager \(club\.classes of .* may change under the key\.$"):
        of_relation(Club(pk=1))


class ClubQuery(models.QuerySet[Club]):
    """A QuerySet with a cached method."""

    @cached_query(ignore=("self",))
    def names(self) -> list[str]:
        """Return what the rows are called."""
        return [row.name for row in self]


@pytest.mark.parametrize(
    "rows",
    [
        ClubQuery(Club).filter(pk=7),
        ClubQuery(Club)[:7],
        ClubQuery(Club).distinct(),
        ClubQuery(Club).order_by("name"),
        ClubQuery(Club).values("name"),
        ClubQuery(Club).only("pk"),
        ClubQuery(Club).union(ClubQuery(Club)),
        ClubQuery(Club).annotate(number=models.Value(7)),
        ClubQuery(Club).none(),
        type("Related", (ClubQuery.as_manager().__class__,), {"instance": Club(pk=7)})(),
    ],
    ids=range(10),
)
def test_some_rows_as_self_are_refused(rows: Any) -> None:
    """What a QuerySet or the manager of a relation selects is in no key: one club's classes would be another one's."""
    with pytest.raises(
        TypeError, match=r"self of .*names\(\).*what selects the rows \(ids, a filter's value\)"
    ) as caught:
        rows.names() if isinstance(rows, models.QuerySet) else ClubQuery.names(rows)
    assert "says ignore=('self',)" not in str(caught.value)


def test_all_rows_as_self_are_told_by_model_and_database() -> None:
    """A QuerySet of all rows is another one for each model and each database."""
    keys = [
        rows.names.key_for()
        for rows in (ClubQuery(Club), ClubQuery(Club).all(), ClubQuery(ProxyClub), ClubQuery(Club).using("other"))
    ]

    assert keys[0] == keys[1]
    assert 3 == len({*keys})


def test_class_that_a_classmethod_ignores_is_ignored() -> None:
    """`cls` is the class, so that `ignore` speaks for it."""

    class Base:
        @cached_query(name="kinds.of_class", ignore=("cls",))
        @classmethod
        def title(cls) -> str:
            return cls.__name__

    class Sub(Base):
        pass

    assert ["Base", "Base"] == [Base.title(), Sub.title()]
