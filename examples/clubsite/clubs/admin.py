"""The admin: what is saved here is on the public pages at once."""

from django.contrib import admin

from clubs.models import Closure, Club, ClubClass, Trainer


@admin.register(Club)
class ClubAdmin(admin.ModelAdmin):
    """Edit clubs."""

    list_display = ("name", "city", "founded")
    list_filter = ("city",)
    search_fields = ("name",)


@admin.register(Trainer)
class TrainerAdmin(admin.ModelAdmin):
    """Edit trainers."""

    search_fields = ("name",)


@admin.register(ClubClass)
class ClubClassAdmin(admin.ModelAdmin):
    """Edit classes, and move them to another hour, day or club."""

    list_display = ("title", "club", "weekday", "start_time", "end_time", "level", "trainer")
    list_filter = ("weekday", "level")
    list_select_related = ("club", "trainer")
    search_fields = ("title", "club__name", "trainer__name")
    # Lists of all clubs and all trainers would be a thousand options in every form.
    autocomplete_fields = ("club", "trainer")


@admin.register(Closure)
class ClosureAdmin(admin.ModelAdmin):
    """Edit closures."""

    list_display = ("club", "first_day", "last_day", "reason")
    list_select_related = ("club",)
    date_hierarchy = "first_day"
    autocomplete_fields = ("club",)
