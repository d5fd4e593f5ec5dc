"""In the copy of a checkout that DVC makes for an experiment, that copy's code runs."""

from pathlib import Path

import pytest

from diffbench import runs


@pytest.mark.parametrize(("inside", "own"), [(True, True), (False, False)])
def test_the_code_of_an_experiment_is_its_copys(tmp_path, monkeypatch, inside, own):
    folder = tmp_path / (".dvc/tmp/exps/standalone/one" if inside else "checkout")
    (folder / "src/diffbench").mkdir(parents=True)
    (folder / "src/diffbench/runs.py").touch()
    monkeypatch.chdir(folder)
    assert runs.experiments_own() == (folder / "src" if own else None)


def test_where_its_own_code_runs_nothing_is_to_do(tmp_path, monkeypatch):
    folder = tmp_path / ".dvc/tmp/exps/standalone/one"
    folder.mkdir(parents=True)
    (folder / "src").symlink_to(Path(runs.__file__).parent.parent)
    monkeypatch.chdir(folder)
    assert runs.experiments_own() is None
