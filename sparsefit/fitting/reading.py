"""Read a table of measurements from CSV, gzip, Parquet or standard input, as text, cell by cell."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import re
import sys
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from sparsefit.errors import InputError, MissingDependencyError
from sparsefit.fitting.cells import EUROPEAN

if TYPE_CHECKING:
    import pandas as pd

GZIP, PARQUET, SQLITE = b"\x1f\x8b", b"PAR1", b"SQLite format 3\0"
UTF16 = (b"\xff\xfe", b"\xfe\xff")
DELIMITERS = ",;\t"
DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")

ALLOWED = "allowed is a CSV (comma, semicolon or tab; plain or gzip, UTF-8) or Parquet file"


@dataclass(frozen=True)
class Source:
    """Where a table came from.

    Attributes
    ----------
    path : str
        As the user named it; ``-`` is standard input.
    sha256 : str
        Of the bytes as they were read, before decompression.
    rows : int
    """

    path: str
    sha256: str
    rows: int


def read_table(path: str | Path) -> tuple[pd.DataFrame, Source]:
    """Return the cells of a table as stripped text, empty where missing, and where they came from.

    Parameters
    ----------
    path : str or Path
        ``-`` reads standard input. The content, not the suffix, tells the format.

    Raises
    ------
    InputError
        The file is missing, unreadable, empty, binary, or not a table.
    """
    name = str(path)
    raw = read_bytes(name)
    if raw.startswith(SQLITE):
        raise InputError(
            f"{name}: this is a SQLite database; if it is a sweep, write its table with: "
            f"sparsefit collect {name} -o results.csv"
        )
    try:
        content = gzip.decompress(raw) if raw.startswith(GZIP) else raw
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{name}: the gzip file is damaged ({error}); write it again") from error
    if not content.strip():
        raise InputError(f"{name}: the file is empty; {ALLOWED} with a header line")
    if content.startswith(PARQUET):
        table = parse_parquet(content, name)
    else:
        text = decode(content, name)
        refuse_json(text, name)
        table = parse_csv(text, name)
    if table.empty:
        raise InputError(f"{name}: there is a header but no row below it; add one row per measurement")
    return table, Source(name, hashlib.sha256(raw).hexdigest(), len(table))


def open_table(table: pd.DataFrame | str | Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return the cells of a DataFrame or a file as text, and ``path`` and ``sha256`` of the file.

    Both are None for a DataFrame.

    Raises
    ------
    InputError
        Neither of the two, or what `read_table` refuses.
    """
    if isinstance(table, str | Path):
        cells, source = read_table(table)
        return cells, {"path": source.path, "sha256": source.sha256}
    if not hasattr(table, "columns"):
        raise InputError(
            f"table: got a {type(table).__name__}, allowed is a DataFrame with columns such as batch_size "
            "and steps, or a path; pandas.DataFrame(...) or .reset_index() makes one"
        )
    return as_text(table), {"path": None, "sha256": None}


def read_bytes(name: str) -> bytes:
    """Return the content of a file or of standard input."""
    if name == "-":
        return sys.stdin.buffer.read()
    path = Path(name)
    if path.is_dir():
        raise InputError(
            f"{name}: is a directory; give a table inside it, or make one of a folder of Shallue et al. or "
            f"of the release: sparsefit collect {name} -o steps.csv"
        )
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{name}: no such file; give the path of a table, or - for standard input") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{name}: cannot be read ({error})") from error


def decode(content: bytes, name: str) -> str:
    """Return text from UTF-8, with or without a byte order mark, or marked UTF-16."""
    encoding = "utf-16" if content.startswith(UTF16) else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        wanted = encoding.removesuffix("-sig").upper()
        raise InputError(
            f"{name}: byte {error.start} is not {wanted} text, so this is a binary file or in another "
            f"encoding; {ALLOWED}"
        ) from error
    if "\0" in text:
        raise InputError(f"{name}: holds zero bytes, so it is a binary file; {ALLOWED}")
    return text


