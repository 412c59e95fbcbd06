"""The report: one page with its figures inside, and beside it every figure and table as files."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sparsefit import __version__
from sparsefit.report import catalogue, content
from sparsefit.report.catalogue import Entry
from sparsefit.report.folder import write_folder
from sparsefit.report.material import Material, Workload
from sparsefit.report.style import Files, render

if TYPE_CHECKING:
    import pandas as pd

ALONE = 24
"""Figures up to which starting another process takes longer than it saves."""


@dataclass(frozen=True)
class Shown:
    """A figure on the page.

    Attributes
    ----------
    entry : Entry
    image : str
        The figure as a data URI; empty where it could not be drawn.
    """

    entry: Entry
    image: str


@dataclass(frozen=True)
class Section:
    """One workload on the page."""

    workload: Workload
    anchor: str
    sentences: list[str]
    fits: list[dict[str, str]]
    figures: list[Shown]


def write_report(material: Material, folder: Path, *, processes: int = 1) -> int:
    """Write the report into a folder.

    Parameters
    ----------
    material : Material
    folder : Path
        Made if it is not there; an earlier report in it is replaced.
    processes : int
        Among which the drawing is divided.

    Returns
    -------
    int
        How many figures were drawn.

    Raises
    ------
    InputError
        The folder holds files of something else, or cannot be written.
    """
    entries = [list(catalogue.of_workload(w, i)) for i, w in enumerate(material.workloads, 1)]
    across = list(catalogue.across(material))
    drawn = draw_all([entry for group in (*entries, across) for entry in group], processes)
    tables = content.tables(material)
    files: dict[str, bytes] = {f"tables/{name}.csv": as_csv(table) for name, table in tables.items()}
    for name, (entry, figure) in drawn.items():
        files[f"figures/{name}.png"] = figure.png
        files[f"figures/{name}.svg"] = figure.svg
        files[f"figures/{name}.csv"] = as_csv(entry.frame)
    sections = [
        Section(
            workload,
            f"workload-{number}",
            content.describe(workload),
            content.fit_rows(workload),
            [show(entry, drawn) for entry in group],
        )
        for number, (workload, group) in enumerate(zip(material.workloads, entries, strict=True), 1)
    ]
    files["index.html"] = page(material, sections, [show(entry, drawn) for entry in across], list(tables))
    write_folder(folder, files)
    return len(drawn)


def draw_all(entries: Iterable[Entry], processes: int) -> dict[str, tuple[Entry, Files]]:
    """Return every figure that its data can fill, by name."""
    full = [entry for entry in entries if not entry.frame.empty]
    work = [entry.draw for entry in full], [entry.frame for entry in full]
    if processes > 1 and len(full) > ALONE:
        with ProcessPoolExecutor(processes) as pool:
            figures = list(pool.map(render, *work, chunksize=4))
    else:
        figures = list(map(render, *work))
    return {entry.name: (entry, files) for entry, files in zip(full, figures, strict=True)}


def show(entry: Entry, drawn: dict[str, tuple[Entry, Files]]) -> Shown:
    """Return what the page shows of an entry."""
    if entry.name not in drawn:
        return Shown(entry, "")
    code = base64.b64encode(drawn[entry.name][1].svg).decode()
    return Shown(entry, f"data:image/svg+xml;base64,{code}")


def page(material: Material, sections: list[Section], across: list[Shown], tables: list[str]) -> bytes:
    """Return the page; the template escapes every text that it is given."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("sparsefit.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = environment.get_template("page.html").render(
        version=__version__,
        headline=content.headline(material),
        claims=content.claim_rows(material),
        sections=sections,
        across=across,
        ancestry=list(content.ancestry(material)),
        warnings=material.validation.fit.warnings,
        tables=tables,
    )
    return text.encode("utf-8", errors="replace")


def as_csv(table: pd.DataFrame) -> bytes:
    """Return a table as the bytes of a CSV file."""
    return bytes(table.to_csv(index=False), "utf-8", errors="replace")
