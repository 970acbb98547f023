"""One self-contained HTML page: the verdict, the numbers and what they mean, the pictures a person needs."""

import base64
import html
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from . import figures
from .depth import DepthCheck
from .hand_eye import HandEye
from .intrinsics import Intrinsics, halves_agree, middle_uncertainty_px
from .storage import write_atomically
from .uncertainty import Camera, compare

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#1a202c}
h1{font-size:1.6rem;margin-bottom:.2rem} h2{font-size:1.2rem;margin-top:2.2rem;border-bottom:1px solid #e2e8f0}
table{border-collapse:collapse;margin:.8rem 0;width:100%} td,th{padding:.3rem .7rem;text-align:left;vertical-align:top}
tr:nth-child(even){background:#f7fafc} th{border-bottom:2px solid #cbd5e0} td.n{font-variant-numeric:tabular-nums;
white-space:nowrap} .pass{color:#276749;font-weight:600} .fail{color:#9b2c2c;font-weight:600} figure{margin:1rem 0}
img{max-width:100%} figcaption,.note{color:#4a5568;font-size:.92rem} .verdict{padding:.7rem 1rem;border-radius:.4rem}
.verdict.pass{background:#f0fff4} .verdict.fail{background:#fff5f5}
"""


def intrinsics_page(
    result: Intrinsics,
    serial: str,
    date: str,
    example: tuple[str, npt.NDArray[np.uint8]] | None = None,
    factory: Camera | None = None,
    hand_eye: HandEye | None = None,
    depth: DepthCheck | None = None,
) -> str:
    """The page as HTML text. `example` is one grey view, `factory` what the maker says of the camera."""
    parts = [_head(result, serial, date), _numbers(result), _parameters(result)]
    parts += [
        "<h2>Pictures</h2>",
        _picture(figures.corners(result), "The corners should reach every part of the picture, its edges above all."),
        _picture(
            figures.residuals(result),
            "The arrows should point anywhere, like noise. Arrows that agree with their neighbours mean a bent board "
            "or a lens that the model does not describe.",
        ),
        _picture(figures.uncertainty(result), "What noise in the corners leaves open, after the best small rotation."),
        _picture(
            figures.halves(result),
            "Half of the views gave one lens, the rest another: every second view against the others or the earlier "
            "against the later ones, whichever agree less. Their difference is the honest test: reprojection errors "
            "cannot show it, because every view's pose is fitted along.",
        ),
        _picture(figures.coverage(result), "Tilted views tell focal length from distance."),
        _picture(figures.view_errors(result), "One view far above the rest was moving, or its board was bent."),
    ]
    if example is not None:
        parts.append(
            _picture(figures.undistortion(result, example[1], example[0]), "Straight edges come out straight.")
        )
    parts += [_models(result), _left_out(result)]
    if factory is not None:
        parts.append(_factory(result, factory))
    if hand_eye is not None:
        parts.append(hand_eye_section(hand_eye))
    if depth is not None:
        parts.append(depth_section(depth))
    return page(f"Calibration of camera {serial}", parts)


def page(title: str, parts: Sequence[str]) -> str:
    """A whole HTML document that needs nothing from elsewhere."""
    body = "\n".join(parts)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>{body}</body></html>\n'
    )


def save_page(path: Path, text: str) -> None:
    """Write the page atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text.encode())


def _picture(figure: Figure, caption: str) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    data = base64.b64encode(buffer.getvalue()).decode()
    text = html.escape(caption)
    return f'<figure><img alt="{text}" src="data:image/png;base64,{data}"><figcaption>{text}</figcaption></figure>'


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], wrap: bool = False) -> str:
    top = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
    kind = "" if wrap else ' class="n"'
    lines = "".join("<tr>" + "".join(f"<td{kind}>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{top}</tr>{lines}</table>"


def _judged(good: bool) -> str:
    return '<span class="pass">pass</span>' if good else '<span class="fail">fail</span>'


def _head(result: Intrinsics, serial: str, date: str) -> str:
    width, height = result.camera.size_px
    about = (
        f"<h1>Camera {html.escape(serial)}</h1><p class='note'>{html.escape(date)}, {width} x {height} px, board "
        f"{html.escape(result.board.text)}, {len(result.detections)} views used, {len(result.rejected)} left out</p>"
    )
    if result.failures:
        items = "".join(f"<li>{html.escape(failure)}</li>" for failure in result.failures)
        return about + f"<div class='verdict fail'>Not good enough to use:<ul>{items}</ul></div>"
    return about + "<div class='verdict pass'>Passed: every limit below is kept.</div>"


def _numbers(result: Intrinsics) -> str:
    limits, agreement, middle = result.limits, result.agreement, middle_uncertainty_px(result)
    rows = [
        [
            "corner error",
            f"{result.noise_px:.3f} px",
            f"&le; {limits.noise_px:g} px",
            _judged(result.noise_px <= limits.noise_px),
            "how far corners are from where lens and board predict them, per coordinate",
        ],
        [
            "projection uncertainty",
            f"{middle:.3f} px",
            f"&le; {limits.uncertainty_px:g} px",
            _judged(middle <= limits.uncertainty_px),
            "largest standard deviation of a projected point in the middle 90 % of the picture",
        ],
        [
            "two half solves",
            f"{agreement.difference_px:.3f} px apart, {agreement.expected_px:.3f} expected (p = "
            f"{agreement.probability:.2g})",
            f"p &ge; {limits.agreement_probability:g}, or &le; {limits.agreement_px:g} px",
            _judged(halves_agree(agreement, limits)),
            "whether the stated uncertainty explains the difference between separate views",
        ],
        [
            "views",
            f"{len(result.detections)}",
            f"&ge; {limits.least_views}",
            _judged(len(result.detections) >= limits.least_views),
            "sharp, distinct views that agree with the others",
        ],
    ]
    bend = (
        f"The board is bent by {1e3 * result.warp_m[0]:+.2f} &plusmn; {1e3 * result.warp_sigma_m[0]:.2f} mm across and "
        f"{1e3 * result.warp_m[1]:+.2f} &plusmn; {1e3 * result.warp_sigma_m[1]:.2f} mm down; this is accounted for."
        if np.any(result.warp_m)
        else "The board is flat as far as these views can tell."
    )
    advice = "".join(f"<li>{html.escape(item)}</li>" for item in result.coverage.missing)
    better = f"<p>To do better next time:</p><ul>{advice}</ul>" if advice else ""
    head = ["", "found", "limit", "", "meaning"]
    return f"<h2>Numbers</h2>{_table(head, rows, wrap=True)}<p>{bend}</p>{better}"


def _parameters(result: Intrinsics) -> str:
    sigma = np.sqrt(np.diag(result.camera.covariance))
    names = result.camera.lens.parameter_names
    rows = [
        [name, f"{value:.5g}" if abs(value) < 10 else f"{value:.3f}", f"&plusmn; {spread:.2g}"]
        for name, value, spread in zip(names, result.camera.parameters, sigma, strict=True)
    ]
    note = (
        "<p class='note'>The rational model's coefficients trade against one another: single values mean little, the "
        "map of uncertainty below means what it says.</p>"
        if result.camera.lens.name == "rational"
        else ""
    )
    return f"<h2>Lens: {result.camera.lens.name}</h2>{_table(['parameter', 'value', 'one sigma'], rows)}{note}"


def _models(result: Intrinsics) -> str:
    rows = [
        [each.lens.name, f"{each.error_px:.4f} px", "chosen" if each.lens == result.camera.lens else ""]
        for each in result.held_out
    ]
    note = (
        "<p class='note'>Error on views that were held out: half of the board gives the view's pose, the other half is "
        "predicted. The simplest model that is not clearly worse than the best one is chosen.</p>"
    )
    return f"<h2>Choice of the lens model</h2>{_table(['model', 'held-out error', ''], rows)}{note}"


def _left_out(result: Intrinsics) -> str:
    if not result.rejected:
        return "<h2>Views left out</h2><p>None.</p>"
    rows = [[html.escape(each.name), html.escape(each.reason)] for each in result.rejected]
    return f"<h2>Views left out</h2>{_table(['view', 'reason'], rows, wrap=True)}"


def _factory(result: Intrinsics, factory: Camera) -> str:
    sentence = html.escape(compare_with_factory(result.camera, factory))
    return f"<h2>Against the maker's calibration</h2><p>{sentence}</p>"


def compare_with_factory(camera: Camera, factory: Camera) -> str:
    """One sentence: how far the maker's intrinsics are from these, and whether that is more than ours leave open."""
    if factory.size_px != camera.size_px:
        return (
            f"The maker's calibration is for {factory.size_px[0]}x{factory.size_px[1]} pixels, this one for "
            f"{camera.size_px[0]}x{camera.size_px[1]}: they cannot be compared."
        )
    agreement = compare(camera, factory)
    verdict = (
        "within what our uncertainty allows"
        if agreement.probability > 1e-3
        else "more than our uncertainty allows: the maker's values are off, or the lens has changed since"
    )
    return (
        f"The maker's values project {agreement.difference_px:.2f} px (root mean square) from ours, where "
        f"{agreement.expected_px:.2f} px is our own uncertainty: {verdict}."
    )


def hand_eye_section(result: HandEye) -> str:
    """The hand-eye part of the page."""
    x, y, z = 1e3 * result.hand_from_camera[:3, 3]
    frame = "gripper" if result.on_gripper else "base"
    rows = [
        ["camera's place", f"({x:.2f}, {y:.2f}, {z:.2f}) mm in the {frame}'s frame"],
        ["its uncertainty", f"{result.sigma_mm:.2f} mm, {result.sigma_deg:.3f} degrees (one sigma)"],
        [
            "robot's own error, estimated",
            f"{1e3 * result.robot_sigma_m:.2f} mm, {np.degrees(result.robot_sigma_rad):.3f} degrees per axis",
        ],
        ["corner error", f"{result.noise_px:.3f} px"],
        [
            "board's size by the robot",
            f"{100 * result.board_scale:.2f} &plusmn; {100 * result.board_scale_sigma:.2f} %",
        ],
    ]
    if len(result.leave_one_out):
        largest = 1e3 * np.linalg.norm(result.leave_one_out[:, 3:], axis=1).max()
        rows.append(["largest change without one view", f"{largest:.2f} mm"])
    spread = [
        [name, f"{1e3 * np.linalg.norm(value[:3, 3] - result.hand_from_camera[:3, 3]):.2f} mm"]
        for name, value in result.closed_forms.items()
    ]
    advice = "".join(f"<li>{html.escape(item)}</li>" for item in result.motion.missing)
    missing = f"<p>Motion that is missing:</p><ul>{advice}</ul>" if advice else ""
    return (
        f"<h2>Hand-eye</h2>{_table(['', ''], rows)}{missing}{_picture(figures.hand_eye(result), 'By view.')}"
        f"<p>Closed-form solvers, for comparison: distance from the refined place.</p>{_table(['', ''], spread)}"
    )


def depth_section(result: DepthCheck) -> str:
    """The depth part of the page."""
    rows = [
        ["scale", f"{result.scale:.4f} &plusmn; {result.scale_sigma:.4f}", "true distance = scale x measured + offset"],
        ["offset", f"{1e3 * result.offset_m:+.2f} &plusmn; {1e3 * result.offset_sigma_m:.2f} mm", ""],
        ["flatness", f"{result.flatness_mm:.2f} mm, worst {result.worst_flatness_mm:.2f} mm", "root mean square"],
        ["pixels with depth", f"{100 * result.valid_part:.1f} %", "on the board"],
    ]
    return f"<h2>Depth</h2>{_table(['', 'found', 'meaning'], rows)}"


def summary_numbers(result: Intrinsics) -> Mapping[str, float | str | int]:
    """The result's quality as plain values, for the camera's file."""
    return {
        "board": result.board.text,
        "views": len(result.detections),
        "noise_px": result.noise_px,
        "uncertainty_px": middle_uncertainty_px(result),
        "halves_difference_px": result.agreement.difference_px,
        "halves_expected_px": result.agreement.expected_px,
        "halves_probability": result.agreement.probability,
        "board_sag_x_mm": 1e3 * float(result.warp_m[0]),
        "board_sag_y_mm": 1e3 * float(result.warp_m[1]),
    }
