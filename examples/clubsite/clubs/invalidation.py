"""Which saved or deleted row invalidates what: the whole answer, in one place."""

from django.db.models.signals import post_delete, post_save, pre_delete, pre_save
from django.dispatch import receiver

from cachedeco import Namespace
from clubs.models import Closure, Club, ClubClass, Trainer
from clubs.queries import club_classes, club_statistics, directory, next_closure


@receiver((pre_save, pre_delete), sender=ClubClass)
@receiver((pre_save, pre_delete), sender=Closure)
def remember_row_before(
    sender: type[ClubClass | Closure],
    instance: ClubClass | Closure,
    using: str,
    **_: object,
) -> None:
    """
    Remember where the row is now: a row that moves away concerns the club that it leaves.

    The database is asked, not the instance: another process may have moved the row since this one
    read it. Between this and the write, a transaction keeps other writers out (SQLite's, which
    begins IMMEDIATE here; elsewhere this would be a ``select_for_update()``).
    """
    instance.row_before = sender._base_manager.using(using).filter(pk=instance.pk).first()  # noqa: SLF001


@receiver((post_save, post_delete), sender=ClubClass)
def invalidate_class(instance: ClubClass, **_: object) -> None:
    """Invalidate what shows the class, where it was and where it is."""
    rows = [row for row in (instance.row_before, instance) if row is not None]
    for club_pk in {row.club_id for row in rows}:
        invalidate_classes_of(club_pk)
    for weekday in {row.weekday for row in rows}:
        Namespace("timetable", weekday).invalidate()


@receiver((post_save, post_delete), sender=Closure)
def invalidate_closure(instance: Closure, **_: object) -> None:
    """Invalidate the next closure of the club that the closure was at and of the one that it is at."""
    rows = [row for row in (instance.row_before, instance) if row is not None]
    for club_pk in {row.club_id for row in rows}:
        next_closure.invalidate(Club(pk=club_pk))


@receiver((post_save, post_delete), sender=Club)
def invalidate_club(instance: Club, **_: object) -> None:
    """Invalidate everything that is known about the club, and the lists that show its name."""
    Namespace("club", instance.pk).invalidate()
    Namespace("timetable").invalidate()
    directory.invalidate()


@receiver(post_save, sender=Trainer)
def invalidate_trainer(instance: Trainer, using: str, *, created: bool, **_: object) -> None:
    """Invalidate what shows the trainer's name; one who has classes can't be deleted."""
    if created:
        return
    classes = ClubClass.objects.using(using).filter(trainer=instance)
    for club_pk in classes.order_by().values_list("club_id", flat=True).distinct():
        invalidate_classes_of(club_pk)
    Namespace("timetable").invalidate()


def invalidate_classes_of(club_pk: int) -> None:
    """Invalidate what is computed from the classes of one club; its next closure stays."""
    club = Club(pk=club_pk)  # the key reads nothing but the pk: no query for the rest of the row
    club_classes.invalidate(club)
    club_statistics.invalidate(club)


def invalidate_everything() -> None:
    """Invalidate every entry of the site, for writes that send no signals, such as bulk_create()."""
    Namespace("club").invalidate()
    Namespace("timetable").invalidate()
    directory.invalidate_all()
