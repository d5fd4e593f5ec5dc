"""Tables as pandas frames, to Parquet and CSV and back."""

import io
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from diffbench.errors import UserError
from diffbench.runtime.files import replacing, write_json
from diffbench.tables import schema
from diffbench.tables.schema import DTYPES, VERSION, Column


def frame(name: str, rows: list[dict]) -> pd.DataFrame:
    """A frame with exactly the declared columns and dtypes, sorted by key.

    Raises:
        ValueError: a row has an undeclared column or two rows have one key.
    """
    table = schema.TABLES[name]
    extra = sorted({key for row in rows for key in row} - {column.name for column in table.columns})
    if extra:
        raise ValueError(f"table {name}: undeclared columns {extra}")
    data = framed(table.columns, rows)
    if data.duplicated(list(table.key)).any():
        raise ValueError(f"table {name}: two rows with one key")
    return data.sort_values(list(table.key), kind="stable").reset_index(drop=True)


def framed(columns: Sequence[Column], rows: list[dict] | pd.DataFrame) -> pd.DataFrame:
    """A frame with exactly these columns and their dtypes, in the order of the rows."""
    data = pd.DataFrame(rows, columns=[column.name for column in columns])
    return data.astype({column.name: DTYPES[column.type] for column in columns})


def field(column: Column) -> dict[str, str]:
    """A column's entry in datapackage.json."""
    return {key: value for key, value in vars(column).items() if value or key != "blind"}


def write_csv(path: Path, data: pd.DataFrame) -> None:
    """Write a frame as CSV; floats print so that they read back exactly."""
    with replacing(path) as temporary:
        data.to_csv(temporary, index=False, lineterminator="\n")


def write_frames(folder: Path, frames: dict[str, pd.DataFrame]) -> None:
    """Write every frame as Parquet and CSV."""
    for name, data in frames.items():
        arrow = pa.Table.from_pandas(data, preserve_index=False)
        arrow = arrow.replace_schema_metadata({**(arrow.schema.metadata or {}), b"diffbench_schema": VERSION.encode()})
        with replacing(folder / f"{name}.parquet") as temporary:
            pq.write_table(arrow, temporary, write_page_checksum=True)
        write_csv(folder / f"{name}.csv", data)


def write(folder: Path, frames: dict[str, pd.DataFrame]) -> None:
    """Write every frame as Parquet and CSV, and datapackage.json beside them."""
    write_frames(folder, frames)
    describe(folder)


def describe(folder: Path) -> None:
    """Write datapackage.json, which describes all declared tables.

    The tables of later stages are described too: one stage writes the file, and their columns do not depend on a run.
    """
    resources = [
        {
            "name": name,
            "path": f"{name}.csv",
            "description": schema.TABLES[name].description,
            "schema": {
                "primaryKey": list(schema.TABLES[name].key),
                "fields": [field(column) for column in schema.TABLES[name].columns],
            },
        }
        for name in schema.TABLES
    ]
    write_json(folder / "datapackage.json", {"name": "diffbench", "version": VERSION, "resources": resources})


def read(folder: Path, name: str) -> pd.DataFrame:
    """A table from its Parquet file.

    Raises:
        UserError: missing, damaged, or written with another major version of the schema.
    """
    path = folder / f"{name}.parquet"
    try:
        arrow = pq.read_table(io.BytesIO(path.read_bytes()), page_checksum_verification=True)
    except FileNotFoundError:
        raise UserError(f"{path}: missing; run 'snakemake --cores all' to make it") from None
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: damaged ({error}); delete it and run 'snakemake --cores all' again") from None
    found = (arrow.schema.metadata or {}).get(b"diffbench_schema", b"none").decode()
    if found.split(".")[0] != VERSION.split(".")[0]:
        raise UserError(f"{path}: has table schema {found}, this diffbench reads {VERSION}; make the tables again")
    data = arrow.to_pandas()
    return data.astype({c.name: DTYPES[c.type] for c in schema.TABLES[name].columns if c.name in data})


def real_test_row(floors: pd.DataFrame) -> pd.Series:
    """The row of the table ``floors`` that models are held against: real test images."""
    return floors[floors.split == "test"].iloc[0]
