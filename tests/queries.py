"""What is imported when Django starts: functions that depend on parts of models, so that writes tell these apart."""

from tests.invalidation.dependencies import roster

__all__ = ["roster"]
