"""The process that owns one camera driver: `python -m fosp_edge.cameras.feeder ADDRESS`.

Drivers hang, crash and leak; here they do it alone. The pictures go into a ring. The first line on standard output is
one JSON object that says where:

    {"event": "ready", "colour": RING, "serial": ..., "intrinsics": {...}}

A failure is one sentence on standard error and exit status 1; a recording's end is exit status 0. The process ends
when its standard input does, even if the driver hangs.
"""

import argparse
import json
import os
import sys
import threading
from dataclasses import asdict

from fosp_edge.cameras.address import parse_address
from fosp_edge.cameras.base import CameraError
from fosp_edge.cameras.ring import RingFormat, RingWriter, depth_format
from fosp_edge.cameras.source import Source, SourceEndedError, open_source

READ_TIMEOUT_S = 5.0
_CLOSE_TIMEOUT_S = 2.0


def main(arguments: list[str] | None = None) -> int:
    """Feed until standard input ends, the recording ends or the camera fails. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="fosp_edge.cameras.feeder", description="Feeds a ring from a camera.")
    parser.add_argument("address", help="the camera, see fosp_edge/cameras/address.py")
    parser.add_argument("--reset", action="store_true", help="reset the hardware first (RealSense)")
    options = parser.parse_args(arguments)
    rings: list[RingWriter] = []
    threading.Thread(target=_end_with_input, args=(rings,), daemon=True).start()
    try:
        address = parse_address(options.address)
        if options.reset and address.kind == "realsense":
            from fosp_edge.cameras.realsense import reset_realsense

            reset_realsense(address.target)
        _feed(open_source(address), rings)
    except SourceEndedError as error:
        print(error, file=sys.stderr)
        return 0
    except CameraError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        for ring in rings:
            ring.close()
    return 0


def _feed(source: Source, rings: list[RingWriter]) -> None:
    """Publish every picture until the source raises."""
    size = source.height_px, source.width_px
    colour = RingWriter(RingFormat(*size, serial=source.serial))
    rings.append(colour)
    depth: RingWriter | None = None
    if source.depth_scale_m is not None:
        depth = RingWriter(depth_format(colour.format, source.depth_scale_m), depth_of=colour)
        rings.append(depth)
    introduction = {
        "event": "ready",
        "colour": colour.name,
        "serial": source.serial,
        "intrinsics": asdict(source.intrinsics) if source.intrinsics else None,
    }
    print(json.dumps(introduction), flush=True)
    try:
        while True:
            picture = source.read(READ_TIMEOUT_S)
            if depth is not None and picture.depth is not None:
                depth.publish(picture.depth[:, :, None], picture.sensor_ns, picture.sequence)
            colour.publish(picture.colour, picture.sensor_ns, picture.sequence)
    finally:
        closing = threading.Thread(target=source.close, daemon=True)
        closing.start()
        closing.join(_CLOSE_TIMEOUT_S)  # a driver that hangs here is left behind with the process


def _end_with_input(rings: list[RingWriter]) -> None:
    """End the process when standard input ends, whatever the driver is doing."""
    while os.read(sys.stdin.fileno(), 4096):
        pass
    for ring in list(rings):
        ring.close()
    os._exit(0)


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # without waiting for the driver's own threads
