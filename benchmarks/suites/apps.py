"""The app that puts the oracle around helpers of the project, once all models are there."""

from django.apps import AppConfig

from benchmarks.suites.settings import NAME


class OracleConfig(AppConfig):
    """Configure the app."""

    name = "benchmarks.suites"
    label = "suites_oracle"

    def ready(self) -> None:
        """Replace the helpers. Django calls this again where a test overrides INSTALLED_APPS."""
        from benchmarks.suites.helpers import replace_helpers

        replace_helpers(NAME)
