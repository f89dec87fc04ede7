"""The app of the project, without a database."""

from django.apps import AppConfig


class FleetsConfig(AppConfig):
    """The app with the model whose rows are cached."""

    name = "tests.scenarios.fleets"
