"""A run judged while it trains: at each evaluation the causes are asked, and a change of verdict is told in one line.

A verdict is told when two judgements in a row agree on it, so that one odd evaluation is not announced and taken back.
Judging reads the run's own log, as `talweg diagnose` would; where the log has grown so long that this would take more
than SHARE of the time, it is done less often.
"""

import json
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SHARE, FREE = 0.005, 2.0  # judging may take this share of the run's time, and so many seconds of any run. Our choice
FATAL = ("diverged", "no_parameter_update", "half_precision_overflow", "loss_scale_collapse")  # no step more helps


@dataclass(frozen=True)
class Judgement:
    """records: changes of verdict, for the log; fatal: the causes with which going on is a waste, in one line."""

    records: tuple[dict[str, Any], ...] = ()
    fatal: str = ""


@dataclass
class SelfCheck:
    """What has been told of the run in the folder so far."""

    log: Path
    told: dict[str, str] = field(default_factory=dict)  # by cause: the verdict that was announced last
    pending: dict[str, str] = field(default_factory=dict)  # by cause: a verdict that the next judgement has to confirm
    spent: float = 0.0  # seconds, of all judgements
    began: float = field(default_factory=time.monotonic)

    @classmethod
    def of(cls, log: Path) -> "SelfCheck":
        """Goes on from what the log tells already, as a run that is resumed does."""
        told = {}
        if log.is_file():
            with log.open(encoding="utf-8") as lines:
                for line in lines:
                    if '"cause"' in line:
                        with suppress(ValueError, KeyError):
                            record = json.loads(line)
                            told[record["cause"]] = record["verdict"]
        return cls(log, told)

    def judge(self, step: int) -> Judgement:
        """Ask the causes about the log as it stands. A log that cannot be judged yet has nothing to tell."""
        now = time.monotonic()
        if self.spent > FREE + SHARE * (now - self.began):
            return Judgement()
        diagnosis = self._diagnose()
        self.spent += time.monotonic() - now
        if diagnosis is None:
            return Judgement()
        records, fatal = [], ""
        for cause in diagnosis.causes:
            verdict = "absent" if _mends_itself(cause.finding) else cause.finding.verdict
            before = self.told.get(cause.name, "unknown")
            if self._confirmed(cause.name, verdict, before):
                self.told[cause.name] = verdict
                if "present" in (verdict, before):
                    records.append(_record(step, cause.name, verdict, before, cause.finding))
            if cause.name in FATAL and verdict == self.told.get(cause.name) == "present":
                fatal = f"{cause.name}: {cause.finding.because}"
        return Judgement(tuple(records), fatal)

    def _confirmed(self, name: str, verdict: str, before: str) -> bool:
        """Whether this verdict is new, and was found the last time too."""
        if verdict == before:
            self.pending.pop(name, None)
            return False
        if self.pending.get(name) == verdict:
            del self.pending[name]
            return True
        self.pending[name] = verdict
        return False

    def _diagnose(self) -> Any:
        """The diagnosis of the log; None where it holds too little. Imported late, as it takes a while."""
        from talweg.diagnosis import diagnose
        from talweg.errors import InputError
        from talweg.readers import read

        try:
            return diagnose(read(self.log))
        except InputError:
            return None


def _mends_itself(finding: Any) -> bool:
    """Whether the plan brings the remedy anyway, such as a decay that is still to come: no news."""
    return bool(finding.remedies) and all(remedy.name == "wait" for remedy in finding.remedies)


def _record(step: int, name: str, verdict: str, before: str, finding: Any) -> dict[str, Any]:
    cost = finding.nats
    told = cost is not None and cost.high >= 0.005
    words = f" ({cost.value:.2f} nats, {cost.low:.2f} to {cost.high:.2f})" if told else ""
    if verdict == "present":
        note = f"step {step:,}: {name} is present{words}: {finding.because}"
    else:
        again = "absent now" if verdict == "absent" else "no longer certain"
        note = f"step {step:,}: {name} is {again}: {finding.because}"
    record: dict[str, Any] = {"step": step, "cause": name, "verdict": verdict, "before": before, "note": note}
    if cost is not None:
        record["nats"] = {"value": cost.value, "low": cost.low, "high": cost.high}
    return record
