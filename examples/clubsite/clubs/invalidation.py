"""What a namespace is invalidated by; of the models, `depends_on` in queries.py tells."""

from django.db.models.signals import post_save
from django.dispatch import receiver

from cachedeco import Namespace
from clubs.models import Club


@receiver(post_save, sender=Club)
def invalidate_club(instance: Club, **_: object) -> None:
    """Invalidate everything that is known about the club."""
    Namespace("club", instance.pk).invalidate()
