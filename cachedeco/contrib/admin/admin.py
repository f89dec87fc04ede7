"""Registers the pages with Django's admin, which looks for this module."""

from django.contrib import admin

from cachedeco.contrib.admin.models import Function
from cachedeco.contrib.admin.views import FunctionAdmin

admin.site.register(Function, FunctionAdmin)
