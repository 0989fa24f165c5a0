"""Training steps on CLIPs of other sizes, of batches of four: python -m benchmarks.sizes --help.

Each step is taken in a process of its own, on random weights of the architecture as open_clip describes it. The plain
step is counted, from two of few classes: of many it needs more memory than most machines have.
"""

import argparse
import json
import subprocess
import sys
from argparse import Namespace

import torch
from clip.model import CLIP

from benchmarks.measure import extrapolate, flops, saved_bytes, seconds
from benchmarks.memory import held_bytes, peak_bytes
from benchmarks.options import machine, table, use_device
from benchmarks.setting import METHODS, ROOT, batch, build, class_names
from promptclip.geometry import assemble
from promptclip.open_clip_source import describe, package

ARCHITECTURES = ("ViT-B-16-quickgelu", "ViT-L-14-quickgelu", "ViT-L-14-336-quickgelu", "ViT-H-14")
BATCH = 4
OPTIONS = ["MODEL.CHECKPOINTING", "off"]


def main(argv: list[str] | None = None) -> list[dict]:
    """Print the table, or with --one what a single step says as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architectures", nargs="+", default=list(ARCHITECTURES), help="names of open_clip's")
    parser.add_argument("--classes", nargs="+", type=int, default=[19, 199, 1000], help="lengths of the class lists")
    parser.add_argument("--methods", nargs="+", default=["MaPLe", "RESTORE_m"], choices=METHODS)
    parser.add_argument("--count", action="store_true", help="count operations too, the plain step's beside the fast")
    parser.add_argument("--threads", type=int, default=1, help="of the processor")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--markdown", action="store_true", help="a table for Markdown")
    parser.add_argument("--one", choices=["step", "plain"], help="the first of each, in this process")
    args = parser.parse_args(argv)
    if args.one:
        use_device(args)
        first = args.architectures[0], args.methods[0]
        one = count_plain(*first) if args.one == "plain" else step(*first, args.classes[0], args.device, args.count)
        print(json.dumps(one))
        return [one]
    rows = []
    for architecture in args.architectures:
        for method in args.methods:
            few = spawn("plain", architecture, method, 4, args) if args.count else {}
            for count in args.classes:
                row = spawn("step", architecture, method, count, args)
                if few:
                    row["GFLOP plain"] = round(extrapolate({int(k): one for k, one in few.items()}, count) / 1e9)
                    row["GFLOP ratio"] = row["GFLOP plain"] / row["GFLOP fast"]
                rows.append(row)
                print(json.dumps(row), file=sys.stderr, flush=True)
    print(table(rows, args.markdown))
    print(f"batch {BATCH}, MiB above the weights, processor seconds of a second step; {machine(args)}")
    return rows


def spawn(what: str, architecture: str, method: str, count: int, args: Namespace) -> dict:
    """`step`, or `count_plain`, in a fresh process."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.sizes", "--one", what, "--architectures", architecture]
    command += ["--methods", method, "--classes", str(count), "--threads", str(args.threads), "--device", args.device]
    done = subprocess.run([*command, *["--count"] * args.count], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        of = f"{method} on {architecture}, {count} classes"
        raise SystemExit(f"error: {of}, ended with {done.returncode}: {done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def random_weights(architecture: str) -> CLIP:
    """A frozen CLIP of an architecture of open_clip's, with random weights."""
    open_clip = package()
    config = open_clip.get_model_config(architecture)
    with torch.device("meta"):
        shapes = {
            name: value.shape
            for name, value in open_clip.CLIP(**open_clip.get_model_config(architecture)).state_dict().items()
        }
    torch.manual_seed(0)
    state = {name: torch.empty(shape).normal_(std=0.02) for name, shape in shapes.items()}
    geometry = describe(config, {}, lambda: ROOT, architecture).geometry
    return assemble(state, geometry, architecture).eval().requires_grad_(False)


def step(architecture: str, method: str, count: int, device: str, count_flops: bool) -> dict:
    """What a step takes: of time, of memory, and what of that was foretold."""
    model = random_weights(architecture)
    names, size = class_names(count), model.visual.input_resolution
    trainer = build(method, "fast", names, model, device, options=OPTIONS)
    data = batch(names, BATCH, size)
    found: dict = {"architecture": architecture, "classes": count, "method": method}
    foretold = trainer.needed_bytes(BATCH)
    small = build(method, "fast", names[:4], model, device, options=OPTIONS)  # libraries take their memory at first
    small.forward_backward({"img": data["img"][:1], "label": data["label"][:1] % 4})
    before = held_bytes(device)
    if count_flops:
        found["GFLOP fast"] = round(flops(lambda: trainer.forward_backward(data)) / 1e9)
    else:  # which torch does not do of ProGrad's two gradients of one graph
        trainer.forward_backward(data)
    found["peak"] = round((peak_bytes(device) - before) / 2**20)
    clock = "cpu" if device == "cpu" else "wall"
    began = seconds(clock, device)
    trainer.forward_backward(data)
    found["s"] = round(seconds(clock, device) - began, 2)
    images = data["img"].to(device)
    weights = torch.nn.ModuleList([trainer.clip.model, trainer.learner])
    saved = saved_bytes(lambda: trainer.learner(trainer.clip, trainer.classes, images), weights)
    found |= {"kept": round(saved / 2**20), "foretold": round(foretold / 2**20), "foretold / kept": foretold / saved}
    return found


def count_plain(architecture: str, method: str) -> dict[int, int]:
    """Operations of a plain step of 2 and of 4 classes."""
    model, counts = random_weights(architecture), {}
    data = batch(["", ""], BATCH, model.visual.input_resolution)
    for classes in (2, 4):
        plain = build(method, "plain", class_names(classes), model)
        counts[classes] = flops(lambda plain=plain: plain.forward_backward(data))
    return counts


if __name__ == "__main__":
    main()
