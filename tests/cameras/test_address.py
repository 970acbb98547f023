import pytest
from hypothesis import given
from hypothesis import strategies as st

from fosp_edge.cameras.address import CameraAddress, parse_address
from fosp_edge.cameras.base import CameraError

targets = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="?#"), min_size=1, max_size=30)


@given(
    st.builds(
        CameraAddress,
        st.sampled_from(["realsense", "v4l2", "recording", "ring"]),
        targets,
        st.integers(1, 4000),
        st.integers(1, 4000),
        st.integers(1, 200),
        st.integers(0, 1),
        st.integers(0, 10**6),
        st.integers(0, 10**4),
        st.integers(0, 1),
    )
)
def test_an_address_survives_being_written(address):
    assert parse_address(str(address)) == address


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_a_sentence(text):
    try:
        parse_address(text)
    except CameraError as error:
        assert str(error)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("usb:/dev/video0", "begin with one of realsense, v4l2, recording, ring"),
        ("v4l2:", "nothing stands after the colon"),
        ("realsense:1?speed=3", "unknown option 'speed'; known are width, height"),
        ("realsense:1?width=-5", "width should be a whole number, found '-5'"),
        ("realsense:1?width=0", "not a picture size"),
        ("recording:x?loop=2", "loop are 0 or 1"),
    ],
)
def test_what_is_wrong_is_said(text, sentence):
    with pytest.raises(CameraError, match=sentence):
        parse_address(text)


def test_the_only_realsense_needs_no_serial_number():
    assert parse_address("realsense:").target == ""
