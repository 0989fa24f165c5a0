"""What a sweep ends with: its table, made by report/ in a process of its own, and the command that makes it again."""

import re
import shlex
import subprocess
import sys

from sweeps.processes import REPOSITORY


def report_command(name: str, output: str) -> list[str]:
    """Arguments of Python for the table of the sweep `name` below `output`: those that its name tells, else all."""
    numbers = [digit for found in re.findall(r"table_?(\d(?:_\d)*)", name) for digit in found.split("_")]
    return ["-m", "report", "tables", output, "--sweep", name, *(["--table", *numbers] if numbers else [])]


def table(name: str, output: str) -> str:
    """The sweep's table, below the command that prints it; "" where its runs make no table."""
    arguments = report_command(name, output)
    done = subprocess.run([sys.executable, *arguments], cwd=REPOSITORY, capture_output=True, text=True)
    return f"\n$ python {shlex.join(arguments)}\n\n{done.stdout.rstrip()}" if done.returncode == 0 else ""
