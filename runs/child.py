"""Has a command end with the process that started it, whatever kills that: no run is left behind on its own.

On Linux the kernel sends SIGTERM to the command when its parent dies; a run then saves and ends. Elsewhere it carries
on, and whoever comes next finds its directory locked.
"""

import os
import sys


def tied_to_parent(command: list[str]) -> list[str]:
    """`command`, to be started by the calling thread, which must live for as long as the command does."""
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), *command]


def end_with_parent(parent: int) -> None:
    """Have the kernel send SIGTERM to this process when the process `parent` dies, whose child it is."""
    if sys.platform == "linux":
        import ctypes
        import signal

        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit(75)  # it died before the kernel was asked


def main() -> None:
    """Ask the kernel for the signal, then become the command."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    end_with_parent(parent)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        print(f"error: {command[0]} cannot be started ({error.strerror}).", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
