"""Several ranks as processes of this machine, started as torchrun would start them, without importing torch anew."""

import multiprocessing
import os
import socket
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

PATIENCE = 120.0  # seconds


def on_ranks(world: int, work: Callable[..., Any], *args: Any) -> list[Any]:
    """What `work(*args)`, a function of a module, returns on each of `world` ranks, or the exception it raises.

    A rank that was killed returns None.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["talweg.train.loop", "torch._dynamo", "torch.distributed.fsdp", __name__])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    pipes = [context.Pipe(duplex=False) for _ in range(world)]
    started = [
        context.Process(target=_rank, args=(rank, world, port, sending, work, args), daemon=True)
        for rank, (_, sending) in enumerate(pipes)
    ]
    for process in started:
        process.start()
    for _, sending in pipes:
        sending.close()
    results = []
    for receiving, _ in pipes:
        try:
            results.append(receiving.recv() if receiving.poll(PATIENCE) else TimeoutError())
        except EOFError:
            results.append(None)
        receiving.close()
    for process in started:
        process.join(5.0)
        process.kill()
        process.join()
        process.close()
    return results


def _rank(rank: int, world: int, port: int, sending: Connection, work: Callable[..., Any], args: tuple[Any]) -> None:
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(world),
        "LOCAL_WORLD_SIZE": str(world),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
    }
    try:
        result = work(*args)
    except Exception as error:
        result = error if isinstance(error, ValueError) else AssertionError(traceback.format_exc())
    sending.send(result)
    sending.close()
