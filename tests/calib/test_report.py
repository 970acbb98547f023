"""The page is whole, self-contained and says what failed."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from calib.boards import Charuco
from calib.detection import Detection, Rejection
from calib.intrinsics import Intrinsics, calibrate
from calib.lens import PINHOLE
from calib.report import compare_with_factory, intrinsics_page
from calib.uncertainty import Camera


@pytest.fixture(scope="module")
def result(board: Charuco, detections: list[Detection]) -> Intrinsics:
    return calibrate(board, detections, [PINHOLE], rejected=[Rejection("<bad>.png", "no marker & no board")])


class Balance(HTMLParser):
    """Counts open tags."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_self_contained(result: Intrinsics, parameters: np.ndarray) -> None:
    picture = np.full((480, 640), 90, np.uint8)
    factory = Camera(PINHOLE, parameters + np.array([5, 5, 0, 0, 0, 0, 0, 0, 0.0]), np.zeros((9, 9)), (640, 480))
    text = intrinsics_page(result, "a<b", "today", ("view 1", picture), factory)
    assert "Passed" in text
    assert text.count("data:image/png;base64,") == 7
    assert not re.findall(r'(?:src|href)="(?!data:)', text)
    assert "&lt;bad&gt;.png" in text
    assert "no marker &amp; no board" in text
    assert "<b" not in re.sub(r"</?body>", "", text)
    balance = Balance()
    balance.feed(text)
    assert balance.open == []


def test_a_failure_is_at_the_top(result: Intrinsics) -> None:
    failed = replace(result, failures=["corners are off by <much>"])
    text = intrinsics_page(failed, "a", "today")
    assert text.index("Not good enough") < text.index("Numbers")
    assert "off by &lt;much&gt;" in text


def test_the_makers_values_are_judged(result: Intrinsics, parameters: np.ndarray) -> None:
    def factory(offset: float, size: tuple[int, int] = (640, 480)) -> Camera:
        return Camera(PINHOLE, parameters + offset * np.array([1, 1, 0, 0, 0, 0, 0, 0, 0]), np.zeros((9, 9)), size)

    assert "within what our uncertainty allows" in compare_with_factory(result.camera, factory(0.0))
    assert "more than our uncertainty allows" in compare_with_factory(result.camera, factory(9.0))
    assert "cannot be compared" in compare_with_factory(result.camera, factory(0.0, (1280, 720)))
