"""What Django looks for in an engine."""

from tests.schedules.database import SteppedDatabase as DatabaseWrapper

__all__ = ["DatabaseWrapper"]
