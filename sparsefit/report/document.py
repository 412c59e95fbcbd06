"""The report: one page with its figures inside, and beside it every figure and table as files."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sparsefit import __version__
from sparsefit.report import catalogue, content
from sparsefit.report.catalogue import Entry
from sparsefit.report.folder import write_folder
from sparsefit.report.material import Material, Workload
from sparsefit.report.processes import start_processes
from sparsefit.report.style import Files, render

if TYPE_CHECKING:
    import pandas as pd

ALONE = 24
"""Figures up to which starting another process takes longer than it saves."""


@dataclass(frozen=True)
class Made:
    """A figure as the page shows it.

    Attributes
    ----------
    name, title, caption, reason : str
        As in the catalogue, the caption with its note.
    data : bytes
        The frame as CSV.
    files : Files or None
        None where the frame is empty.
    """

    name: str
    title: str
    caption: str
    reason: str
    data: bytes
    files: Files | None

    @property
    def image(self) -> str:
        """The figure as a data URI."""
        code = b"" if self.files is None else base64.b64encode(self.files.svg)
        return f"data:image/svg+xml;base64,{code.decode()}"


@dataclass(frozen=True)
class Section:
    """One workload on the page."""

    workload: Workload
    anchor: str
    sentences: list[str]
    fits: list[dict[str, str]]
    figures: list[Made]


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
    entries.append(list(catalogue.across(material)))
    made = iter(make_all([entry for group in entries for entry in group], processes))
    *figures, across = [[next(made) for _ in group] for group in entries]
    tables = content.tables(material)
    files: dict[str, bytes] = {f"tables/{name}.csv": as_csv(table) for name, table in tables.items()}
    drawn = [figure for group in (*figures, across) for figure in group if figure.files is not None]
    for figure in drawn:
        assert figure.files is not None
        files[f"figures/{figure.name}.png"] = figure.files.png
        files[f"figures/{figure.name}.svg"] = figure.files.svg
        files[f"figures/{figure.name}.csv"] = figure.data
    sections = [
        Section(
            workload,
            f"workload-{number}",
            content.describe(workload),
            content.fit_rows(workload),
            group,
        )
        for number, (workload, group) in enumerate(zip(material.workloads, figures, strict=True), 1)
    ]
    files["index.html"] = page(material, sections, across, list(tables))
    write_folder(folder, files)
    return len(drawn)


def make_all(entries: list[Entry], processes: int) -> list[Made]:
    """Gather the data of every figure and draw those that have some."""
    if processes > 1 and len(entries) > ALONE:
        with start_processes(processes) as pool:
            return list(pool.map(make, entries))
    return [make(entry) for entry in entries]


def make(entry: Entry) -> Made:
    """Gather and draw one figure."""
    frame = entry.gather()
    note = entry.note(frame) if entry.note is not None else ""
    caption = f"{entry.caption} {note}".strip()
    files = None if frame.empty else render(entry.draw, frame)
    return Made(entry.name, entry.title, caption, entry.reason, as_csv(frame), files)


def page(material: Material, sections: list[Section], across: list[Made], tables: list[str]) -> bytes:
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
