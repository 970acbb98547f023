"""A bundle of a named size with random weights, for timing only: `python -m benchmarks.untrained_bundle small FOLDER`.

It passes every check of a bundle but its filter thresholds and parity say nothing; do not let it move a motor.
"""

import argparse
from datetime import datetime, timezone
from pathlib import Path

import torch

from benchmarks.export import made_up_episodes, recorded_feeds
from export.candidates import Candidates
from export.graph import export_step
from export.precision import PRECISIONS, convert
from export.step import StepModule
from export.storage import pack
from fosp_edge.agent.agent import Agent
from fosp_edge.agent.config import SIZES, make_config
from fosp_edge.bundle.folder import write_bundle
from fosp_edge.bundle.manifest import (
    GRAPH_FILE,
    WEIGHTS_FILE,
    CameraContract,
    FilterThresholds,
    LatentContract,
    Manifest,
    Parity,
)
from fosp_edge.simulation.recording import SAFEREACH_RECORDING


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("size", choices=list(SIZES))
    parser.add_argument("out", type=Path)
    parser.add_argument("--precision", default="float32", choices=list(PRECISIONS), help="of the step graph")
    options = parser.parse_args()
    torch.manual_seed(0)
    recording = SAFEREACH_RECORDING
    config = make_config(options.size, "fosp", image_channels=3)
    agent = Agent(config).eval()
    rows = Candidates.of(agent)
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    manifest = Manifest(
        name=f"untrained-{options.size}" + ("" if options.precision == "float32" else f"-{options.precision}"),
        robot=recording.robot,
        rate_hz=recording.rate_hz,
        cameras=(CameraContract("fixed", 64, 64),),
        state=recording.state,
        actions=recording.action,
        latent=LatentContract(config.deterministic, config.groups, config.classes),
        candidates=rows.names,
        sampled_candidates=rows.samples,
        filter=FilterThresholds(0.5, 0.5, 0.5, 1, now, "0" * 64),
        parity=Parity(1, 1.0, 0.0, 0.0, 0.0, 0),
        created_utc=now,
        provenance={"config": config.to_dict(), "purpose": "timing only"},
    )
    graph = export_step(StepModule(agent))
    if options.precision != "float32":
        graph = convert(graph, options.precision, lambda: recorded_feeds(agent, made_up_episodes(agent), graph))
    weights = {key: value for key, value in agent.state_dict().items() if not key.startswith("slow_")}
    files = {GRAPH_FILE: graph, WEIGHTS_FILE: pack(weights, "float32")}
    print(write_bundle(manifest, files, options.out))


if __name__ == "__main__":
    main()
