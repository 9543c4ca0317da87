"""What `talweg forecast` shows."""

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from talweg import evidence, simulated
from talweg.cli import main
from talweg.evidence import Forecast
from talweg.report.ahead import to_json, to_svg, to_text
from talweg.run import Run


def cases() -> tuple[Run, list[Forecast]]:
    run = simulated.healthy(np.random.default_rng(0), stop_at=6000)
    own, other = evidence.forecast(run), evidence.forecast(run, what_if={"run.steps": 20_000})
    assert own is not None
    assert other is not None
    return run, [own, other]


@pytest.mark.parametrize("width", [60, 80, 100])
def test_no_line_is_wider_than_the_screen(width: int) -> None:
    run, forecasts = cases()
    assert max(map(len, to_text(run, forecasts, width=width).splitlines())) <= width


def test_the_page_tells_both_plans_and_their_difference() -> None:
    run, forecasts = cases()
    page = to_text(run, forecasts)
    assert "as planned" in page
    assert "run.steps = 20,000" in page
    assert f"{forecasts[0].loss.value:.3f}" in page
    assert "than the plan" in page
    assert any(0x2800 < ord(sign) <= 0x28FF for sign in page)


def test_json_is_json_and_holds_the_intervals() -> None:
    run, forecasts = cases()
    document = json.loads(json.dumps(to_json(run, forecasts), allow_nan=False))
    first = document["forecasts"][0]
    assert first["loss"]["low"] < first["loss"]["value"] < first["loss"]["high"]
    assert len(first["val"]["intervals"]["80"][0]) == len(first["steps"]) == len(first["train"]["mean"])
    assert document["forecasts"][1]["change"]["value"] < 0


def test_the_picture_is_well_formed_and_its_names_are_escaped() -> None:
    run, forecasts = cases()
    root = ElementTree.fromstring(to_svg(run, forecasts))
    lines = [e for e in root.iter() if e.tag.endswith("polyline")]
    bands = [e for e in root.iter() if e.tag.endswith("polygon")]
    assert len(lines) == 3
    assert len(bands) == 6


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = ["step,train_loss,val_loss,lr"]
    for step in range(0, 6001, 100):
        loss = 3 + 3 * (1 + step / 100) ** -0.5
        lines.append(f"{step},{loss:.5f},{loss + 0.01:.5f},0.0006")
    log, config = tmp_path / "log.csv", tmp_path / "config.json"
    log.write_text("\n".join(lines) + "\n")
    config.write_text(json.dumps({"max_steps": 10_000, "learning_rate": 6e-4, "lr_scheduler_type": "constant"}))
    picture = tmp_path / "ahead.svg"
    asked = ["forecast", str(log), "--config", str(config)]
    assert main([*asked, "--what-if", "schedule.kind=linear", "-o", str(picture)]) == 0
    assert "better than the plan" in capsys.readouterr().out.replace("\n", " ")
    ElementTree.fromstring(picture.read_text())
    assert main([*asked, "--format", "json"]) == 0
    json.loads(capsys.readouterr().out)
    assert main([*asked, "--what-if", "nonsense"]) == 2
    assert main([*asked, "-o", "ahead.png"]) == 2
    assert main(["forecast", str(log), "--config", str(config), "--what-if", "model.width=3"]) == 2
    told = capsys.readouterr().err
    assert "--what-if schedule.min_lr=0" in told
    assert ".svg or .json" in told
    assert "Measure it with a trial" in told
