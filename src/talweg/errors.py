"""The one error a person meets: it says what was found, what was needed and what to do, in one line."""


class InputError(ValueError):
    """Something the person gave cannot be used. The command line prints the message alone and exits with 2."""
