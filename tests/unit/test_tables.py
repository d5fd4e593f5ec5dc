"""Tables: declared, versioned, and the same after a round trip."""

import json
import math

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffbench.errors import UserError
from diffbench.report import finding
from diffbench.stages import aggregate
from diffbench.tables import intervals, layout, overview, schema, store


def cell(**changes):
    row = {
        "paradigm": "sd1", "seed": 0, "sampler": "ddim", "steps": 10, "guidance": 1.0, "nfe": 10, "status": "ok",
        "native": False, "images": 400, "fid": 1 / 3, "precision": 0.9, "recall": 0.8, "density": 1.1, "coverage": 0.9,
        "digit_error": 0.01, "weight_error": 0.1, "slant_error": 0.2, "joint_error": 0.25, "pca_fid": 0.5, "arm": "",
    }  # fmt: skip
    return row | changes


def frames(rows):
    return {name: store.frame(name, rows if name == "cells" else []) for name in schema.TABLES}


def test_a_round_trip_is_exact_in_both_formats(tmp_path):
    rows = [cell(seed=seed, fid=value) for seed, value in enumerate((math.pi * 1e-7, 1e300, None, 0.1 + 0.2))]
    data = frames(rows)
    store.write(tmp_path, data)
    pd.testing.assert_frame_equal(store.read(tmp_path, "cells"), data["cells"])
    text = pd.read_csv(tmp_path / "cells.csv", float_precision="round_trip")
    np.testing.assert_array_equal(text.fid.to_numpy(), data["cells"].fid.to_numpy())
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in layout.files(tmp_path))


def test_the_same_rows_in_any_order_give_the_same_bytes(tmp_path):
    rows = [cell(seed=seed, steps=steps) for seed in (1, 0) for steps in (20, 3)]
    for name, order in (("a", rows), ("b", rows[::-1])):
        (tmp_path / name).mkdir()
        store.write(tmp_path / name, frames(order))
    for path in layout.files(tmp_path / "a"):
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name
    read = store.read(tmp_path / "a", "cells")
    assert list(zip(read.seed, read.steps, strict=True)) == [(0, 3), (0, 20), (1, 3), (1, 20)]


def test_undeclared_columns_and_double_keys_are_refused():
    with pytest.raises(ValueError, match="undeclared columns"):
        store.frame("cells", [cell(colour="red")])
    with pytest.raises(ValueError, match="two rows with one key"):
        store.frame("cells", [cell(), cell(fid=2.0)])


def test_the_schema_describes_every_column(tmp_path):
    store.write(tmp_path, frames([cell()]))
    package = json.loads((tmp_path / "datapackage.json").read_text())
    assert package["version"] == schema.VERSION
    for resource in package["resources"]:
        header = (tmp_path / resource["path"]).read_text().splitlines()[0].split(",")
        assert header == [field["name"] for field in resource["schema"]["fields"]]
        fields = {field["name"]: field for field in resource["schema"]["fields"]}
        if resource["name"] in ("cells", "floors", "convergence"):
            assert all(fields[column.name]["blind"] == column.blind for column in schema.SCORES)
        assert "blind" not in fields.get("seed", {})
        assert all(field["description"] for field in resource["schema"]["fields"])
        assert set(resource["schema"]["primaryKey"]) <= set(header)
    assert pq.read_schema(tmp_path / "cells.parquet").metadata[b"diffbench_schema"].decode() == schema.VERSION


def test_another_major_version_is_one_line(tmp_path):
    store.write(tmp_path, frames([cell()]))
    path = tmp_path / "cells.parquet"
    table = pq.read_table(path)
    for version, accepted in ((b"2.9", True), (b"3.0", False), (None, False)):
        metadata = {key: value for key, value in table.schema.metadata.items() if key != b"diffbench_schema"}
        pq.write_table(
            table.replace_schema_metadata(metadata | ({b"diffbench_schema": version} if version else {})), path
        )
        if accepted:
            assert len(store.read(tmp_path, "cells")) == 1
        else:
            with pytest.raises(UserError, match=r"table schema (3.0|none), this diffbench reads 2"):
                store.read(tmp_path, "cells")
    path.write_bytes(b"PAR1 nothing")
    with pytest.raises(UserError, match="damaged"):
        store.read(tmp_path, "cells")


@given(st.lists(st.floats(0.01, 100), min_size=2, max_size=6))
def test_intervals_are_those_of_scipys_t_test(values):
    from scipy import stats

    low, high = intervals.interval(np.array(values))
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    if np.std(values) > 1e-9:
        assert (low, high) == pytest.approx((expected.low, expected.high), rel=1e-6)


def test_one_seed_has_no_interval():
    assert all(math.isnan(end) for end in intervals.interval(np.array([1.0])))


