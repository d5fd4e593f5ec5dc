"""From eps on the VP path to velocity on the straight path, one factor after the other."""

import pandas as pd

from diffbench.tables.factors import ALL, BUNDLE, Setting

STEPS = (2, 8, 20)  # that every preset has
# The order was fixed before a run was looked at: what training sees, what sampling sees, what is predicted, the path.
ORDER = {
    "density": "noise levels in training: flow's instead of VP's",
    "grid": "noise levels in sampling: flow's instead of VP's",
    "target": "target: velocity instead of eps",
    "path": "path: straight instead of VP",
    ALL: "all four together",
}


def chain(effects: pd.DataFrame, steps: int) -> pd.DataFrame:
    """The effects of the four factors, each added to those before it, and of all of them; empty if one is missing.

    Their ratios multiply to the last one, seed by seed.

    Args:
        effects: the table of that name.
    """
    now, rows = BUNDLE[0], []
    own = effects[effects.steps == steps]
    for factor in ORDER:
        if factor == ALL:
            found = own[own.factor == ALL]
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


def shown(effects: pd.DataFrame, steps: int) -> pd.DataFrame:
    """The chain with its words: columns comparison, ratio, low, high and text."""
    rows = chain(effects, steps)
    words = [ORDER[factor] for factor in rows.factor]
    spans = ["" if pd.isna(row.low) else f", 95% interval {row.low:.3g} to {row.high:.3g}" for row in rows.itertuples()]
    texts = [
        f"{name}, {steps} steps: FID times {ratio:.3g}{span}"
        for name, ratio, span in zip(words, rows.ratio, spans, strict=True)
    ]
    return rows.assign(comparison=words, text=texts)[["comparison", "ratio", "low", "high", "text"]]
