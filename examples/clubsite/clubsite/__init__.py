"""The Django project: settings, addresses, the door for a WSGI server."""
