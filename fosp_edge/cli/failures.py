"""Where errors become sentences: one red line and an exit status; the traceback only for those who ask for it."""

import errno
import os
import sys

import typer

from fosp_edge.cli.extras import MissingExtra, missing_extra

DEBUG_VARIABLE = "FOSP_EDGE_DEBUG"
INTERRUPTED = 130

# Errors whose message is already a sentence for the person at the keyboard. By name, because whoever raised one has
# imported its module, and nobody else should have to.
_SENTENCES: tuple[tuple[str, str], ...] = (
    ("fosp_edge.robots.base", "RobotError"),
    ("fosp_edge.cameras.base", "CameraError"),
    ("fosp_edge.learning.trainer", "TrainingDivergedError"),
    ("fosp_edge.control.inference", "NotFinite"),
    ("fosp_edge.simulation.safety_gym.loading", "SafetyGymMissing"),
    ("fosp_edge.simulation.safety_gym.pictures", "PicturesError"),
    ("fosp_edge.cli.run_plot", "PlotUnavailableError"),
    ("firmware_bridge", "LinkError"),
    ("serial", "SerialException"),
)


def explain(error: Exception) -> tuple[str, int]:
    """The sentence and the exit status for an error that reached the command line."""
    if isinstance(error, ModuleNotFoundError):
        error = missing_extra(error) or error
    text = " ".join(str(error).split())
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"the disk is full ({text}); free some space and try again", 1
    if isinstance(error, (MissingExtra, ValueError, OSError, *_known())) and text:
        return text, 1
    return (
        f"an error of fosp-edge's own, {type(error).__name__}: {text or 'no further word'}; "
        f"run it again with {DEBUG_VARIABLE}=1 to see where, and please report it",
        70,
    )


def fail(error: Exception) -> typer.Exit:
    """Say what went wrong on standard error; returns the exit to raise. With debugging on, raises the error itself."""
    if debugging():
        raise error
    sentence, status = explain(error)
    typer.secho(f"fosp-edge: {sentence}", fg=typer.colors.RED, err=True)
    return typer.Exit(status)


def interrupted() -> typer.Exit:
    """Say that Ctrl-C was heard; returns the exit to raise."""
    typer.secho("fosp-edge: interrupted; what was finished is kept", fg=typer.colors.YELLOW, err=True)
    return typer.Exit(INTERRUPTED)


def debugging() -> bool:
    """Whether tracebacks are wanted."""
    return os.environ.get(DEBUG_VARIABLE, "") not in ("", "0")


def _known() -> list[type[Exception]]:
    kinds = [getattr(sys.modules.get(module), name, None) for module, name in _SENTENCES]
    return [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Exception)]
