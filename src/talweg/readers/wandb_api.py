"""A run on a W&B server, by its address: wandb://ENTITY/PROJECT/RUN_ID. Needs wandb, and to be logged in to it.

All rows of its history are asked for (scan_history), not the sample that a chart shows; its config states facts.
"""

import re
from typing import Any

from talweg.configs.table import facts_of
from talweg.errors import InputError
from talweg.logs.given import ADDRESS, Asked, Head, Log
from talweg.logs.records import Records
from talweg.logs.rows import run_of_rows
from talweg.run import Reading, Run

NAME = "wandb_api"
PATH = re.compile(r"[^/]+/[^/]+/(?:runs/)?[^/]+/?")


def sniff(head: Head) -> float:
    return 1.0 if ADDRESS.match(head.name) and not head.raw else 0.0


def read(log: Log, asked: Asked) -> Run:
    """Raises InputError when wandb is not installed, when the server does not answer, or when there is no such run."""
    match = ADDRESS.match(log.source)
    path = "" if match is None else match[1]
    if not PATH.fullmatch(path):
        raise InputError(f"{log.source} is no address of a run; it has the form wandb://ENTITY/PROJECT/RUN_ID")
    run = _run(path.replace("/runs/", "/").rstrip("/"), log.source)
    found = Records()
    try:
        for row, record in enumerate(run.scan_history()):
            found.add(record, row)
        config = {str(name): value for name, value in dict(run.config).items() if not str(name).startswith("_")}
        state = str(getattr(run, "state", ""))
    except Exception as error:
        raise _refused(log.source, error) from None
    if not found.num_records:
        raise InputError(f"{log.source} has no history yet: nothing was logged to this run")
    notes = (
        (f"W&B calls this run {state}",) if state in ("running", "crashed", "failed", "killed", "preempting") else ()
    )
    return run_of_rows(
        found.cells(),
        asked,
        source=log.source,
        format=NAME,
        facts=facts_of(config, "W&B's config"),
        reading=Reading(found.num_records, notes=notes),
        settings=config,
    )


def _run(path: str, source: str) -> Any:
    try:
        import wandb
    except ModuleNotFoundError:
        raise InputError(f'{source} is on a server of W&B, which needs wandb: pip install "talweg[wandb]"') from None
    try:
        return wandb.Api().run(path)
    except Exception as error:  # of wandb, of the library that it asks the server with, or of its own login
        raise _refused(source, error) from None


def _refused(source: str, error: Exception) -> InputError:
    told = " ".join(str(error).split())[:200] or type(error).__name__
    return InputError(f"{source} could not be read from W&B ({told}); check the address, the network, and wandb login")
