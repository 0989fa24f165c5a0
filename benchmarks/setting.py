"""What is measured: a method's own trainer on a CLIP of ViT-B/16's geometry with random weights, and class names."""

import contextlib
import io
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from clip.model import CLIP
from dassl.engine import TRAINER_REGISTRY
from torch import Tensor

from promptclip import PromptedCLIP, PromptLearner
from promptclip.plain import PlainCLIP
from runs.config import default_config, merge_file
from trainers.method import Setup
from trainers.trainer import PromptTrainer

ROOT = Path(__file__).resolve().parents[1]
NAMES = Path(__file__).parent / "class_names"
LISTS = {
    10: ("eurosat", "EuroSAT, all"),
    19: ("oxford_pets", "OxfordPets, base"),
    51: ("oxford_flowers", "Flowers102, base"),
    98: ("stanford_cars", "StanfordCars, base"),
    199: ("sun397", "SUN397, base"),
    500: ("imagenet", "ImageNet, base"),
    1000: ("imagenet", "ImageNet, all"),
}
METHODS = {
    "MaPLe": "vit_b16_c2_ep5_batch4_2ctx",
    "PromptSRC": "vit_b16_c2_ep20_batch4_4+4ctx",
    "RESTORE_m": "vit_b16_c2_ep10_batch4",
    "RESTORE_p": "vit_b16_c4_ep10_batch4",
    "CoOp": "vit_b16_ep10_batch4",
    "CoCoOp": "vit_b16_c4_ep10_batch1_ctxv1",
    "KgCoOp": "vit_b16_ep10_batch4_ctxv1",
    "ProGrad": "vit_b16_ep10_batch4",
    "LPT": "vit_b16_c4_ep5_batch4_4ctx",
    "VPT": "vit_b16_c8_ep5_batch4_8ctx",
    "IVLP": "vit_b16_c2_ep5_batch4_2+2ctx",
    "TCP": "vit_b16_ep50_batch32",
    "MMA": "vit_b16_ep5_batch16",
    "MMRL": "vit_b16_ep10_batch4",
    "CLIP_LoRA": "vit_b16_steps500_batch32",
    "TwoStage": "vit_b16_steps300_batch32",
    "CoPrompt": "vit_b16_c2_ep8_batch4",
}
USUAL = ("MaPLe", "PromptSRC", "RESTORE_m", "RESTORE_p")
"""Those measured unless others are asked for."""
GEOMETRY = (512, 224, 12, 768, 16, 77, 49408, 512, 8, 12)  # ViT-B/16, as clip.model.CLIP takes it
PATHS = ("plain", "fast", "graph")  # graph: fast, each step the replay of a CUDA graph


def class_names(count: int) -> list[str]:
    """The list of `count` names, or its beginning of that many where no list has that length.

    Raises:
        ValueError: more names are asked for than the longest list has.
    """
    if count not in LISTS and not 0 < count < max(LISTS):
        raise ValueError(f"There are class names for 1 to {max(LISTS)} classes, not for {count}.")
    file = LISTS.get(count, LISTS[max(LISTS)])[0]
    return (NAMES / f"{file}.txt").read_text(encoding="utf-8").splitlines()[:count]


def title(count: int) -> str | int:
    """A list of class names as tables show it."""
    return f"{count} ({LISTS[count][1]})" if count in LISTS else count


def random_clip(geometry: tuple = GEOMETRY, dtype: torch.dtype = torch.float32) -> CLIP:
    """A frozen CLIP with clip's own random start."""
    torch.manual_seed(0)
    return CLIP(*geometry).to(dtype).eval().requires_grad_(False)


