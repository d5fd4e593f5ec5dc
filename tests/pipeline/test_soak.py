"""Five kills of a run at random moments; tests/soak.py does fifty."""

import pytest
import soak

pytestmark = [pytest.mark.engines, pytest.mark.slow]


def test_killed_runs_come_to_the_same_bytes(tmp_path):
    """Of both engines, three kills of one and two of the other, with the command given again after each."""
    assert len(soak.soak(tmp_path / "soak", kills=5, seed=0, a_run=3)) == 5
