import pytest

from fosp_edge.files import locked, write_atomically


def test_a_lock_has_one_holder_and_is_free_again_afterwards(tmp_path) -> None:
    with locked(tmp_path / "lock"), pytest.raises(BlockingIOError), locked(tmp_path / "lock", wait=False):
        pass
    with locked(tmp_path / "lock", wait=False):
        pass


def test_what_is_written_is_there_entirely_and_alone(tmp_path) -> None:
    for content in (b"first", b"second"):
        write_atomically(tmp_path / "file", content)
        assert (tmp_path / "file").read_bytes() == content
    assert [item.name for item in tmp_path.iterdir()] == ["file"]


def test_a_folder_in_place_of_a_file_and_none_at_all_are_told(tmp_path) -> None:
    with pytest.raises(IsADirectoryError, match="is a folder; name a file"):
        write_atomically(tmp_path, b"")
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere for file; make it first"):
        write_atomically(tmp_path / "nowhere" / "file", b"")
    assert not list(tmp_path.iterdir())
