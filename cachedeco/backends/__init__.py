"""Django cache backends, and what they can be given: nothing inside the package imports them."""
