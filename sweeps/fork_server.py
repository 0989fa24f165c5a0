"""A process that has imported all that runs need and forks one process for each: python -m sweeps.fork_server SOCKET

Whoever connects writes a line {"argv", "environment", "log"}, and reads {"pid"} once the run begins and {"code"} when
it has ended (negative: the signal that ended it). A run is a process of its own, with its own group, environment and
output: what it does to itself harms no other. It ends with the server, and the server with whoever started it, as a
command that is `tied_to_parent`: by SIGTERM, on which a run saves.

For runs on a CPU: `clip` asks for GPUs when it is imported, after which the driver serves no fork. Nothing here
computes, so that forks begin without threads.
"""

import atexit
import json
import os
import selectors
import signal
import socket
import sys
import traceback
from contextlib import suppress
from typing import Any

from runs.child import end_with_parent

LONGEST = 10_000_000  # bytes of a request
LOOK_SECONDS = 0.05  # between two looks for runs that ended


def main(address: str) -> None:
    """Import, then serve until the starter of this process dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    prepare()
    serve(listener)


def prepare() -> None:
    """Import what runs import, and read what is the same for all."""
    import torch.utils.tensorboard  # noqa: F401  an engine imports it when a training begins

    import runs.run  # noqa: F401
    import train  # noqa: F401
    from promptclip.class_prompts import tokenizer

    tokenizer()


def serve(listener: socket.socket) -> None:
    """Answer requests."""
    waiting: dict[int, socket.socket] = {}  # whom to tell of the end of which process
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        while True:
            for _ in selector.select(LOOK_SECONDS):
                client, _ = listener.accept()
                request = read_line(client)
                if request:
                    pid = fork(request, [listener, client, *waiting.values()])
                    tell(client, {"pid": pid})
                    waiting[pid] = client
            while waiting:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    break
                client = waiting.pop(pid)
                tell(client, {"code": os.waitstatus_to_exitcode(status)})
                client.close()


def read_line(client: socket.socket) -> dict[str, Any]:
    """A request; {} if who made it is gone."""
    with client.makefile("rb") as file:
        line = file.readline(LONGEST)
    return json.loads(line) if line.endswith(b"\n") else {}


def tell(client: socket.socket, answer: dict[str, int]) -> None:
    """Answer, if anybody is there."""
    with suppress(OSError):
        client.sendall(json.dumps(answer).encode() + b"\n")


def fork(request: dict[str, Any], sockets: list[socket.socket]) -> int:
    """Start a run; the number of its process."""
    parent, resident = os.getpid(), resident_bytes()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        for one in sockets:
            one.close()
        os.setsid()
        end_with_parent(parent)
        code = run(request, resident)
    except SystemExit as error:  # of the parser of arguments
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(BaseException):
            atexit._run_exitfuncs()  # as at the end of a program: files of TensorBoard are written
            sys.stdout.flush()
        os._exit(code)


def resident_bytes() -> int:
    """Of this process; 0 where the system does not tell."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")
    except OSError:
        return 0


def run(request: dict[str, Any], resident: int) -> int:
    """train.py with the request's arguments, environment and log; its exit code. `resident`: bytes of the server."""
    from runs.environment import SHARED_BYTES

    shared = max(0, resident - resident_bytes())
    signal.signal(signal.SIGINT, signal.default_int_handler)
    output = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for place, file in ((0, nothing), (1, output), (2, output)):
        os.dup2(file, place)
    sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
    os.environ.clear()
    os.environ.update(request["environment"])
    if shared:
        os.environ[SHARED_BYTES] = str(shared)
    import torch

    import train

    if threads := os.environ.get("OMP_NUM_THREADS"):  # which torch has read when it was imported
        torch.set_num_threads(int(threads))
    sys.argv = ["train.py", *request["argv"]]
    sys.orig_argv[1:] = [train.__file__, *request["argv"]]  # what a run that has to begin anew becomes
    return train.main()


if __name__ == "__main__":
    main(sys.argv[1])
