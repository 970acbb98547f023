"""Frames with sequence numbers and timestamps."""
