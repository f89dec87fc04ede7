"""The one form of the public site."""

from django import forms

from clubs.models import ClubClass


class MoveForm(forms.ModelForm):
    """Ask for the day and the hours to which a class is moved."""

    class Meta:
        """Which fields, and how a browser shows them."""

        model = ClubClass
        fields = ("weekday", "start_time", "end_time")
        widgets = {  # noqa: RUF012
            "start_time": forms.TimeInput({"type": "time"}, format="%H:%M"),
            "end_time": forms.TimeInput({"type": "time"}, format="%H:%M"),
        }
