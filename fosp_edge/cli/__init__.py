"""The command line: one module per verb, none of which is imported before its verb is called."""

import sys


def main() -> None:
    """Entry point of `fosp-edge`."""
    from fosp_edge.cli.application import build

    build()(args=sys.argv[1:], prog_name="fosp-edge")


__all__ = ["main"]
