"""Which processors add products of bytes up exactly, and what they are called."""

import pytest

from fosp_edge.bundle.processor import adds_exactly, name_in, processor_name


@pytest.mark.parametrize(
    ("machine", "features", "exact"),
    [
        ("x86_64", {"avx2"}, False),
        ("x86_64", {"avx2", "avx512f", "avx512bw"}, False),
        ("x86_64", {"avx2", "avx_vnni"}, True),
        ("x86_64", {"avx512f", "avx512_vnni"}, True),
        ("x86_64", set(), False),
        ("aarch64", set(), True),
    ],
)
def test_only_x86_without_vnni_does_not(machine: str, features: set[str], exact: bool) -> None:
    assert adds_exactly(machine, features) == exact


def test_a_processor_without_a_name_is_told_by_who_made_it_and_which_it_is() -> None:
    orin = [
        "processor\t: 0",
        "CPU implementer\t: 0x41",
        "CPU part\t: 0xd42",
        "processor\t: 1",
        "CPU implementer\t: 0x41",
    ]
    assert name_in([*orin, "CPU part\t: 0xd42"]) == "0x41, 0xd42"
    assert (
        name_in(["processor\t: 0", "model name\t: AMD EPYC", "CPU part\t: 1", "model name\t: AMD EPYC"]) == "AMD EPYC"
    )
    assert name_in([]) == "unknown" and processor_name()
