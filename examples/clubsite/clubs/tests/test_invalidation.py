"""What is saved or deleted changes what is served, and nothing else."""
# ruff: noqa: PT009 -- Django's own test runner, without pytest

from datetime import time, timedelta

from django.utils import timezone

from clubs.models import Closure, ClubClass, Weekday
from clubs.queries import club_classes, club_statistics, directory, next_closure, timetable
from clubs.tests.cases import CachingTestCase


class InvalidationTests(CachingTestCase):
    """What is saved or deleted changes what is served, and nothing else."""

    def setUp(self) -> None:
        """Store everything about both clubs."""
        super().setUp()
        for club in (self.club, self.other):
            club_classes(club)
            club_statistics(club)
            next_closure(club)
        for weekday in Weekday.values:
            timetable(weekday)
        directory()

    def test_class_that_moves_between_clubs_changes_both(self) -> None:
        """A class that moves to another club leaves the one and appears at the other."""
        self.judo.club = self.other
        self.judo.save()

        self.assertEqual([], list(club_classes(self.club)))
        self.assertEqual([self.judo], list(club_classes(self.other)))
        self.assertEqual(0, club_statistics(self.club).classes)
        self.assertEqual(1, club_statistics(self.other).classes)

    def test_class_that_moved_unseen_leaves_the_right_club(self) -> None:
        """Where a class comes from is what the database says, not what an old instance remembers."""
        old_instance = ClubClass.objects.get(pk=self.judo.pk)
        self.judo.club = self.other
        self.judo.save()
        club_classes(self.other)

        old_instance.save()

        self.assertEqual([self.judo], list(club_classes(self.club)))
        self.assertEqual([], list(club_classes(self.other)))

    def test_class_that_moves_to_another_day_changes_both_days(self) -> None:
        """
        A class that moves to another day leaves the one timetable and appears in the other; a third stays.
        """
        self.judo.weekday = Weekday.FRIDAY
        self.judo.save()

        self.assertEqual([], timetable(Weekday.MONDAY.value))
        self.assertEqual(["Technique"], [row.title for row in timetable(Weekday.FRIDAY.value)])
        with self.assertNumQueries(0):
            timetable(Weekday.SUNDAY.value)

    def test_new_class_and_deleted_class_are_seen(self) -> None:
        """A class appears when it is created and disappears when it is deleted."""
        new = self.new_class()
        self.assertEqual([self.judo, new], list(club_classes(self.club)))

        new.delete()
        self.assertEqual([self.judo], list(club_classes(self.club)))

    def test_moved_class_leaves_the_rest_alone(self) -> None:
        """A class at another hour changes neither its club's closure nor another club."""
        self.judo.start_time = time(17)
        self.judo.save()

        with self.assertNumQueries(0):
            next_closure(self.club)
            club_classes(self.other)
            club_statistics(self.other)
            directory()

    def test_closure_that_moves_between_clubs_changes_both(self) -> None:
        """A closure that is entered for the wrong club, and then corrected, is right at both."""
        today = timezone.localdate()
        closure = Closure.objects.create(
            club=self.club,
            first_day=today,
            last_day=today + timedelta(days=1),
            reason="Painting",
        )
        self.assertEqual(closure, next_closure(self.club))

        closure.club = self.other
        closure.save()

        self.assertIsNone(next_closure(self.club))
        self.assertEqual(closure, next_closure(self.other))

    def test_renamed_club_changes_all_of_it_and_no_other(self) -> None:
        """A renamed club is computed anew, wherever its name stands; another club is not."""
        self.club.name = "Marlow Budo Club"
        self.club.save()

        with self.assertNumQueries(3):
            club_classes(self.club)
            club_statistics(self.club)
            next_closure(self.club)
        with self.assertNumQueries(0):
            club_classes(self.other)
            club_statistics(self.other)
            next_closure(self.other)
        self.assertEqual("Marlow Budo Club", directory()[0].name)
        self.assertEqual("Marlow Budo Club", timetable(Weekday.MONDAY.value)[0].club_name)

    def test_renamed_trainer_is_seen(self) -> None:
        """A trainer's new name is shown by each club that the trainer works for."""
        self.trainer.name = "Ada Lund"
        self.trainer.save()

        self.assertEqual("Ada Lund", club_classes(self.club)[0].trainer.name)
        self.assertEqual("Ada Lund", timetable(Weekday.MONDAY.value)[0].trainer_name)

    def test_deleted_club_is_gone(self) -> None:
        """A deleted club takes its classes with it, out of the timetable as well."""
        self.club.delete()

        self.assertEqual([], timetable(Weekday.MONDAY.value))
        self.assertEqual(["Northam Chess Club"], [club.name for club in directory()])
