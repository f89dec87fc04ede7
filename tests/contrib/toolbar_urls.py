"""The addresses of the site: imported when the toolbar is installed, which needs its app."""

from debug_toolbar.toolbar import debug_toolbar_urls
from django.urls import path

from tests.contrib.toolbar_site import async_page, page

urlpatterns = [path("page/<name>/", page), path("async/<name>/", async_page), *debug_toolbar_urls()]
