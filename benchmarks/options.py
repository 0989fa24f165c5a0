"""The command line and the tables that the benchmarks share."""

import argparse
import datetime
import platform
from pathlib import Path

import torch
from tabulate import tabulate

from benchmarks.measure import CLOCKS
from benchmarks.setting import LISTS, METHODS, USUAL


def parser(description: str) -> argparse.ArgumentParser:
    """Options of every benchmark."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    made.add_argument("--classes", type=int, nargs="+", default=[count for count in LISTS if count <= 500])
    made.add_argument("--methods", nargs="+", default=list(USUAL), choices=list(METHODS))
    made.add_argument("--device", default="cpu", help="cpu or cuda")
    made.add_argument("--threads", type=int, default=0, help="threads on the CPU; 0: as torch chooses")
    made.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    return made


def timing_parser(description: str) -> argparse.ArgumentParser:
    """Options of the benchmarks that take times."""
    made = parser(description)
    made.add_argument("--repeats", type=int, default=5, help="timed turns of the fast path")
    made.add_argument("--plain-repeats", type=int, default=0, help="timed turns of the plain path; 0: as many")
    made.add_argument("--clock", default="wall", choices=CLOCKS, help="cpu: processor time, on a machine shared")
    return made


def use_device(args: argparse.Namespace) -> None:
    """Set the threads, refuse what cannot run."""
    if args.device != "cpu" and not torch.cuda.is_available():
        raise SystemExit("error: there is no CUDA device here; use --device cpu.")
    if args.threads:
        torch.set_num_threads(args.threads)


def repeats(args: argparse.Namespace, path: str) -> int:
    """Timed turns of a path."""
    return args.plain_repeats or args.repeats if path == "plain" else args.repeats


def machine(args: argparse.Namespace) -> str:
    """Machine, threads, torch and date of a table, in one line."""
    device = torch.cuda.get_device_name() if args.device != "cpu" else cpu_name()
    threads = f"{torch.get_num_threads()} thread{'s' * (torch.get_num_threads() > 1)}"
    return f"{device}, {threads}, torch {torch.__version__}, {datetime.date.today().isoformat()}"


def cpu_name() -> str:
    """The processor's name."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for row in info.read_text(encoding="utf-8").splitlines():
            if row.startswith("model name"):
                return row.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def table(rows: list[dict], markdown: bool) -> str:
    """Rows as text."""
    style = "github" if markdown else "simple"
    return tabulate(rows, headers="keys", tablefmt=style, floatfmt=".2f", missingval="")
