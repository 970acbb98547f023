"""`python -m fosp_edge.cli`, for trees that are not installed."""

from fosp_edge.cli import main

main()
