import pytest

from fosp_edge.files import locked


def test_a_lock_has_one_holder_and_is_free_again_afterwards(tmp_path) -> None:
    with locked(tmp_path / "lock"), pytest.raises(BlockingIOError), locked(tmp_path / "lock", wait=False):
        pass
    with locked(tmp_path / "lock", wait=False):
        pass
