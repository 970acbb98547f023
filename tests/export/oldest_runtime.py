"""Run a graph with nothing but numpy and onnxruntime: `python oldest_runtime.py GRAPH FEEDS.npz OUT.npz`."""

import sys

import numpy as np
import onnxruntime

graph, feeds, out = sys.argv[1:]
session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
names = [item.name for item in session.get_outputs()]
values = session.run(names, dict(np.load(feeds)))
np.savez(out, version=onnxruntime.__version__, **dict(zip(names, values, strict=True)))
