"""A board on paper: a PDF at exactly its true size, with rulers to check the printer.

Rulers along both edges, because printers scale the two directions differently; text says what to measure.
"""

import os
import tempfile
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from .boards import Board
from .errors import CalibrationError

PAPERS_MM = {"a4": (297.0, 210.0), "a3": (420.0, 297.0), "a2": (594.0, 420.0), "letter": (279.4, 215.9)}
"""Width and height of the paper, lying."""
_MARGIN_MM = 8.0
_RULER_MM = 13.0


def save_pdf(board: Board, path: Path, paper: str = "a4") -> None:
    """Write the board to `path` as a one-page PDF to scale. Raises CalibrationError where it does not fit the paper."""
    _write_atomically(drawing(board, paper), path)


def drawing(board: Board, paper: str = "a4") -> Figure:
    """The page as a figure of the paper's size; raises as `save_pdf`."""
    if paper not in PAPERS_MM:
        raise CalibrationError(f"the paper {paper!r} is not known; choose one of {', '.join(PAPERS_MM)}")
    page = PAPERS_MM[paper]
    width, height = (side * 1e3 for side in board.size_m)
    need = width + 2 * _MARGIN_MM + _RULER_MM, height + 2 * _MARGIN_MM + _RULER_MM + 5.0
    if need[0] > page[0] or need[1] > page[1]:
        raise CalibrationError(
            f"the board needs {need[0]:.0f} x {need[1]:.0f} mm with its rulers, but {paper} has {page[0]:.0f} x "
            f"{page[1]:.0f} mm: take larger paper or a smaller board"
        )
    figure = Figure(figsize=(page[0] / 25.4, page[1] / 25.4))
    FigureCanvasPdf(figure)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_xlim(0.0, page[0])
    axes.set_ylim(page[1], 0.0)
    axes.axis("off")
    left = (page[0] - width - _RULER_MM) / 2 + _RULER_MM
    top = (page[1] - height - _RULER_MM - 5.0) / 2
    for x, y, w, h in board.black_m * 1e3:
        axes.add_patch(Rectangle((left + x, top + y), w, h, facecolor="black", edgecolor="none", antialiased=False))
    _ruler(axes, left, top + height + 3.0, int(width // 10) * 10, along_x=True)
    _ruler(axes, left - 3.0, top, int(height // 10) * 10, along_x=False)
    rules = f"{int(width // 10) * 10} mm across and {int(height // 10) * 10} mm down"
    note = (
        f"{board.text}    Print at 100 % (no 'fit to page') and glue on something flat and stiff. "
        f"Check with a steel ruler: the scales must measure {rules}."
    )
    axes.text(page[0] / 2, top + height + _RULER_MM + 3.5, note, fontsize=6.5, ha="center", va="center")
    return figure


def _ruler(axes: Axes, x: float, y: float, length_mm: int, along_x: bool) -> None:
    """A millimetre scale starting at (x, y), its numbers in millimetres."""
    for mark in range(length_mm + 1):
        tick = 5.0 if mark % 10 == 0 else 3.5 if mark % 5 == 0 else 2.0
        if along_x:
            axes.plot([x + mark, x + mark], [y, y + tick], color="black", linewidth=0.35, solid_capstyle="butt")
        else:
            axes.plot([x - tick, x], [y + mark, y + mark], color="black", linewidth=0.35, solid_capstyle="butt")
        if mark % 50 == 0:
            place = (x + mark, y + 7.5) if along_x else (x - 7.5, y + mark)
            axes.text(*place, str(mark), fontsize=7, ha="center", va="center")


def _write_atomically(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            figure.savefig(file, format="pdf", metadata={"CreationDate": None})
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
