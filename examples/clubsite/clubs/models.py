"""What the site keeps: clubs, trainers, classes, and the days on which a club is closed."""

from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.urls import reverse


class Weekday(models.IntegerChoices):
    """A day of the week, numbered as in ISO 8601."""

    MONDAY = 1, "Monday"
    TUESDAY = 2, "Tuesday"
    WEDNESDAY = 3, "Wednesday"
    THURSDAY = 4, "Thursday"
    FRIDAY = 5, "Friday"
    SATURDAY = 6, "Saturday"
    SUNDAY = 7, "Sunday"


class Level(models.TextChoices):
    """The level of its participants."""

    BEGINNER = "beginner", "Beginners"
    INTERMEDIATE = "intermediate", "Intermediate"
    ADVANCED = "advanced", "Advanced"
    ALL = "all", "Everyone"


class Club(models.Model):
    """A sports club."""

    name = models.CharField(max_length=100, unique=True)
    city = models.CharField(max_length=60, db_index=True)
    founded = models.PositiveSmallIntegerField(validators=[MinValueValidator(1800)])

    def __str__(self) -> str:
        """Return the name."""
        return self.name

    def get_absolute_url(self) -> str:
        """Return the address of the club's page."""
        return reverse("club_page", args=[self.pk])


class Trainer(models.Model):
    """A person who gives classes, at one club or at several."""

    name = models.CharField(max_length=100)

    def __str__(self) -> str:
        """Return the name."""
        return self.name


class ClubClass(models.Model):
    """A class that a club gives once a week."""

    club = models.ForeignKey(Club, on_delete=models.CASCADE, related_name="classes")
    title = models.CharField(max_length=100)
    weekday = models.PositiveSmallIntegerField(choices=Weekday, db_index=True)
    start_time = models.TimeField()
    end_time = models.TimeField()
    level = models.CharField(max_length=20, choices=Level, default=Level.ALL)
    trainer = models.ForeignKey(Trainer, on_delete=models.PROTECT, related_name="classes")

    class Meta:
        """Names for the admin, and what a class can't be."""

        verbose_name = "class"
        verbose_name_plural = "classes"
        constraints = (
            models.CheckConstraint(
                condition=Q(end_time__gt=F("start_time")),
                name="class_ends_after_it_starts",
                violation_error_message="A class must end after it starts.",
            ),
        )

    def __str__(self) -> str:
        """Return the title, the day and the hour."""
        return f"{self.title} ({self.get_weekday_display()} {self.start_time:%H:%M})"

    def get_absolute_url(self) -> str:
        """Return the address of the page of its club."""
        return reverse("club_page", args=[self.club_id])


class Closure(models.Model):
    """A stretch of days on which a club is closed."""

    club = models.ForeignKey(Club, on_delete=models.CASCADE, related_name="closures")
    first_day = models.DateField(db_index=True)
    last_day = models.DateField()
    reason = models.CharField(max_length=100)

    class Meta:
        """What a closure can't be."""

        constraints = (
            models.CheckConstraint(
                condition=Q(last_day__gte=F("first_day")),
                name="closure_ends_after_it_starts",
                violation_error_message="The last day can't be before the first.",
            ),
        )

    def __str__(self) -> str:
        """Return the reason and the first day."""
        return f"{self.reason} ({self.first_day})"
