"""Record writes from outside Django, in the tables of the clubs."""

from typing import ClassVar

from django.db import migrations

import cachedeco.outbox.triggers


class Migration(migrations.Migration):
    """Add the triggers; other databases than PostgreSQL have none."""

    dependencies: ClassVar = [
        ("cachedeco_outbox", "0001_initial"),
        ("clubs", "0001_initial"),
    ]

    operations: ClassVar = [
        cachedeco.outbox.triggers.AddTriggers(
            tables=[
                "clubs_closure",
                "clubs_club",
                "clubs_clubclass",
                "clubs_trainer",
            ],
        ),
    ]
