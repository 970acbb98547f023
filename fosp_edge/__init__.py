"""fosp-edge: a FOSP agent on a robot that keeps learning there."""

import os

__version__ = "0.1.0"

# From 1.29 on, onnxruntime's Linux wheels report usage to their maker: a device identifier and a database in the home
# folder, and an uploading thread beside the control loop. It decides when it is first imported, so this comes before.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
