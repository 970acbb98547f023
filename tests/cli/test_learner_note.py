"""What a learner remembers of itself."""

from pathlib import Path

import pytest

from fosp_edge.cli.learner_note import LearnerNote


def test_a_note_is_read_as_it_was_written(tmp_path: Path) -> None:
    note = LearnerNote(3, "003-light", "ab" * 32, "light", 800, 120, ["cd" * 32])
    note.write(tmp_path / "note.json")
    assert LearnerNote.read(tmp_path / "note.json") == note


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"something": "else"}'])
def test_without_a_note_it_is_the_beginning(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "note.json").write_text(text)
    assert LearnerNote.read(tmp_path / "note.json") == LearnerNote()
    assert LearnerNote().proposed is not LearnerNote().proposed
