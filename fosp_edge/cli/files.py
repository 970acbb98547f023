"""Files that are there entirely or not at all."""

from fosp_edge.files import write_atomically

__all__ = ["write_atomically"]
