"""Which files the tables are. Apart from reading and writing them, which needs pandas: Snakemake asks at each start."""

from pathlib import Path

from diffbench.tables import schema

CURVES = ("quality", "guidance", "convergence", "loss")  # the files in plots/, which DVC draws


def curves(folder: Path) -> list[Path]:
    """The files that DVC draws."""
    return [folder / f"{name}.csv" for name in CURVES]


def made_by(stage: str) -> list[str]:
    """The tables that a stage writes."""
    return [name for name, table in schema.TABLES.items() if table.stage == stage]


def files(folder: Path, stage: str | None = None) -> list[Path]:
    """Every file of the tables, or those that one stage writes; datapackage.json is the aggregate stage's."""
    names = made_by(stage) if stage else list(schema.TABLES)
    package = [folder / "datapackage.json"] if stage in (None, "aggregate") else []
    return [folder / f"{name}.{kind}" for name in names for kind in ("parquet", "csv")] + package
