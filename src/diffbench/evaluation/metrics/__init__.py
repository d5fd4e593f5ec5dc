"""Measures of a set of samples, one file a family, and their registry.

A family is a function of the real images that returns a function of samples, which gives a value for each of its
columns. A new one is one function and one line in ``FAMILIES``; its columns are declared in ``schema.SCORES``, or
where it is registered from outside with ``register``.
"""

from collections.abc import Callable, Iterable

from diffbench.evaluation.metrics import adherence, appearance, frechet, kernel, manifold, pixel, topology
from diffbench.evaluation.metrics.sets import Real, Samples
from diffbench.tables import schema

Measure = Callable[[Samples], dict[str, float]]
Family = Callable[[Real], Measure]
FAMILIES: dict[str, Family] = {
    "frechet": frechet.family,
    "kernel": kernel.family,
    "manifold": manifold.family,
    "adherence": adherence.family,
    "appearance": appearance.family,
    "topology": topology.family,
    "pixel": pixel.family,
}


def register(name: str, family: Family, *columns: schema.Column) -> None:
    """Add a family from outside the package, and its columns to the table ``cells``.

    Raises:
        ValueError: the name or a column is taken.
    """
    if name in FAMILIES:
        raise ValueError(f"a family called {name} is registered already")
    schema.add_scores(*columns)
    FAMILIES[name] = family


OF_FEATURES = ("frechet", "manifold", "adherence")  # that rest on the classifier; what another one is asked for


def measure(real: Real, names: Iterable[str] | None = None) -> Measure:
    """Families together, all unless ``names`` says which.

    Raises:
        ValueError: a family gave a column that is not declared.
    """
    families = {name: FAMILIES[name](real) for name in (FAMILIES if names is None else names)}
    declared = {column.name for column in schema.SCORES}

    def score(samples: Samples) -> dict[str, float]:
        values: dict[str, float] = {}
        for name, family in families.items():
            own = family(samples)
            if extra := sorted(set(own) - declared):
                raise ValueError(f"family {name}: undeclared columns {extra}")
            values |= own
        return values

    return score
