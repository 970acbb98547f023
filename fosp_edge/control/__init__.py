"""What runs every tick: inference, safety filter, limits, pacing, states."""
