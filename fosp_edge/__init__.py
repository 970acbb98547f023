"""fosp-edge: a FOSP agent on a robot that keeps learning there."""

__version__ = "0.1.0"
