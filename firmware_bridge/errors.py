"""What can go wrong between this computer and the motors. Every message is a sentence that says what to do."""

from __future__ import annotations

from firmware_bridge.codes import Result


class LinkError(Exception):
    """Any trouble with the link to the motors."""


class PortMissingError(LinkError):
    """The serial port is not there, or may not be opened."""


class PortBusyError(LinkError):
    """Another program has the serial port."""


class HandshakeMismatchError(LinkError):
    """Something answered that is not what was expected."""


class LinkLostError(LinkError):
    """The port, the controller or its session is gone; the motors stop by their own watchdog."""


class NoAnswerError(LinkError):
    """The controller did not answer a request in time."""


class RefusedError(LinkError):
    """The controller answered, and the answer was no. `result` says why."""

    def __init__(self, message: str, result: Result) -> None:
        super().__init__(message)
        self.result = result


class ReadBackError(LinkError):
    """What the controller has stored is not what was sent."""
