"""Both decoders against millions of byte strings: `python -m experiments.wire_fuzz [--json FILE]`.

C: a coverage-guided search over the whole core under the address and undefined-behaviour sanitizers (host/fuzz.c).
Python: random and damaged streams through the frame decoder, the message readers and the host link's own receive path,
and through the readers of both servo packet formats, whose check sums are weaker: what of a damaged packet passes is
counted beside what the check sum's odds allow.
"""

import argparse
import json
import random
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import firmware_bridge
from experiments.wire_origin import wire_origin
from firmware_bridge import framing, messages
from firmware_bridge.buses.families import FAMILIES, ServoFamily
from firmware_bridge.link import MotorLink
from firmware_bridge.vectors.generate import example_messages

CHECK_ODDS = {"dynamixel": 2.0**-16, "feetech": 2.0**-8}
"""How often a check sum lets a packet of random bytes pass."""
FIRMWARE = Path(firmware_bridge.__file__).parent / "firmware"


def fuzz_c(inputs: int, seed: int) -> dict[str, object]:
    """Build and run the C fuzzer; a crash, a sanitizer's report or an unsound state is its exit status."""
    with TemporaryDirectory() as folder:
        subprocess.run(["make", "-s", "-C", str(FIRMWARE), f"BUILD={folder}", "fuzz"], check=True)
        started_s = time.monotonic()
        run = subprocess.run([f"{folder}/fuzz", str(inputs), str(seed)], capture_output=True, text=True)
    if run.returncode != 0:
        raise SystemExit(f"the C core failed: {run.stdout}{run.stderr}")
    result: dict[str, object] = json.loads(run.stdout)
    return {**result, "seed": seed, "seconds": round(time.monotonic() - started_s, 1)}


def fuzz_python(streams: int, seed: int) -> dict[str, object]:
    """Feed noise and damaged frames; every exception but none is a failure."""
    rng = random.Random(seed)
    good = [framing.encode_frame(messages.payload(one, 7)) for one in example_messages()]
    link = MotorLink("/dev/null")
    decoder = framing.FrameDecoder()
    damaged = damaged_accepted = total = 0
    started_s = time.monotonic()
    for number in range(streams):
        if number % 4 == 0:
            stream = rng.randbytes(rng.randrange(300))
        else:
            frame = bytearray(rng.choice(good))
            before = bytes(frame)
            for _ in range(rng.randrange(1, 8)):
                frame[rng.randrange(len(frame) - 1)] = rng.randrange(1, 256)
            stream = bytes(frame)
            if stream != before:
                damaged += 1
                damaged_accepted += len(framing.FrameDecoder().feed(stream))
        total += len(stream)
        for payload in decoder.feed(stream):
            link._receive(payload, 0)
        if number % 16 == 0:
            # Past the CRC: any payload at all must be read or counted.
            link._receive(rng.randbytes(rng.randrange(3, 253)), 0)
    return {
        "streams": streams,
        "bytes": total,
        "seed": seed,
        "damaged_frames": damaged,
        "damaged_frames_accepted": damaged_accepted,
        "ignored_frames": link._ignored_frames,
        "seconds": round(time.monotonic() - started_s, 1),
    }


def fuzz_servo_packets(family: ServoFamily, streams: int, seed: int) -> dict[str, object]:
    """Feed noise and damaged answers to a packet reader; every exception is a failure."""
    rng, form = random.Random(seed), family.form
    damaged = accepted = total = longest = 0
    buffer = bytearray()
    started_s = time.monotonic()
    for number in range(streams):
        if number % 4 == 0:
            stream = rng.choice((b"", b"\xff\xff", b"\xff\xff\xfd\x00")) + rng.randbytes(rng.randrange(60))
        else:
            body = rng.randbytes(rng.randrange(1, 24))
            whole = form.answer(rng.randrange(253), 0, body)
            packet = bytearray(whole)
            for _ in range(rng.randrange(1, 5)):
                packet[rng.randrange(len(packet))] = rng.randrange(256)
            stream = bytes(packet)
            if stream != whole:
                damaged += 1
                accepted += bool(form.take(bytearray(stream), answers=True)[0])
        total += len(stream)
        buffer += stream
        form.take(buffer, answers=True)
        longest = max(longest, len(buffer))
    return {
        "streams": streams,
        "bytes": total,
        "seed": seed,
        "damaged_packets": damaged,
        "damaged_packets_accepted": accepted,
        "accepted_by_the_odds_of_its_check": round(damaged * CHECK_ODDS[family.name], 1),
        "longest_buffer": longest,
        "seconds": round(time.monotonic() - started_s, 1),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--c-inputs", type=int, default=3_000_000)
    parser.add_argument("--python-streams", type=int, default=1_000_000)
    parser.add_argument("--servo-streams", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    result = {
        "origin": wire_origin(),
        "c_core": fuzz_c(arguments.c_inputs, arguments.seed),
        "python": fuzz_python(arguments.python_streams, arguments.seed),
        **{
            f"{name} packets": fuzz_servo_packets(family, arguments.servo_streams, arguments.seed)
            for name, family in FAMILIES.items()
        },
        "chance_of_accepting_a_damaged_frame": 2.0**-32,
    }
    text = json.dumps(result, indent=2) + "\n"
    sys.stdout.write(text)
    if arguments.json:
        arguments.json.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