def build(
    method: str,
    path: str,
    names: list[str],
    model: CLIP,
    device: str = "cpu",
    slice_size: int = 0,
    options: Sequence[Any] = (),
) -> PromptTrainer:
    """The method's trainer with its published settings, on random weights, ready for a step; prints nothing.

    Args:
        method: one of `METHODS`.
        path: one of `PATHS`: how its steps are taken.
        names: the classes.
        model: the CLIP.
        device: "cpu" or "cuda".
        slice_size: of the plain path, see `PlainCLIP`.
        options: KEY, VALUE, ... of the configuration.

    Raises:
        ValueError: unknown method or path.
    """
    if method not in METHODS:
        raise ValueError(f"The method {method!r} is none of {', '.join(METHODS)}.")
    if path not in PATHS:
        raise ValueError(f"The path {path!r} is none of {', '.join(PATHS)}.")
    cfg = default_config()
    merge_file(cfg, ROOT / "configs" / "trainers" / method / f"{METHODS[method]}.yaml")
    size = model.visual.input_resolution
    cfg.merge_from_list(["TRAINER.NAME", method, "INPUT.SIZE", (size, size), "USE_CUDA", device != "cpu"])
    cfg.merge_from_list(["MODEL.CUDA_GRAPH", "on" if path == "graph" else "off", *options])
    if device == "cpu":
        cfg.TRAINER[TRAINER_REGISTRY.get(method).method.node].PREC = "fp32"
    else:
        model = deepcopy(model)  # its precision and its place are changed
    cfg.freeze()
    torch.manual_seed(1)
    with contextlib.redirect_stdout(io.StringIO()):
        trainer = _without_files(method, model, names)(cfg)
        if path != "plain":
            trainer.plan_memory()
    if path == "plain":
        for norm in (module for module in trainer.clip.model.modules() if isinstance(module, torch.nn.LayerNorm)):
            if norm.weight.dtype == torch.float16:
                norm.float()  # `clip`'s own blocks cast to float32 and back
        trainer.clip = PlainCLIP(trainer.clip.model, slice_size)
        trainer.classes = trainer.learner.classes(trainer.clip, names)
    trainer.epoch, trainer.batch_idx, trainer.num_batches = 0, 0, 2  # never the epoch's last batch
    trainer.set_model_mode("train")
    return trainer


class _RandomTexts(PromptedCLIP):
    """Gives plain texts random features: a teacher's, which a run computes once and no step is measured by."""

    def encode_texts(self, texts: list[str], batch: int = 512) -> Tensor:
        """Random features (N, D)."""
        return torch.randn(len(texts), self.model.text_projection.shape[1]).to(self.device, self.model.dtype)


def _without_files(name: str, model: CLIP, names: list[str]) -> type[PromptTrainer]:
    """The method's trainer, given `model` and class `names` instead of what it would read from files."""
    parent = TRAINER_REGISTRY.get(name)

    def build_learner(setup: Setup) -> PromptLearner:
        return parent.method.build(replace(setup, clip=_RandomTexts(setup.clip.model)))

    class Trainer(parent):
        method = replace(parent.method, build=build_learner)

        def check_cfg(self, cfg) -> None:
            self.backbone = model
            self.check_options(cfg)

        def build_data_loader(self) -> None:
            self.dm = SimpleNamespace(dataset=SimpleNamespace(classnames=names, num_classes=len(names)))
            self.train_loader_u = self.val_loader = self.test_loader = None
            self.train_loader_x = [None, None]  # an epoch of two steps, for schedules
            self.num_classes, self.lab2cname = len(names), dict(enumerate(names))

    return Trainer


def text_tokens(trainer: PromptTrainer) -> int:
    """Tokens that a text pass computes."""
    if isinstance(trainer.clip, PlainCLIP):
        return len(trainer.classes.names) * trainer.clip.model.context_length
    return len(trainer.classes.text.ids)


def batch(names: list[str], size: int, resolution: int) -> dict[str, Tensor]:
    """`size` random images and labels."""
    generator = torch.Generator().manual_seed(2)
    images = torch.randn(size, 3, resolution, resolution, generator=generator)
    return {"img": images, "label": torch.randint(len(names), (size,), generator=generator)}
