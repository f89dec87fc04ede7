"""Forms: which call to explain, what to invalidate."""

import shlex
from typing import Final

from django import forms
from django.apps import apps

from cachedeco.functions.discovery import decorated_functions

LONGEST: Final = 2000  # characters of the arguments, or of a namespace
ARGUMENTS_HELP: Final = (
    "As behind manage.py cachedeco explain, separated by spaces: 7, true, judo, 'two words', page=2, "
    "a row as clubs.Club:7."
)
# Arguments and namespaces are no words of a language, and no browser keeps them.
TYPED: Final = {"class": "vTextField", "autocomplete": "off", "spellcheck": "false"}


def _functions() -> list[tuple[str, str]]:
    """Return the functions that this process knows: no other module is imported."""
    return [(name, name) for name in sorted({spec.name for spec in decorated_functions()})]


def _models() -> list[tuple[str, str]]:
    labels = sorted(model._meta.label for model in apps.get_models() if model._meta.managed)
    return [(label, label) for label in labels]


class CallForm(forms.Form):
    """A function, and the arguments of a call."""

    function = forms.ChoiceField(choices=_functions)
    arguments = forms.CharField(
        required=False,
        max_length=LONGEST,
        help_text=ARGUMENTS_HELP,
        widget=forms.TextInput(attrs=TYPED),
    )

    def clean_arguments(self) -> list[str]:
        """Return the arguments as a shell reads them."""
        try:
            return shlex.split(self.cleaned_data["arguments"])
        except ValueError as error:
            msg = f"{error}: write a quote that is meant as a letter between quotes of the other kind."
            raise forms.ValidationError(msg) from None


class NamespaceForm(forms.Form):
    """A namespace."""

    namespace = forms.CharField(
        max_length=LONGEST,
        help_text="As in namespace=: club:7. It covers all below it; club covers club:7.",
        widget=forms.TextInput(attrs=TYPED),
    )


class ModelForm(forms.Form):
    """A model of the project."""

    model = forms.ChoiceField(choices=_models, help_text="All that depends on it, or on rows of it.")
