"""Create the table of the outbox, and its index."""

from typing import ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    """Make the table."""

    initial = True
    dependencies: ClassVar = []
    operations: ClassVar = [
        migrations.CreateModel(
            name="Row",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("cache", models.CharField(max_length=100)),
                ("key", models.CharField(max_length=250)),
                ("lifetime", models.FloatField(null=True)),
                ("created", models.FloatField()),
                ("acknowledged", models.FloatField(null=True)),
            ],
            options={"indexes": [models.Index(fields=["acknowledged", "id"], name="cachedeco_outbox_waiting")]},
        ),
    ]
