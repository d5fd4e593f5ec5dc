"""What one factor buys at equal steps: the table of effects in words."""

from collections.abc import Iterator

import pandas as pd

from diffbench.tables.factors import ALL, BUNDLE, Setting

NETWORKS = {"unet": "U-Net", "dit": "DiT", "mmdit": "MMDiT"}
STEPS = (2, 8, 20)  # that every preset has
SHORT = 8  # the step count of the first screen
# The order was fixed before a run was looked at: what training sees, what sampling sees, what is predicted, the path.
CHAIN = {
    "density": "noise levels in training: flow's instead of VP's",
    "grid": "noise levels in sampling: flow's instead of VP's",
    "target": "target: velocity instead of eps",
    "path": "path: straight instead of VP",
    ALL: "all four together",
}
IN_SHORT = {
    "density": "noise levels in training",
    "grid": "noise levels in sampling",
    "target": "target: velocity, not eps",
    "path": "path: straight, not VP",
    ALL: "objective: all four",
}


def chain(effects: pd.DataFrame, steps: int) -> pd.DataFrame:
    """The effects of the four factors, each added to those before it, and of all of them; empty if one is missing.

    Their ratios multiply to the last one, seed by seed.

    Args:
        effects: the table of that name.
    """
    now, rows = BUNDLE[0], []
    own = effects[effects.steps == steps]
    for factor in CHAIN:
        if factor == ALL:
            found = own[(own.factor == ALL) & (own.with_network == now.network)]
        else:
            newer = getattr(BUNDLE[1], factor)
            found = own[(own.factor == factor) & (own.older == getattr(now, factor)) & (own.newer == newer)]
            for name in Setting._fields:
                if name != factor:
                    found = found[found[f"with_{name}"] == getattr(now, name)]
            now = now._replace(**{factor: newer})
        if found.empty:
            return effects.head(0)
        rows.append(found.iloc[0])
    return pd.DataFrame(rows)


def network_name(network: str) -> str:
    """A network as people write it."""
    return NETWORKS.get(network, network)


def levels_name(density: str) -> str:
    """A density or grid of noise levels in short."""
    return {BUNDLE[1].density: "flow's", BUNDLE[0].density: "VP's"}.get(density, density)


def words_of(row: pd.Series) -> str:
    """What changes in a pair of rows and what it changes in, so that no two pairs of a run are called the same."""
    network, target, path = row.with_network, row.with_target, row.with_path
    if row.factor == "network":
        return f"network: {network_name(row.newer)} instead of {network_name(row.older)}, {target} on {path}"
    if row.factor == ALL:
        return f"all four together, {network_name(network)}"
    if row.factor == "target":
        levels = "" if row.with_density.endswith(f"@{path}") else f" at {levels_name(row.with_density)} noise levels"
        return f"target: {row.newer} instead of {row.older}, {network_name(network)} on {path}{levels}"
    if row.factor == "density":
        older, newer = levels_name(row.older), levels_name(row.newer)
        return f"noise levels in training: {newer} instead of {older}, {network_name(network)}, {target} on {path}"
    return f"{row.factor}: {row.newer} instead of {row.older}, {network_name(network)} + {target}"


def comparisons(effects: pd.DataFrame, steps: int) -> pd.DataFrame:
    """Pairs of rows as they are in the grid, without arms, that the chain does not hold.

    Args:
        effects: the table of that name.
    """
    own = effects[(effects.steps == steps) & (effects.base_arm == "") & (effects.arm == "")]
    links = chain(effects, steps).itertuples()
    linked = {(row.base, row.paradigm) for row in links if not row.base_arm and not row.arm}
    pairs = pd.Series([*zip(own.base, own.paradigm, strict=True)], index=own.index, dtype=object)
    order = ["network", ALL, "target", "density", "grid", "path", "sampling_path"]
    found = own[~pairs.isin(linked)]
    return found.loc[found.factor.map(order.index).sort_values(kind="stable").index]


def shown(rows: pd.DataFrame, words: Iterator[str] | list[str]) -> pd.DataFrame:
    """Effects for a chart: columns comparison, ratio, low, high and text."""
    rows = rows.assign(comparison=list(words))
    spans = ["" if pd.isna(row.low) else f", 95% interval {row.low:.3g} to {row.high:.3g}" for row in rows.itertuples()]
    texts = [
        f"{row.comparison}, {row.steps} steps: FID times {row.ratio:.3g}{span}"
        for row, span in zip(rows.itertuples(), spans, strict=True)
    ]
    return rows.assign(text=texts)[["comparison", "ratio", "low", "high", "seeds", "text"]]


def in_short(effects: pd.DataFrame, steps: int) -> pd.DataFrame:
    """The factors of an objective in one network and the networks under each objective, as ``shown`` gives them.

    Args:
        effects: the table of that name.
    """
    linked = chain(effects, steps)
    own = comparisons(effects, steps)
    if linked.empty:
        linked = own[own.factor == ALL]
        words = [f"objective: velocity, not eps ({network_name(row.with_network)})" for row in linked.itertuples()]
    else:
        words = [IN_SHORT[factor] for factor in linked.factor]
    networks = own[own.factor == "network"]
    names = [
        f"network: {network_name(row.newer)}, not {network_name(row.older)} ({row.with_target})"
        for row in networks.itertuples()
    ]
    rows = pd.concat([linked, networks])
    return shown(rows, [*words, *names]) if len(rows) else effects.head(0)
