"""The loop both towers are trained by: schedule, progress, checkpoint, resume. One seed makes all that is random."""

import argparse
import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

CURVES = Path(__file__).parent / "curves"


def options(description: str, batch: int, lr: float, every: int) -> argparse.ArgumentParser:
    """The command line that both stages share, with their own defaults."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="where artwork.py and words.py have put their files")
    parser.add_argument("--out", type=Path, help="folder of checkpoints and curves (--work)")
    parser.add_argument("--until", type=int, help="stop after this step; the same command without it resumes")
    parser.add_argument("--batch", type=int, default=batch)
    parser.add_argument("--lr", type=float, default=lr)
    parser.add_argument("--every", type=int, default=every, help="steps between two lines, and two checkpoints")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    return parser


class Schedule:
    """What step `i` of `steps` is trained with; a fraction of the whole, so that a shorter run is the same in small."""

    def __init__(self, steps: int, warm_up: float = 0.03):
        self.steps, self.warm_up = steps, max(1, round(warm_up * steps))

    def rate(self, step: int) -> float:
        """Factor of the learning rate: a linear warm-up, then a cosine to zero, without restarts."""
        if step < self.warm_up:
            return (step + 1) / self.warm_up
        return 0.5 * (1 + math.cos(math.pi * (step - self.warm_up) / max(1, self.steps - self.warm_up)))

    def done(self, step: int) -> float:
        """The part of the training that lies behind, 0 to 1."""
        return step / self.steps


def optimisers(modules: list[nn.Module], lr: float, weight_decay: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the blocks, AdamW for all else; decay on matrices only.

    Raises:
        RuntimeError: torch is too old for Muon (Jordan, 2024), which it has since 2.9.
    """
    if not hasattr(torch.optim, "Muon"):
        raise RuntimeError(f"torch {torch.__version__} has no Muon; pip install -r demo/requirements.txt.")
    matrices, decayed, plain = [], [], []
    for module in modules:
        for name, parameter in module.named_parameters():
            inner = "resblocks" in name and parameter.ndim == 2
            (matrices if inner else decayed if parameter.ndim >= 2 else plain).append(parameter)
    made = [
        torch.optim.Muon(matrices, lr=lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(
            [{"params": decayed}, {"params": plain, "weight_decay": 0.0}], lr=lr, weight_decay=weight_decay
        ),
    ]
    for optimiser in made:
        for group in optimiser.param_groups:
            group["base"] = group["lr"]
    return made


def recorded(name: str, step: int, steps: int, wanted: list[str]) -> dict[str, float] | None:
    """The losses of the shipped model's training at `step`, if it was of as many steps."""
    file = CURVES / f"{name}.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []
    if not lines or lines[-1]["step"] != steps:
        return None
    return next(({key: line[key] for key in wanted} for line in lines if line["step"] == step), None)


def fit(
    name: str,
    folder: Path,
    modules: nn.ModuleDict,
    optimisers: list[torch.optim.Optimizer],
    schedule: Schedule,
    rng: torch.Generator,
    loss_at: Callable[[float], dict[str, Tensor]],
    judge: Callable[[], dict[str, float]],
    every: int,
    until: int | None = None,
) -> None:
    """Train `modules` to the end of `schedule`, or to step `until`; resume from `folder`/`name`.pt if it is there.

    Every `every` steps: a checkpoint (written beside, then renamed), a line on the terminal and in `name`.jsonl.

    Args:
        loss_at: takes the part of the training that is done, gives the named losses of the next batch; their sum is
            minimised.
        judge: gives the figures that are noted with the losses.

    Raises:
        ValueError: the checkpoint is of a training of another length.
    """
    checkpoint, curve = folder / f"{name}.pt", folder / f"{name}.jsonl"
    step, seconds = 0, 0.0
    if checkpoint.is_file():
        kept = torch.load(checkpoint, weights_only=True)
        if kept["steps"] != schedule.steps:
            raise ValueError(
                f"{checkpoint} is of a training of {kept['steps']} steps, not {schedule.steps}; delete it."
            )
        modules.load_state_dict(kept["modules"])
        for optimiser, state in zip(optimisers, kept["optimisers"], strict=True):
            optimiser.load_state_dict(state)
        rng.set_state(kept["rng"])
        step, seconds = kept["step"], kept["seconds"]
        lines = curve.read_text().splitlines()
        curve.write_text("".join(f"{line}\n" for line in lines if json.loads(line)["step"] <= step))
        print(f"{name}: resumes at step {step} of {schedule.steps}", flush=True)
    else:
        curve.write_text("")
    sums: dict[str, float] = {}
    count, began = 0, time.monotonic()
    last = min(schedule.steps, until or schedule.steps)
    while step < last:
        for optimiser in optimisers:
            for group in optimiser.param_groups:
                group["lr"] = group["base"] * schedule.rate(step)
        losses = loss_at(schedule.done(step))
        for optimiser in optimisers:
            optimiser.zero_grad(set_to_none=True)
        sum(losses.values()).backward()
        for optimiser in optimisers:
            optimiser.step()
        step, count = step + 1, count + 1
        for key, value in losses.items():
            sums[key] = sums.get(key, 0.0) + float(value.detach())
        if step % every == 0 or step == last:
            seconds += time.monotonic() - began
            line = {"step": step, "seconds": round(seconds)} | {key: round(v / count, 4) for key, v in sums.items()}
            line |= {key: round(value, 2) for key, value in judge().items()}
            with curve.open("a") as file:
                file.write(json.dumps(line) + "\n")
            left = seconds / step * (schedule.steps - step)
            print(f"{name} {step}/{schedule.steps}, {left / 60:.0f} min left: {line}", flush=True)
            if told := recorded(name, step, schedule.steps, list(losses)):
                print(f"    the shipped model at this step: {told}", flush=True)
            state = {
                "step": step,
                "steps": schedule.steps,
                "seconds": seconds,
                "modules": modules.state_dict(),
                "optimisers": [optimiser.state_dict() for optimiser in optimisers],
                "rng": rng.get_state(),
            }
            torch.save(state, checkpoint.with_suffix(".part"))
            checkpoint.with_suffix(".part").replace(checkpoint)
            sums, count, began = {}, 0, time.monotonic()
