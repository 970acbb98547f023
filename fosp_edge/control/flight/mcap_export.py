"""A recording as MCAP, for Foxglove and everything else that reads it. Needs the extra `mcap`.

Messages are JSON with Foxglove's own schemas where there is one (CompressedImage, Log); numbers of the tick go into
`/tick`, whose schema is written beside them. Times are those of the wall clock when the run began, plus what passed.
"""

import json
from pathlib import Path
from typing import Any

from fosp_edge.control.flight.png import png_base64
from fosp_edge.control.flight.replay import Flight, Tick

_TIME = {"type": "object", "properties": {"sec": {"type": "integer"}, "nsec": {"type": "integer"}}}
_TEXT, _NUMBER, _NUMBERS = {"type": "string"}, {"type": "number"}, {"type": "array", "items": {"type": "number"}}
_SCHEMAS: dict[str, dict[str, Any]] = {
    "foxglove.CompressedImage": {
        "timestamp": _TIME,
        "frame_id": _TEXT,
        "data": {"type": "string", "contentEncoding": "base64"},
        "format": _TEXT,
    },
    "foxglove.Log": {
        "timestamp": _TIME,
        "level": {"type": "integer"},
        "message": _TEXT,
        "name": _TEXT,
        "file": _TEXT,
        "line": {"type": "integer"},
    },
    "fosp_edge.Tick": {
        "tick": {"type": "integer"},
        "episode": {"type": "integer"},
        "step": {"type": "integer"},
        "bundle": _TEXT,
        "machine_state": _TEXT,
        "reason": _TEXT,
        "state": {"type": "object", "additionalProperties": _NUMBER},
        "action": {"type": "object", "additionalProperties": _NUMBER},
        "nominal": {"type": "object", "additionalProperties": _NUMBER},
        "reward": _NUMBER,
        "cost": _NUMBER,
        "chosen": _TEXT,
        "reachability": {"type": "object", "additionalProperties": _NUMBER},
        "state_reachability": _NUMBER,
        "surprise": _NUMBER,
        "gate": _NUMBERS,
        "feasible_reachability": _NUMBER,
        "stop_reachability": _NUMBER,
        "latency_ms": _NUMBER,
        "frame_age_ms": _NUMBER,
    },
}


def export_mcap(flight: Flight, path: Path) -> int:
    """Write a recording to `path`; returns the number of ticks. The file is there entirely or not at all.

    Raises:
        ModuleNotFoundError: the extra `mcap` is missing.
        OSError: the disk refuses.
    """
    from mcap.writer import CompressionType, Writer

    temporary = path.with_name(f".{path.name}.part")
    offset_ns = flight.meta["clocks"]["realtime_ns"] - flight.meta["clocks"]["monotonic_ns"]
    count = 0
    try:
        with temporary.open("wb") as file:
            writer = Writer(file, compression=CompressionType.ZSTD)
            writer.start(profile="", library="fosp-edge")
            topics = _Topics(writer)
            for time_ns, sentence in flight.events:
                topics.put("/log", "foxglove.Log", time_ns + offset_ns, _log(sentence, time_ns + offset_ns))
            episode = -1
            for tick in flight.ticks():
                now_ns = tick.record.time_ns + offset_ns
                if tick.episode != episode:
                    episode = tick.episode
                    sentence = f"episode {episode}, scenario {flight.scenarios.get(episode, 'unknown')}"
                    topics.put("/log", "foxglove.Log", now_ns, _log(sentence, now_ns))
                for index, camera in enumerate(flight.manifest.cameras):
                    image = tick.record.observation.image[..., 3 * index : 3 * index + 3]
                    message = {
                        "timestamp": _stamp(now_ns),
                        "frame_id": camera.name,
                        "data": png_base64(image),
                        "format": "png",
                    }
                    topics.put(f"/camera/{camera.name}", "foxglove.CompressedImage", now_ns, message)
                topics.put("/tick", "fosp_edge.Tick", now_ns, _tick(flight, tick))
                count += 1
            writer.finish()
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return count


class _Topics:
    """Schemas and channels, registered when they are first needed."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer
        self._schemas: dict[str, int] = {}
        self._channels: dict[str, int] = {}

    def put(self, topic: str, schema: str, time_ns: int, message: dict[str, Any]) -> None:
        if schema not in self._schemas:
            text = json.dumps({"type": "object", "title": schema, "properties": _SCHEMAS[schema]})
            self._schemas[schema] = self._writer.register_schema(schema, "jsonschema", text.encode())
        if topic not in self._channels:
            self._channels[topic] = self._writer.register_channel(topic, "json", self._schemas[schema])
        self._writer.add_message(self._channels[topic], time_ns, json.dumps(message).encode(), time_ns)


def _stamp(time_ns: int) -> dict[str, int]:
    return {"sec": time_ns // 10**9, "nsec": time_ns % 10**9}


def _log(sentence: str, time_ns: int) -> dict[str, Any]:
    return {"timestamp": _stamp(time_ns), "level": 2, "message": sentence, "name": "fosp-edge", "file": "", "line": 0}


def _tick(flight: Flight, tick: Tick) -> dict[str, Any]:
    record, manifest = tick.record, flight.manifest
    actions = [channel.name for channel in manifest.actions]
    states = [channel.name for channel in manifest.state]
    message: dict[str, Any] = {
        "tick": record.tick,
        "episode": tick.episode,
        "bundle": flight.bundles.get(tick.bundle, {}).get("id", ""),
        "machine_state": record.state.value,
        "reason": record.reason.name,
        "state": dict(zip(states, record.observation.state.tolist(), strict=True)),
        "action": dict(zip(actions, record.action.tolist(), strict=True)),
        "nominal": dict(zip(actions, record.nominal.tolist(), strict=True)),
        "reward": record.reward,
        "cost": record.cost,
        "latency_ms": record.latency_s * 1e3,
        "frame_age_ms": record.frame_age_s * 1e3,
    }
    if record.memory is not None:
        message["step"] = record.memory.latent.tick
    if record.scores is not None and record.filter is not None:
        message |= {
            "chosen": manifest.candidates[record.filter.chosen],
            "reachability": dict(zip(manifest.candidates, record.scores.reachability.tolist(), strict=True)),
            "state_reachability": record.scores.state_reachability,
            "surprise": record.scores.surprise,
            "gate": list(record.filter.gate),
            "feasible_reachability": record.filter.feasible_reachability,
            "stop_reachability": record.filter.stop_reachability,
        }
    return message
