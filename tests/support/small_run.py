"""Real runs of train.py in processes of their own that start in a moment: a fork server has imported everything.

The data set is made of noise images on disk, the backbone of two narrow blocks a tower, the method is RESTORE_p, which
carries most from step to step: PromptSRC's average of the prompts and both running alphas.
"""

import io
import multiprocessing
import os
import re
import signal
import sys
from pathlib import Path

import clip.model
import numpy as np
import recipe
import torch
from dassl.data.datasets import DATASET_REGISTRY, DatasetBase, Datum
from PIL import Image
from small_clip import as_openais

import train

FULL = os.environ.get("RELIABILITY") == "full"
GEOMETRY = recipe.COMMON | {
    **{"embed_dim": 32, "image_resolution": 32, "vision_layers": 2, "vision_width": 64, "vision_patch_size": 16},
    **{"transformer_width": 64, "transformer_heads": 1, "transformer_layers": 2},
}
_save = torch.save
CLASSES = ("red noise", "green noise", "blue noise")
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["small_run", "runs.run"])


def count(usual: int, full: int) -> int:
    """How often to repeat a randomised check: `full` with RELIABILITY=full in the environment."""
    return full if FULL else usual


@DATASET_REGISTRY.register(force=True)
class NoiseSquares(DatasetBase):
    """Three classes of coloured noise, six training and two test images each."""

    def __init__(self, cfg):
        files = [(k, str(Path(cfg.DATASET.ROOT) / f"{k}_{n}.png"), n) for k in range(3) for n in range(8)]
        items = [(Datum(path, k, classname=CLASSES[k]), n) for k, path, n in files]
        train = self.generate_fewshot_dataset([item for item, n in items if n < 6], num_shots=cfg.DATASET.NUM_SHOTS)
        super().__init__(train_x=train, test=[item for item, n in items if n >= 6])


def prepare(folder: Path) -> list[str]:
    """Write images and weights into `folder`; the command line of a run on them, without --output-dir."""
    data = folder / "data"
    data.mkdir(parents=True)
    noise = np.random.RandomState(0)
    for k in range(3):
        for n in range(8):
            pixels = noise.randint(0, 120, (40, 40, 3), dtype=np.uint8)
            pixels[..., k] += 90
            Image.fromarray(pixels).save(data / f"{k}_{n}.png")
    torch.save(as_openais(clip_state()), folder / "clip.pt")
    (folder / "method.yaml").write_text(
        "INPUT: {SIZE: [32, 32], TRANSFORMS: [random_resized_crop, random_flip, normalize]}\n"
        "DATALOADER: {NUM_WORKERS: 0, TRAIN_X: {BATCH_SIZE: 4}, TEST: {BATCH_SIZE: 4}}\n"
        "OPTIM: {NAME: sgd, LR: 0.01, LR_SCHEDULER: cosine, MAX_EPOCH: 4, WARMUP_EPOCH: 1, WARMUP_TYPE: constant}\n"
        "TRAIN: {PRINT_FREQ: 1, CHECKPOINT_FREQ: 1}\n"
        f"MODEL: {{BACKBONE: {{NAME: '{folder / 'clip.pt'}'}}}}\n"
        "DATASET: {NAME: NoiseSquares, NUM_SHOTS: 5}\n"
        "TRAINER: {RESTORE_P: {PREC: fp32, PROMPT_DEPTH_TEXT: 2, PROMPT_DEPTH_VISION: 2, GPA_MEAN: 10, GPA_STD: 4}}\n"
    )
    return ["--root", str(data), "--seed", "3", "--trainer", "RESTORE_p", "--config-file", str(folder / "method.yaml")]


def clip_state() -> dict[str, torch.Tensor]:
    """Weights of the two-block CLIP."""
    with torch.device("meta"):
        shapes = {name: tuple(value.shape) for name, value in clip.model.CLIP(**GEOMETRY).state_dict().items()}
    return {name: torch.from_numpy(value) for name, value in recipe.clip_state_dict(GEOMETRY, shapes).items()}


def start(argv: list[str], output: Path, setup=None):
    """A process that runs train.py, its streams in the file `output`; `setup` is called in it first."""
    process = _context.Process(target=_child, args=(argv, str(output), setup))
    process.start()
    return process


def finish(process, seconds: float = 120) -> int:
    """The exit code; negative the signal that killed it. Kills a process that hangs."""
    process.join(seconds)
    if process.exitcode is None:
        process.kill()
        process.join()
        raise TimeoutError(f"the run did not end within {seconds} s")
    return process.exitcode


def run(argv: list[str], output: Path, setup=None) -> tuple[int, str]:
    """(exit code, what it printed) of a run to its end."""
    code = finish(start(argv, output, setup))
    return code, output.read_text(errors="replace")


def _child(argv, output, setup):
    os.setsid()  # a process group of its own, as a job has
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(file, 1)
    os.dup2(file, 2)
    sys.stdout, sys.stderr = (os.fdopen(os.dup(n), "w", buffering=1) for n in (1, 2))
    torch.set_num_threads(1)
    multiprocessing.set_start_method("fork", force=True)  # for the loaders' workers, as in a run from the command line
    if setup:
        setup()
    code = train.main(argv)
    sys.stdout.flush()
    os._exit(code)


class KillAt:
    """Called in a run's process: has it kill itself with SIGKILL at the n-th call of what writes files."""

    def __init__(self, where: str, n: int):
        self.where, self.left = where, n

    def __call__(self):
        module, name = {"half": (torch, "save"), "fsync": (os, "fsync")}.get(self.where, (os, "replace"))
        original = getattr(module, name)

        def deadly(*args, **kwargs):
            self.left -= 1
            if self.left > 0:
                return original(*args, **kwargs)
            if self.where == "half":
                self.write_half(*args)
            if self.where == "moved":
                original(*args, **kwargs)
            os.kill(os.getpid(), signal.SIGKILL)

        setattr(module, name, deadly)

    @staticmethod
    def write_half(state, file):
        whole = io.BytesIO()
        _save(state, whole)
        file.write(whole.getvalue()[: len(whole.getvalue()) // 2])
        file.flush()


LINE = re.compile(r"epoch \[(\d+)/\d+\] batch \[(\d+)/\d+\] time .*? (loss .* lr \S+) eta \d+:\d\d:\d\d")


def epoch_lines(directory: Path) -> dict[tuple[int, int], str]:
    """(epoch, batch) -> its log line without times; of a batch that was repeated after a kill the last one."""
    lines = {}
    for log in sorted(directory.glob("log.txt*"), key=lambda path: path.stat().st_mtime_ns):
        for line in log.read_text(errors="replace").splitlines():
            if match := LINE.fullmatch(line):
                lines[int(match[1]), int(match[2])] = match[3]
    return lines


def equal(a, b) -> bool:
    """Exact equality of nested checkpoints' contents."""
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b, strict=True))
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b
