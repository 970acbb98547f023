"""Servo buses: the arms people buy. Each becomes a motor controller of the FOSP protocol through `virtual`."""
