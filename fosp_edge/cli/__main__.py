"""`python -m fosp_edge.cli`, for trees that are not installed."""

from fosp_edge.cli import main

if __name__ == "__main__":  # not in the workers that `data collect` spawns, which import this module again
    main()
