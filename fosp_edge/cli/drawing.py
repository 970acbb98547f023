"""What every picture of the command line goes through."""

import io
from typing import Any


def png(figure: Any, *, dpi: float | None = None) -> bytes:
    """A matplotlib figure as a PNG, for `write_atomically`; at its own resolution (dots per inch) unless told."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=figure.dpi if dpi is None else dpi)
    return buffer.getvalue()