def test_guidance_is_chosen_on_the_selection_images_and_scored_on_the_others():
    selection = store.frame(
        "selection",
        [
            {"paradigm": "sd1", "seed": seed, "sampler": "ddim", "guidance": scale, "fid": fid}
            for seed, fids in enumerate(((3.0, 2.0), (3.0, 5.0)))
            for scale, fid in zip((1.0, 2.0), fids, strict=True)
        ],
    )
    assert aggregate.chosen_guidance(selection, "sd1") == 1.0
    assert aggregate.chosen_guidance(selection, "ddpm") is None
    rows = [
        cell(seed=seed, guidance=scale, steps=steps, nfe=steps * (1 if scale == 1 else 2), fid=fid)
        for seed in (0, 1)
        for scale, steps, fid in ((1.0, 10, 4.0 + seed), (1.0, 20, 3.0 + seed), (2.0, 20, 0.1))
    ]
    best = aggregate.summary(store.frame("cells", rows), "sd1", "ddim", 1.0, 4.0)
    assert best["best_pca_fid"] == 0.5 and best["joint_error"] == 0.25
    assert aggregate.summary(store.frame("cells", rows), "sd1", "ddim", None, 4.0) == {}, "no scale was chosen"
    assert (best["best_steps"], best["best_fid"], best["few_fid"], best["few_nfe"]) == (20, 3.5, 4.5, 10)
    assert (best["few_sampler"], best["few_steps"]) == ("ddim", 10)
    assert (best["target_fid"], best["target_nfe"]) == (4.0, 20)
    assert aggregate.summary(store.frame("cells", rows), "sd1", "ddim", 1.0, 4.5)["target_nfe"] == 10
    assert aggregate.summary(store.frame("cells", rows), "sd1", "ddim", 1.0, 3.4)["target_nfe"] is None


def test_failed_cells_enter_no_mean():
    rows = [cell(seed=0), cell(seed=1, status="failed", fid=None)]
    best = aggregate.summary(store.frame("cells", rows), "sd1", "ddim", 1.0, 4.0)
    assert best["best_fid"] == pytest.approx(1 / 3) and math.isnan(best["best_fid_low"])
    assert aggregate.summary(store.frame("cells", rows[1:]), "sd1", "ddim", 1.0, 4.0) == {}


def test_a_row_that_copies_or_is_there_for_one_factor_has_no_place_and_leads_nothing():
    """However good its FID: exact copies of training images score better than real test images do."""
    rows = [
        {"paradigm": name, "label": name, "role": role, "conditional": True, "best_fid": fid, "best_pca_fid": fid,
         "copies": copies}
        for name, role, fid, copies in (
            ("copier", "recipe", 0.1, True), ("factor", "factor", 0.2, False), ("honest", "recipe", 3.0, False),
        )
    ]  # fmt: skip
    found = aggregate.ranked(store.frame("paradigms", rows)).set_index("paradigm", drop=False)
    assert found.rank_fid.isna().tolist() == [True, True, False] and found.rank_fid["honest"] == 1
    assert list(finding.competing(found).paradigm) == ["honest"]


def test_copies_are_proved_over_seeds_by_the_lower_end_of_their_interval():
    def best(*copied: float) -> dict:
        rows = [
            {"paradigm": "a", "seed": seed, "sampler": "ddim", "steps": 20, "guidance": 1.0, "arm": "", "nfe": 20,
             "status": "ok", "fid": 1.0, "fid_held_out": 1.0, "copied": share}
            for seed, share in enumerate(copied)
        ]  # fmt: skip
        return aggregate.summary(store.frame("cells", rows), "a", "ddim", 1.0, 4.0)

    assert best(0.98, 1.0, 0.99)["copies"] and not best(0.02, -0.01, 0.03)["copies"]
    assert not best(0.0, 0.6, 0.1)["copies"], "one seed proves nothing"
    assert not best(1.0)["copies"], "nor does one training"


def test_a_place_is_robust_where_both_distances_agree_on_it():
    rows = [
        {"paradigm": name, "label": name.upper(), "conditional": conditional, "best_fid": fid, "best_pca_fid": pca}
        for name, conditional, fid, pca in (
            ("a", True, 1.0, 0.3), ("b", True, 2.0, 0.5), ("c", True, 3.0, 0.4), ("d", False, 9.0, 0.1),
            ("e", True, None, None),
        )
    ]  # fmt: skip
    found = aggregate.ranked(store.frame("paradigms", rows)).set_index("paradigm")
    assert found.rank_fid.tolist() == [1, 2, 3, 1, pd.NA] and found.rank_pca_fid.tolist() == [1, 3, 2, 1, pd.NA]
    assert found.rank_robust.tolist() == [True, False, False, True, pd.NA]
    assert dict(found.dtypes.astype(str)) == dict(
        store.frame("paradigms", rows).set_index("paradigm").dtypes.astype(str)
    )
    said = finding.second_opinion(found.reset_index())
    assert said.endswith("ranks B and C differently, so their places by FID rest on the classifier.")
    assert "puts the means in the same order" in finding.second_opinion(found.loc[["a", "d", "e"]].reset_index())
    assert finding.second_opinion(found.loc[["e"]].reset_index()) == ""


