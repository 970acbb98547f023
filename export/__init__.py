"""From a checkpoint to a verified bundle."""

import fosp_edge as fosp_edge  # switches onnxruntime's telemetry off before any module here imports it
