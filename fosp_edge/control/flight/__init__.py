"""The flight recorder: every tick on disk, whole after a power cut, and exact enough to be computed again."""