def refuse_json(text: str, name: str) -> None:
    """Raise for JSON, or JSON line by line, with what it is where sparsefit wrote it."""
    text = text.strip()
    if not text.startswith(("{", "[")):
        return
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        try:
            content = json.loads(text.splitlines()[0])
        except (ValueError, RecursionError):
            return
    schema = str(content.get("schema", "")) if isinstance(content, dict) else ""
    if schema.startswith("sparsefit."):
        plan = "; sparsefit plan takes this file" if schema.startswith("sparsefit.fit/") else ""
        raise InputError(
            f"{name}: this is JSON that sparsefit wrote ({schema}), not a table; give the table that it was "
            f"made from{plan}"
        )
    raise InputError(
        f"{name}: this is JSON; {ALLOWED}: convert it, with pandas for example: "
        "read_json(...).to_csv('steps.csv', index=False), and read_json(..., lines=True) for JSON lines"
    )


def parse_parquet(content: bytes, name: str) -> pd.DataFrame:
    """Return the cells of a Parquet file as text."""
    import pandas as pd

    try:
        import pyarrow  # noqa: F401
    except ModuleNotFoundError:
        raise MissingDependencyError(f"{name} (Parquet)", "sparsefit[parquet]") from None
    try:
        table = pd.read_parquet(io.BytesIO(content))
    except (OSError, ValueError) as error:
        raise InputError(f"{name}: the Parquet file is damaged ({error}); write it again") from error
    return as_text(table)


def as_text(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose cells are stripped text, empty where missing."""
    import pandas as pd

    table = table.reset_index(drop=True)
    columns = {}
    for position, name in enumerate(table.columns):
        if str(name) in columns:
            raise InputError(f"the column {str(name)!r} stands twice; rename or drop one")
        column = table.iloc[:, position]
        columns[str(name)] = column.astype(object).where(column.notna(), "").astype(str).str.strip()
    cells = pd.DataFrame(columns, index=table.index)
    cells.attrs = dict(table.attrs)
    return cells


def parse_csv(text: str, name: str) -> pd.DataFrame:
    """Return the cells of a delimited table as stripped text."""
    import pandas as pd

    header_line = next((line for line in text.splitlines() if line.strip()), None)
    if header_line is None:
        raise InputError(f"{name}: the file holds no text; {ALLOWED} with a header line")
    delimiter = max(DELIMITERS, key=header_line.count)
    header = [field.strip() for field in next(csv.reader([header_line], delimiter=delimiter, strict=False))]
    if len(header) == 1:
        raise InputError(
            f"{name}: the first line, {shorten(header[0], 60)!r}, is one column; a table has at least two, "
            "of batch sizes and steps, a comma, semicolon or tab between them and their names in the first "
            "line"
        )
    twice = sorted({field for field in header if field and header.count(field) > 1})
    if twice:
        raise InputError(f"{name}: the header holds {twice[0]!r} twice; rename or drop one")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            table = pd.read_csv(io.StringIO(text), sep=delimiter, dtype=str, keep_default_na=False)
    except (pd.errors.ParserError, pd.errors.ParserWarning, pd.errors.EmptyDataError, ValueError) as error:
        raise InputError(f"{name}: not a table ({str(error).strip()}); {ALLOWED}") from error
    if not isinstance(table.index, pd.RangeIndex):
        raise InputError(
            f"{name}: rows hold more fields than the {len(header)} of the header; make them equal"
        )
    table.columns = [str(column).strip() for column in table.columns]
    cells = as_text(table)
    if delimiter == ";":
        cells = read_commas(cells)
        cells.attrs[EUROPEAN] = True
    return cells


def read_commas(table: pd.DataFrame) -> pd.DataFrame:
    """Return the cells of a file with semicolons with points for decimal commas."""
    for column in table.columns:
        cells = table[column]
        if cells[cells.str.contains(",", regex=False)].str.fullmatch(DECIMAL_COMMA).all():
            table[column] = cells.str.replace(",", ".", regex=False)
    return table
