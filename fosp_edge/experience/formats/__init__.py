"""Recorded episodes in the formats of other tools: readers that are sources, and writers."""
