"""What a person sees of a corpus: one view model, drawn for the terminal and as a page."""

import json
from dataclasses import asdict
from pathlib import Path

from talweg.corpus.manifest import Manifest
from talweg.corpus.quality.summary import Summary
from talweg.errors import InputError
from talweg.files import write_text

KINDS = (".html", ".json")


def check(report: Path) -> None:
    """Raises InputError unless a report can be written under this name."""
    if report.suffix not in KINDS:
        raise InputError(f"{report}: a report of the corpus ends in {' or '.join(KINDS)}")
    if report.is_dir():
        raise InputError(f"{report} is a folder; give a file for the report")


def show(manifest: Manifest, summary: Summary | None, report: Path | None, width: int, color: bool) -> list[str]:
    """The lines for the terminal; the report is written too, where one is asked for."""
    from talweg.corpus.show.page import page
    from talweg.corpus.show.terminal import terminal

    measured = summary or Summary()
    if report is not None:
        both = {"manifest": asdict(manifest), "quality": summary.to_json() if summary else None}
        as_json = json.dumps(both, ensure_ascii=False, indent=1)
        write_text(report, page(manifest, measured) if report.suffix == ".html" else as_json + "\n")
    return terminal(manifest, measured, width, color).split("\n")
