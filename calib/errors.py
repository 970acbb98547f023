"""What goes wrong in a calibration, each as one sentence a person can act on."""


class CalibrationError(ValueError):
    """The input cannot give a calibration worth saving; the message says what was expected, found, and what to do."""


class BoardNotFoundError(CalibrationError):
    """One picture does not show the expected board; the message says what it shows instead, where that is known."""
