"""What demo.py is made of; plain Python, nothing of Django and nothing of the site."""


class StoryError(Exception):
    """The story can't go on: the site can't be started, or is not the site that the story is about."""
