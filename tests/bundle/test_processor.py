"""Which processors add products of bytes up exactly."""

import pytest

from fosp_edge.bundle.processor import adds_exactly


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
