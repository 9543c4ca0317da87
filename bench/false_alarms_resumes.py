"""How often a sound resume is accused: the crowds of false_alarms.py, said to be taken up at steps drawn at random.

    python bench/false_alarms_resumes.py [NUM]

Each run is asked as it is, with two resumes stated, and with nobody saying. The record of the last run stands in
notes/causes_resume.md.
"""

import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import false_alarms
import numpy as np

from talweg import causes
from talweg.run import Run

OURS = (
    "data_restarted_on_resume",
    "data_shared_across_ranks",
    "frozen_parameters",
    "optimizer_state_lost_on_resume",
    "ranks_not_synchronised",
    "schedule_restarted_on_resume",
)


def asked(run: Run, rng: np.random.Generator) -> Iterator[tuple[str, Run]]:
    last = run.last_step or 0.0
    stated = tuple(sorted(float(round(s)) for s in rng.uniform(0.1, 0.95, 2) * last))
    yield "as it is", run
    yield "two resumes", replace(run, facts=replace(run.facts, resumed_at=stated))
    yield "nobody said", replace(run, facts=replace(run.facts, resumed_at=None, ranks=None, trainable_parameters=None))


def main() -> None:
    num = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    rng = np.random.default_rng(0)
    crowds = {
        "simulated": false_alarms.simulated_runs(num),
        "of another make": false_alarms.strangers(num),
        "multipowerlaw": false_alarms.multipowerlaw(),
        "olmo_ladder": false_alarms.olmo_ladder(),
        "modded_nanogpt": false_alarms.parsed("modded_nanogpt"),
        "parameter_golf": false_alarms.parsed("parameter_golf"),
    }
    for title, runs in crowds.items():
        counts: Counter[tuple[str, str, str]] = Counter()
        for name, run in runs:
            for how, given in asked(run, rng):
                for cause in OURS:
                    found = causes.catalogue()[cause].examine(given)
                    counts[how, cause, found.verdict] += 1
                    if found.verdict == "present":
                        print(f"    {title} {name[:60]} {how} {cause}: {found.because}")
        for how in ("as it is", "two resumes", "nobody said"):
            told = ", ".join(
                f"{cause} " + "/".join(str(counts[how, cause, verdict]) for verdict in ("present", "unknown", "absent"))
                for cause in OURS
            )
            print(f"{title}, {how}: present/unknown/absent: {told}", flush=True)


if __name__ == "__main__":
    main()
