"""Cache backends for Django's `CACHES`: each is a module that `BACKEND` names, and imports its client by itself."""