def test_the_best_cell_is_chosen_on_held_out_images_among_the_rows_own():
    """Not on the FID that is reported, and not among solvers that other rows were not given."""
    kinds = [("ddim", 8, False, 2.0, 5.0), ("ddim", 20, False, 3.0, 4.0), ("heun", 20, False, 0.1, 0.1)]
    rows = [
        cell(seed=seed, sampler=sampler, steps=steps, nfe=steps, native=native, fid=fid, fid_held_out=held_out)
        for seed in (0, 1)
        for sampler, steps, native, fid, held_out in kinds
    ]
    best = aggregate.summary(store.frame("cells", rows), "sd1", "ddim", 1.0, 4.0)
    assert (best["best_steps"], best["best_fid"], best["few_steps"], best["few_fid"]) == (20, 3.0, 8, 2.0)
    rows += [cell(seed=seed, sampler="ancestral", steps=250, nfe=250, native=True, fid=1.0, fid_held_out=1.0)
             for seed in (0, 1)]  # fmt: skip
    assert aggregate.summary(store.frame("cells", rows), "sd1", "ddim", 1.0, 4.0)["best_sampler"] == "ancestral"


def test_an_arm_is_never_the_best_cell():
    rows = [cell(seed=seed, arm=arm, fid=fid) for seed in (0, 1) for arm, fid in (("", 3.0), ("trick", 0.1))]
    assert aggregate.summary(store.frame("cells", rows), "sd1", "ddim", 1.0, 4.0)["best_fid"] == 3.0


def test_thresholds_are_the_first_snapshot_there_or_censored():
    rows = [{"images": n, "fid": fid} for n, fid in ((100, 9.0), (200, None), (400, 2.9), (800, 3.5), (1000, 1.9))]
    found = aggregate.thresholds(rows, floor=1.0, within=[1.5, 2, 3], budget=1000)
    assert [(row["images"], row["censored"]) for row in found] == [(None, True), (1000, False), (400, False)]
    assert all(row["budget"] == 1000 for row in found)


def test_a_score_from_outside_joins_every_table_that_holds_scores(monkeypatch):
    monkeypatch.setattr(schema, "TABLES", dict(schema.TABLES))
    monkeypatch.setattr(schema, "SCORES", schema.SCORES)
    with pytest.raises(ValueError, match="declared already"):
        schema.add_scores(schema.Column("fid", "number", "", "again"))
    schema.add_scores(schema.Column("zeal", "number", "1", "invented"))
    for name in ("cells", "floors", "convergence"):
        assert schema.TABLES[name].columns[-1].name == "zeal"
    assert float(store.frame("cells", [cell(zeal=0.5)]).zeal[0]) == 0.5


def test_the_headline_leaves_out_copies_and_rows_without_rank():
    """A row competes as in the report; every row's FID is told all the same."""
    rows = [
        {"paradigm": "ddpm", "conditional": False, "seeds_ok": 3, "best_fid": 1.0, "best_nfe": 9, "copies": False},
        {"paradigm": "dit", "conditional": True, "seeds_ok": 3, "best_fid": 2.0, "best_nfe": 8, "copies": True},
        {"paradigm": "sd1", "conditional": True, "seeds_ok": 1, "best_fid": 3.0, "best_nfe": 7, "copies": False},
        {"paradigm": "sd2", "conditional": True, "seeds_ok": 3, "best_fid": 4.0, "best_nfe": 6, "copies": False},
        {"paradigm": "sd3", "conditional": True, "seeds_ok": 0, "best_fid": None},
    ]
    paradigms = aggregate.ranked(store.frame("paradigms", rows))
    frames = {"paradigms": paradigms, "floors": store.frame("floors", [{"split": "test", "fid": 0.5}])}
    assert overview.headline(frames) == {
        "best_row": "sd2",
        "best_fid": 4.0,
        "best_nfe": 6,
        "fid": {"ddpm": 1.0, "dit": 2.0, "sd1": 3.0, "sd2": 4.0},
        "real_fid": 0.5,
    }
    assert overview.headline(frames | {"paradigms": paradigms.iloc[4:]}) == {"fid": {}, "real_fid": 0.5}
