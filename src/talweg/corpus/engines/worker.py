"""One process of the local engine: reads lines `STAGE INDEX`, does that task, answers with a line.

    python -m talweg.corpus.engines.worker CHAIN WORK

A process of its own kind, not a fork: it imports nothing of the program that asked for it, so a script without a main
guard may call `prepare`. It ends at once when its input does, whatever ended the parent. An answer is an exception,
or None, as base64 of its pickle.
"""

import base64
import os
import pickle
import queue
import signal
import sys
import threading
import traceback
from pathlib import Path

from talweg.corpus.engines import load
from talweg.errors import InputError


def answer(error: BaseException | None) -> str:
    """One line. An exception that is not meant for the person takes its traceback along; one that cannot travel
    goes as a RuntimeError.
    """
    if error is not None and not isinstance(error, InputError):
        text = "".join(traceback.format_exception(error))
        error.add_note(f"in a worker:\n{text}")
        error.__cause__ = error.__context__ = None
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:
            error = RuntimeError(text)
    return base64.b64encode(pickle.dumps(error)).decode() + "\n"


def understood(line: str) -> BaseException | None:
    """The exception that an answer carries."""
    error = pickle.loads(base64.b64decode(line))
    assert error is None or isinstance(error, BaseException)
    return error


def main(chain: str, work: Path) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)  # whatever a library prints is no answer
    orders: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(orders,), daemon=True).start()
    stages = load(chain)
    while True:
        stage, index = orders.get().split()
        error: BaseException | None = None
        try:
            stages.run_task(work, stage, int(index))
        except BaseException as caught:
            error = caught
        answers.write(answer(error))
        answers.flush()


def _read(orders: "queue.SimpleQueue[str]") -> None:
    with os.fdopen(os.dup(0), encoding="ascii") as lines:  # not sys.stdin: a fork would inherit its lock, held
        for line in lines:
            orders.put(line)
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
