"""Recordings made at test time: a RealSense one through the library's software device, folders of pictures."""

import time

import numpy as np

WIDTH, HEIGHT, SERIAL, FOCAL = 64, 48, "0123456789", 60.0


def colour_picture(number):
    """Red counts the frames; a green square stands off the centre, so that mirrored or swapped pictures show."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[:, :, 0] = 10 * (number % 25)
    image[5:15, 40:50, 1] = 200
    return image


def depth_picture(number):
    return np.full((HEIGHT, WIDTH), 1000 + number, np.uint16)


def record_realsense(path, frames=12, period_s=1 / 30):
    """Write a recording that a real pipeline plays back, serial number, intrinsics and depth scale included."""
    import pyrealsense2 as rs

    device = rs.software_device()
    device.register_info(rs.camera_info.serial_number, SERIAL)
    device.register_info(rs.camera_info.name, "software camera")
    depth_sensor, colour_sensor = device.add_sensor("Stereo Module"), device.add_sensor("RGB Camera")
    depth_profile = depth_sensor.add_video_stream(_stream(rs, rs.stream.depth, 0, 2, rs.format.z16))
    depth_sensor.add_read_only_option(rs.option.depth_units, 0.001)
    colour_profile = colour_sensor.add_video_stream(_stream(rs, rs.stream.color, 1, 3, rs.format.rgb8))
    device.create_matcher(rs.matchers.default)
    same_place = rs.extrinsics()
    same_place.rotation, same_place.translation = [1, 0, 0, 0, 1, 0, 0, 0, 1], [0, 0, 0]
    depth_profile.register_extrinsics_to(colour_profile, same_place)
    recorder = rs.recorder(str(path), device)
    sensors, syncer = recorder.query_sensors(), rs.syncer(10)
    for sensor in sensors:
        sensor.open(sensor.get_stream_profiles())
        sensor.start(syncer)
    for number in range(frames):
        stamp_ms = 1000.0 + number * period_s * 1e3
        _push(rs, depth_sensor, depth_profile, depth_picture(number), 2, stamp_ms, number + 1)
        _push(rs, colour_sensor, colour_profile, colour_picture(number), 3, stamp_ms, number + 1)
        time.sleep(period_s)
    for sensor in sensors:
        sensor.stop()
        sensor.close()
    del recorder


def _stream(rs, kind, unique_id, bytes_per_pixel, pixel_format):
    intrinsics = rs.intrinsics()
    intrinsics.width, intrinsics.height = WIDTH, HEIGHT
    intrinsics.fx = intrinsics.fy = FOCAL
    intrinsics.ppx, intrinsics.ppy = WIDTH / 2, HEIGHT / 2
    intrinsics.model, intrinsics.coeffs = rs.distortion.brown_conrady, [0.1, 0, 0, 0, 0]
    stream = rs.video_stream()
    stream.type, stream.index, stream.uid, stream.fmt = kind, 0, unique_id, pixel_format
    stream.width, stream.height, stream.fps, stream.bpp = WIDTH, HEIGHT, 30, bytes_per_pixel
    stream.intrinsics = intrinsics
    return stream


def _push(rs, sensor, profile, pixels, bytes_per_pixel, stamp_ms, number):
    frame = rs.software_video_frame()
    frame.pixels, frame.stride, frame.bpp = pixels, WIDTH * bytes_per_pixel, bytes_per_pixel
    frame.timestamp, frame.domain = stamp_ms, rs.timestamp_domain.hardware_clock
    frame.frame_number, frame.profile = number, profile.as_video_stream_profile()
    sensor.on_video_frame(frame)


def write_folder(folder, frames=5, table=True, period_ns=20_000_000, gap_after=None):
    """A folder of PNG files as `fosp-edge cameras record` writes it."""
    import cv2

    folder.mkdir(exist_ok=True)
    rows = ["file,sequence,sensor_ns"]
    for number in range(frames):
        cv2.imwrite(str(folder / f"{number:06d}.png"), colour_picture(number)[:, :, ::-1])
        sequence = number + (3 if gap_after is not None and number > gap_after else 0)
        rows.append(f"{number:06d}.png,{sequence},{sequence * period_ns}")
    if table:
        (folder / "frames.csv").write_text("\n".join(rows) + "\n")
    return folder
