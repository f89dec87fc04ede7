"""The pages in Django's admin: who may see and do what, and by which address."""

from collections.abc import Mapping
from time import sleep
from typing import TYPE_CHECKING, Any, Final

from django import forms
from django.contrib import admin
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.core.management.base import CommandError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from cachedeco import Statistics, statistics
from cachedeco.contrib.admin import pages
from cachedeco.contrib.admin.figures import figures_of
from cachedeco.contrib.admin.forms import CallForm, ModelForm, NamespaceForm
from cachedeco.functions.discovery import decorated_functions

if TYPE_CHECKING:
    from cachedeco.contrib.admin.models import Function

    Base = admin.ModelAdmin[Function]
else:
    Base = admin.ModelAdmin

CHANGELIST: Final = "cachedeco_admin_function_changelist"
EXPLAIN: Final = "cachedeco_admin_function_explain"
INVALIDATE: Final = "cachedeco_admin_function_invalidate"
HEALTH: Final = "cachedeco_admin_function_health"


class FunctionAdmin(Base):
    """Four pages: figures, explain, invalidate, health. No rows are shown, added, changed or deleted."""

    def get_urls(self) -> list[URLPattern]:
        """Return the addresses of the pages, and of no others."""
        views = {
            "": (self.changelist_view, CHANGELIST),
            "explain/": (self.explain_view, EXPLAIN),
            "invalidate/": (self.invalidate_view, INVALIDATE),
            "health/": (self.health_view, HEALTH),
        }
        return [path(route, self.admin_site.admin_view(view), name=name) for route, (view, name) in views.items()]

    def has_add_permission(self, request: HttpRequest, *_: Any) -> bool:  # noqa: ARG002 -- Django's signature
        """Refuse: there are no rows."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002 -- as above
        """Refuse: there are no rows."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002 -- as above
        """Refuse: there are no rows."""
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002 -- as above
        """Tell whether a user may look."""
        return self._may(request, "view")

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Show what functions cost and save, and what is invalidated most."""
        self._require(request, "view")
        names = {spec.name for spec in decorated_functions()}
        try:
            counted = statistics(shared=True)
        except ImproperlyConfigured as error:  # each call raises, and this page says why
            counted = statistics() + Statistics(problem=str(error))
        figures = figures_of(counted, names)
        return self._page(request, CHANGELIST, "Cached functions", {"figures": figures, **(extra_context or {})})

    def explain_view(self, request: HttpRequest) -> HttpResponse:
        """Say what a call would do now, and why. By POST, as arguments have no place in the logs of servers."""
        self._require(request, "view")
        form = CallForm(request.POST if request.method == "POST" else None, initial=request.GET.dict())
        context: dict[str, Any] = {"form": form}
        if form.is_valid():
            function, texts = form.cleaned_data["function"], form.cleaned_data["arguments"]
            context["explanations"], context["problem"] = pages.explain(function, texts)
        return self._page(request, EXPLAIN, "Explain a call", context)

    def invalidate_view(self, request: HttpRequest) -> HttpResponse:
        """Offer what can be invalidated; ask by the first POST, do it by the second."""
        self._require(request, "view")
        self._require(request, "invalidate")
        what = request.POST.get("what", "") if request.method == "POST" else ""
        offered = {
            "call_form": CallForm(request.POST if what in {"call", "function"} else None, initial=request.GET.dict()),
            "namespace_form": NamespaceForm(request.POST if what == "namespace" else None),
            "model_form": ModelForm(request.POST if what == "model" else None),
        }
        context: dict[str, Any] = dict(offered)
        form = next((each for each in offered.values() if each.is_bound), None)
        if form is not None and form.is_valid():
            try:
                target = pages.find_target(what, form.cleaned_data)
            except (CommandError, ImproperlyConfigured) as error:
                context["problem"] = str(error)
            else:
                if "confirmed" in request.POST:
                    pages.invalidate(request, target, label_of(what, form.cleaned_data))
                    return HttpResponseRedirect(self._address(CHANGELIST))
                return self._page(
                    request, "confirm", "Invalidate?", {"target": target, "what": what, "fields": given_in(form)}
                )
        return self._page(request, INVALIDATE, "Invalidate", context)

    def health_view(self, request: HttpRequest) -> HttpResponse:
        """Show what this process and the outbox say; the whole examination only when it is asked for, by POST."""
        from cachedeco.diagnosis.examination import examine, glance

        self._require(request, "view")
        is_whole = request.method == "POST"
        findings = list(examine(sleep) if is_whole else glance())
        wrong = sum(each.state == "wrong" for each in findings)
        context = {
            "subjects": pages.by_subject(findings),
            "is_whole": is_whole,
            "count": len(findings),
            "wrong": wrong,
        }
        return self._page(request, HEALTH, "Health of the caches", context)

    def _may(self, request: HttpRequest, what: str) -> bool:
        user: Any = request.user  # of a model of the project's
        return bool(user.has_perm(f"{self.opts.app_label}.{what}_{self.opts.model_name}"))

    def _require(self, request: HttpRequest, what: str) -> None:
        if not self._may(request, what):
            raise PermissionDenied

    def _address(self, name: str) -> str:
        return reverse(f"admin:{name}", current_app=self.admin_site.name)

    def _page(self, request: HttpRequest, name: str, title: str, context: Mapping[str, Any]) -> HttpResponse:
        """Return a page; *name* is that of its address, or of its template."""
        may_invalidate = self._may(request, "invalidate")
        tabs = [
            (CHANGELIST, "Figures"),
            (EXPLAIN, "Explain"),
            *([(INVALIDATE, "Invalidate")] if may_invalidate else []),
            (HEALTH, "Health"),
        ]
        request.current_app = self.admin_site.name  # as Django's own views do
        return TemplateResponse(
            request,
            f"admin/cachedeco_admin/{name.removeprefix('cachedeco_admin_function_')}.html",
            {
                **self.admin_site.each_context(request),
                "title": title,
                "opts": self.opts,
                "tabs": [(self._address(each), text, each == name) for each, text in tabs],
                "may_invalidate": may_invalidate,
                **context,
            },
        )


def given_in(form: forms.Form) -> list[tuple[str, str]]:
    """Return the names and texts of the fields of a form, to be sent again."""
    return [(name, form.data.get(name, "")) for name in form.fields]


def label_of(what: str, data: Mapping[str, Any]) -> str:
    """Return what is invalidated, without arguments: of a namespace its first part."""
    if what == "call":
        return f"a call of {data['function']}()"
    if what == "function":
        return f"every call of {data['function']}()"
    return f"{what} {data[what].partition(':')[0]}"
