"""What the pages do: explain, invalidate, examine. They need the doors `diagnosis` and `management`."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from django.contrib import messages
from django.contrib.contenttypes.models import ContentType
from django.core.management.base import CommandError
from django.http import HttpRequest

from cachedeco.contrib.admin.models import Function
from cachedeco.functions.discovery import decorated_functions
from cachedeco.runtime.interrupts import pass_interrupt
from cachedeco.runtime.modes import current_mode
from cachedeco.runtime.reprs import shorten_error

if TYPE_CHECKING:
    from cachedeco.diagnosis.findings import Finding
    from cachedeco.functions.explaining import Explanation
    from cachedeco.management.invalidating import Target, TargetOutcome

logger: Final = logging.getLogger("cachedeco")


def explain(function: str, texts: Sequence[str]) -> tuple[list["Explanation"], str]:
    """Return the explanations of a call, of many ids each, or why there is none."""
    from cachedeco.management.arguments import call_of, function_of

    try:
        explained = call_of(function_of(function), texts).explain()
    except CommandError as error:
        return [], str(error)
    except Exception as error:  # noqa: BLE001 -- a callable of the user's may raise anything
        pass_interrupt(error)
        return [], shorten_error(error)
    several = explained.values() if isinstance(explained, Mapping) else [explained]
    return list(several), ""


def find_target(what: str, data: Mapping[str, Any]) -> "Target":
    """
    Return what to invalidate.

    Raises:
        CommandError: The arguments mean nothing, or the function is not there any more.
    """
    from cachedeco.management import invalidating
    from cachedeco.management.arguments import function_of
    from cachedeco.management.subcommands import failure

    if current_mode() == "off":
        msg = "The mode is 'off' in this process, so that nothing is invalidated."
        raise failure(msg)
    if what == "call":
        return invalidating.target_of_call(function_of(data["function"]), data["arguments"])
    if what == "function":
        spec = next((spec for spec in decorated_functions() if spec.name == data["function"]), None)
        if spec is None:  # one inside another function, which has ended since the form was read
            msg = f"{data['function']}() is not there any more."
            raise failure(msg)
        return invalidating.target_of_function(spec)
    if what == "model":
        return invalidating.target_of_model(data["model"])
    return invalidating.target_of_namespace(data["namespace"])


def invalidate(request: HttpRequest, target: "Target", label: str) -> None:
    """
    Invalidate, tell the user what the caches say, and write it down: in the admin's log, and on the logger.

    There *label* says what it is, without arguments.
    """
    from cachedeco.management.invalidating import invalidate_target, trouble_of, words_of

    outcome = invalidate_target(target)
    trouble = trouble_of([outcome])
    text = f"{words_of(outcome)} {outcome.what}."
    messages.add_message(
        request, messages.WARNING if trouble else messages.SUCCESS, f"{text} {trouble}" if trouble else text
    )
    _write_down(request, outcome, words_of(outcome))
    logger.info("%s %s, by the user with the primary key %s in the admin.", words_of(outcome), label, request.user.pk)


def _write_down(request: HttpRequest, outcome: "TargetOutcome", words: str) -> None:
    from django.contrib.admin.models import CHANGE, LogEntry

    caches = ", ".join([*outcome.acknowledged, *outcome.delayed])
    LogEntry._default_manager.create(
        user_id=request.user.pk,
        content_type=ContentType.objects.get_for_model(Function),
        object_repr=outcome.what[:200],
        action_flag=CHANGE,
        change_message=f"{words} {outcome.what}{f', in the cache {caches}' if caches else ''}.",
    )


def by_subject(findings: "Iterable[Finding]") -> dict[str, "list[Finding]"]:
    """Return findings by what they are about, in their order."""
    grouped: dict[str, list[Finding]] = {}
    for each in findings:
        grouped.setdefault(each.subject, []).append(each)
    return grouped
