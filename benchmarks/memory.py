"""Peak memory of a training step, plain against fast, each in a process of its own: python -m benchmarks.memory --help.

A plain step that would not fit is not run: its peak is the straight line through two smaller ones, and said to be.
"""

import functools
import json
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import torch
from clip.model import CLIP

from benchmarks.measure import extrapolate, saved_bytes
from benchmarks.options import machine, table, use_device
from benchmarks.options import parser as shared_parser
from benchmarks.setting import PATHS, ROOT, batch, build, class_names, random_clip

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def main(argv: list[str] | None = None) -> list[dict]:
    """Print the table, or with --one the bytes of a single step as JSON."""
    parser = shared_parser(__doc__)
    parser.set_defaults(classes=[19, 199, 1000], methods=["MaPLe"])
    parser.add_argument("--checkpointing", default="off", choices=["on", "off"], help="of the fast path")
    parser.add_argument("--largest", type=int, default=98, help="classes of the largest plain step that is run")
    parser.add_argument("--one", choices=PATHS, help="one step of this path, the first method, the first list")
    args = parser.parse_args(argv)
    use_device(args)
    if args.one:
        result = step(args.methods[0], args.one, args.classes[0], args.device, args.checkpointing, random_clip())
        print(json.dumps(result))
        return [result]
    spawned = functools.cache(functools.partial(spawn, args=args))  # the points of a line serve all its lists
    rows = [row(method, count, args.largest, spawned) for count in args.classes for method in args.methods]
    print(table(rows, args.markdown))
    print(f"MiB above the weights; ~: line through plain steps of {args.largest // 2} and {args.largest} classes")
    print(machine(args))
    return rows


def row(method: str, count: int, largest: int, spawn: Callable[[str, str, int], dict[str, int]]) -> dict:
    """Peaks of one method and list; `spawn` measures one step, `largest` is the longest list of a plain one."""
    fast = spawn(method, "fast", count)
    extended = count > largest
    if extended:
        points = {k: spawn(method, "plain", k) for k in (largest // 2, largest)}
        plain = {key: extrapolate({k: one[key] for k, one in points.items()}, count) for key in fast}
    else:
        plain = spawn(method, "plain", count)
    shown = {}
    for key, title in (("saved", "kept for backward"), ("peak", "peak")):
        shown[f"{title}, plain"] = f"{'~' * extended}{plain[key] / 2**20:,.0f}"
        shown[f"{title}, fast"] = f"{fast[key] / 2**20:,.0f}"
        shown[f"{title}, ratio"] = plain[key] / fast[key]
    return {"classes": title(count), "method": method} | shown


def spawn(method: str, path: str, count: int, args: Namespace) -> dict[str, int]:
    """`step` in a fresh process."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.memory", "--one", path, "--methods", method]
    command += ["--classes", str(count), "--device", args.device, "--threads", str(args.threads)]
    command += ["--checkpointing", args.checkpointing]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(
            f"error: {path} step of {method}, {count} classes, ended with {done.returncode}: {done.stderr}"
        )
    return json.loads(done.stdout.splitlines()[-1])


def step(method: str, path: str, count: int, device: str, checkpointing: str, model: CLIP) -> dict[str, int]:
    """Bytes above what the process held before: `peak` of one step, and `saved` for its backward pass.

    Raises:
        OSError: on a CPU, where the system does not tell a process's peak (other than Linux).
    """
    names = class_names(count)
    options = ["MODEL.CHECKPOINTING", checkpointing]
    trainer = build(method, path, names, model, device, options=options)
    data = batch(names, 4, model.visual.input_resolution)
    small = {name: tensor[:1] for name, tensor in data.items()}
    if path == "fast" and count > 10:  # libraries take their own memory at the first call; a small step makes them
        warm = build(method, path, names[:4], model, device, options=options)
        warm.forward_backward({"img": small["img"], "label": small["label"] % 4})
    before = held_bytes(device)
    trainer.forward_backward(data)
    peak = peak_bytes(device) - before
    images = data["img"].to(device)
    saved = saved_bytes(lambda: trainer.learner(trainer.clip, trainer.classes, images), trainer.clip.model)
    return {"peak": peak, "saved": saved}


def held_bytes(device: str) -> int:
    """Bytes held now; the high-water mark starts anew."""
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    RESET.write_text("5", encoding="ascii")
    return _status("VmRSS")


def peak_bytes(device: str) -> int:
    return torch.cuda.max_memory_allocated() if device != "cpu" else _status("VmHWM")


def _status(key: str) -> int:
    """A line of /proc/self/status, in bytes."""
    for text in STATUS.read_text(encoding="ascii").splitlines():
        if text.startswith(f"{key}:"):
            return int(text.split()[1]) * 1024
    raise OSError(f"{STATUS} has no line {key}; measure memory on Linux.")


if __name__ == "__main__":
    main()
