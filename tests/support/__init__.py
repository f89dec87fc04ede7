"""What the tests share: servers, clocks, caches that record or misbehave, and tests of these."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
