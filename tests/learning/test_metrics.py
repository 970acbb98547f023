import json
from pathlib import Path

import pytest

from fosp_edge.learning.metrics import forget_after, read_metrics


def test_lines_behind_the_checkpoint_and_a_torn_one_are_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps({"update": update, "x/y": 0.5}) + "\n" for update in (1, 2, 3)) + '{"upd')
    assert [row["update"] for row in read_metrics(path)] == [1, 2, 3]
    forget_after(path, 2)
    assert path.read_text().count("\n") == 2 and read_metrics(path)[-1] == {"update": 2, "x/y": 0.5}
    forget_after(tmp_path / "none.jsonl", 2)


def test_damage_in_the_middle_is_named(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"update": 1}\nrubbish\n{"update": 3}\n')
    with pytest.raises(ValueError, match=r"line 2: expected JSON with `update`, found 'rubbish'"):
        read_metrics(path)
    with pytest.raises(ValueError, match="no log at"):
        read_metrics(tmp_path / "other.jsonl")
