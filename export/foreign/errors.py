"""Why a foreign checkpoint is refused."""


class ForeignCheckpointError(ValueError):
    """A checkpoint is refused; the message says what was expected, what was found and what to do."""
