"""The pages."""

from django.urls import path

from clubs import views

urlpatterns = [
    path("<int:pk>/", views.club_page),
    path("<int:pk>/sidebar/", views.sidebar),
    path("<int:pk>/teachers/", views.teachers_page),
    path("count/", views.count_page),
    path("news/", views.news_page),
    path("visits/", views.visits_page),
]
