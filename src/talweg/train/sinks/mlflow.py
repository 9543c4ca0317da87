"""MLflow: the server that MLFLOW_TRACKING_URI names, else a local store beside the runs."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from talweg.train.sinks import remembered

LONGEST = 500  # characters of a parameter's value


class _Run:
    def __init__(self, client: Any, run_id: str) -> None:
        self._client, self._id = client, run_id

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self._client.log_batch(self._id, metrics=[Metric(n, v, now, step) for n, v in figures.items()])

    def close(self) -> None:
        self._client.set_terminated(self._id)


def open_sink(folder: Path, name: str, project: str, facts: Mapping[str, Any], first_step: int) -> _Run:
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # a local folder is what a person without a server has
    from mlflow import MlflowClient
    from mlflow.entities import Param

    client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI") or (folder.parent / "mlruns").resolve().as_uri())

    def make() -> str:
        experiment = client.get_experiment_by_name(project)
        number = experiment.experiment_id if experiment else client.create_experiment(project)
        run = client.create_run(number, run_name=name)
        client.log_batch(run.info.run_id, params=[Param(k, str(v)[:LONGEST]) for k, v in facts.items()])
        return str(run.info.run_id)

    return _Run(client, remembered(folder, "mlflow", make))
