"""Files are whole or absent."""

import json
import math

import pytest

from diffbench.errors import UserError
from diffbench.runtime import files


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path):
    path = tmp_path / "a" / "table.json"
    files.write_json(path, {"b": 1, "a": [0.1]})
    before = path.read_bytes()
    with pytest.raises(RuntimeError), files.replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_bytes() == before and [p.name for p in path.parent.iterdir()] == ["table.json"]
    assert json.loads(before) == {"a": [0.1], "b": 1}


def test_json_refuses_what_json_cannot_hold(tmp_path):
    with pytest.raises(ValueError):
        files.write_json(tmp_path / "x.json", {"a": math.nan})
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "full").write_text("a file, not a folder")
    with pytest.raises((UserError, FileExistsError, NotADirectoryError)):
        files.write_json(tmp_path / "full" / "x.json", {})


def test_damaged_and_missing_json_are_named(tmp_path):
    (tmp_path / "x.json").write_text("{")
    for name, problem in (("x.json", "damaged"), ("y.json", "missing")):
        with pytest.raises(UserError, match=f"{name}: {problem}"):
            files.read_json(tmp_path / name)
