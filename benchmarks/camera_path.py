"""What a frame costs between the camera's process and the policy: `python benchmarks/camera_path.py`."""

import argparse
import time
from collections.abc import Callable

import numpy as np

from fosp_edge.bundle.picture import Lens, Preprocessing
from fosp_edge.cameras.preprocess import Preprocessor
from fosp_edge.cameras.ring import RingFormat, RingReader, RingWriter
from fosp_edge.cameras.ring_camera import RingCamera

BENT = Lens(640, 480, 600.0, 600.0, 320.0, 240.0, "brown-conrady", (-0.2, 0.1, 0.0, 0.0, 0.0))


def timed(call: Callable[[], object], repeats: int) -> str:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    median, late, worst = (1e3 * float(np.quantile(times, q)) for q in (0.5, 0.99, 1.0))
    return f"{median:8.3f} {late:8.3f} {worst:8.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=1000)
    repeats = parser.parse_args().repeats
    random = np.random.default_rng(0)
    print(f"{'milliseconds':44s} {'median':>8s} {'99 %':>8s} {'max':>8s}")
    for height, width in ((64, 64), (480, 640)):
        image = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
        writer = RingWriter(RingFormat(height, width))
        publish = timed(lambda w=writer, i=image: w.publish(i, time.monotonic_ns()), repeats)
        reader, camera = RingReader(writer.name), RingCamera("camera", writer.name)
        print(f"{f'ring: publish {width}x{height}':44s} {publish}")
        print(f"{f'ring: read the newest {width}x{height}':44s} {timed(reader.latest, repeats)}")
        print(f"{f'camera: latest {width}x{height}':44s} {timed(lambda c=camera: c.latest(3600.0), repeats)}")
        writer.close()
    picture = random.integers(0, 256, (480, 640, 3), dtype=np.uint8)
    for name, parameters in (("crop, resize", Preprocessing()), ("straighten, crop, resize", Preprocessing(lens=BENT))):
        preprocess = Preprocessor(parameters, 640, 480)
        print(f"{f'preprocess 640x480: {name}':44s} {timed(lambda p=preprocess: p(picture), repeats)}")


if __name__ == "__main__":
    main()
