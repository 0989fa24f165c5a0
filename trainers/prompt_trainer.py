"""What all prompt-learning trainers share: a frozen CLIP, a learnable part, named losses, evaluation, checkpoints."""

import math
from pathlib import Path
from typing import NamedTuple

import torch
from dassl.engine import TRAINER_REGISTRY, TrainerX
from dassl.metrics import compute_accuracy
from dassl.optim import build_lr_scheduler, build_optimizer
from dassl.utils import load_checkpoint
from torch import Tensor, nn
from torch.nn import functional as F
from yacs.config import CfgNode

from promptclip import ClassPrompts, FeatureShift, PromptedCLIP, load_clip
from promptclip.memory import decide, free_bytes
from promptclip.prompts import is_vit
from trainers.cuda_graph import CudaRecorder, GraphedStep
from trainers.precision import Precision
from trainers.published import learned_part, mismatch, names, rename


class Features(NamedTuple):
    """A training step's features, image (B, D) and text (K, D) or (B, K, D), and shifts where they are measured."""

    image: Tensor
    text: Tensor
    image_shift: FeatureShift | None = None
    text_shift: FeatureShift | None = None


class PromptTrainer(TrainerX):
    """Base of the methods. A method says what it learns (`build_learner`) and what it minimises (`losses`).

    Attributes:
        node: name of the method's configuration node, cfg.TRAINER.<node>.
        defaults: the node's keys and their defaults.
        model_name: the checkpoint folder's name, the reference implementation's.
        needs_vit: whether the method prompts the vision tower.
        tracks_shift: measure feature shift in training steps.
        per_image: the text tower runs once an image, with a context of the image's own.
        learns: first names of the learnable parameters, which tell a checkpoint's method.
        training_only: beginnings of the keys that only training needs; a checkpoint to be tested may lack them.
        unused: parameters that published checkpoints of this method hold but never use.
        shifts: the last training step's, (image, text), where measured.
    """

    node = ""
    defaults: dict = {"PREC": "fp16"}
    model_name = "prompt_learner"
    needs_vit = False
    tracks_shift = False
    per_image = False
    learns: tuple[str, ...] = ()
    training_only: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    shifts: tuple[FeatureShift | None, FeatureShift | None] = (None, None)

    @classmethod
    def extend_cfg(cls, cfg: CfgNode) -> None:
        """Add the method's node with its defaults."""
        cfg.TRAINER[cls.node] = CfgNode(dict(cls.defaults))

    @property
    def options(self) -> CfgNode:
        """The method's own configuration node."""
        return self.cfg.TRAINER[self.node]

    @property
    def precision_name(self) -> str:
        """The precision that the run really computes in."""
        return self.precision.name

    @property
    def shown_besides_losses(self) -> tuple[str, ...]:
        """Names of the numbers in a step's summary that are neither losses nor accuracy."""
        return tuple(self.logged())

    # ---- building -------------------------------------------------------------------------------------------------

    def check_cfg(self, cfg: CfgNode) -> None:
        """Refuse what cannot work before any data is read; the backbone is loaded here because it decides that.

        Raises:
            ValueError: image size, backbone kind or an option of the method does not fit the backbone.
        """
        name = cfg.MODEL.BACKBONE.NAME
        print(f"Loading CLIP (backbone: {name})")
        self.backbone = load_clip(name)
        size = self.backbone.visual.input_resolution
        if tuple(cfg.INPUT.SIZE) != (size, size):
            raise ValueError(
                f"INPUT.SIZE is {tuple(cfg.INPUT.SIZE)}, but the backbone {name} takes images of {size} x {size}: "
                f'set INPUT.SIZE "({size}, {size})".'
            )
        if self.needs_vit and not is_vit(self.backbone):
            raise ValueError(
                f"{cfg.TRAINER.NAME} prompts the vision tower and needs a ViT backbone (ViT-B/16, ViT-B/32, ViT-L/14); "
                f"{name} is a ResNet."
            )
        self.check_options(cfg.TRAINER[self.node])

    def check_options(self, options: CfgNode) -> None:
        """Hook: refuse the method's impossible options, knowing `self.backbone`."""

    def build_learner(self) -> nn.Module:
        """The learnable part: a module whose call returns `Prompts`. Also sets `self.classes` (ClassPrompts)."""
        raise NotImplementedError

    def complete(self, learner: nn.Module) -> None:
        """Hook: add what is kept beside the parameters from step to step, once they all exist."""

    def build_model(self) -> None:
        """Set up frozen CLIP, learnable part, optimiser and schedule."""
        cfg = self.cfg
        self.classnames = list(self.dm.dataset.classnames)
        self.precision = Precision(self.options.PREC, torch.device(self.device))
        self.scaler = self.precision.scaler  # Dassl saves and resumes it under this name
        self.learner = self.build_learner().float()
        self.complete(self.learner)
        self.learner.to(self.device)
        self.clip = PromptedCLIP(self.precision.weights(self.backbone).to(self.device))
        self.layout = self.clip.layout(self.classes)
        self._text = None
        self.prepare()
        if cfg.MODEL.INIT_WEIGHTS:
            self._load(Path(cfg.MODEL.INIT_WEIGHTS))
        learned = dict(self.learner.named_parameters())
        count = sum(parameter.numel() for parameter in learned.values())
        print(f"Learning {count:,} parameters: {', '.join(sorted(names(learned)))}")
        self.optim = build_optimizer(self.learner, cfg.OPTIM)
        self.sched = build_lr_scheduler(self.optim, cfg.OPTIM)
        self.register_model(self.model_name, self.learner, self.optim, self.sched)
        self.step = self.gradients
        if self.clip.device.type == "cuda" and cfg.MODEL.get("CUDA_GRAPH", True):
            self.step = GraphedStep(self.gradients, self.learner, CudaRecorder())

    def prepare(self) -> None:
        """Hook: compute what stays fixed during the run (a teacher's text features), on the device."""

    def context_classes(self, n_ctx: int, words: str, **kwargs) -> ClassPrompts:
        """The run's class names behind a learned context."""
        length = self.backbone.context_length
        return ClassPrompts.with_context(self.classnames, n_ctx, words, context_length=length, **kwargs)

    def before_train(self) -> None:
        """Decide what a step keeps in memory, then do as Dassl does."""
        self.plan_memory()
        super().before_train()

    def plan_memory(self) -> None:
        """Let the towers compute their blocks again in the backward pass if MODEL.CHECKPOINTING says so.

        Raises:
            ValueError: MODEL.CHECKPOINTING is none of auto, on, off.
        """
        learned = [prompts[0].shape[-2] if prompts else 0 for prompts in self.learner()]
        batch = self.cfg.DATALOADER.TRAIN_X.BATCH_SIZE
        needed = self.clip.kept_bytes(self.layout, batch, learned, self.tracks_shift, batch if self.per_image else 1)
        on, line = decide(self.cfg.MODEL.get("CHECKPOINTING", "auto"), needed, free_bytes(self.clip.device))
        print(line)
        self.clip.set_checkpointing(on)

    # ---- a training step ------------------------------------------------------------------------------------------

    def encode(self, images: Tensor) -> Features:
        """Both towers with the current prompts."""
        prompts = self.learner()
        image, image_shift = self.clip.encode_image(images, prompts.vision, self.tracks_shift)
        text, text_shift = self.encode_text(prompts.text, self.tracks_shift)
        self.observe(image_shift, text_shift)
        self.shifts = image_shift and image_shift.detach(), text_shift and text_shift.detach()
        return Features(self.correct_image(image), self.correct_text(text), image_shift, text_shift)

    def encode_text(self, prompts: list[Tensor | None], shift: bool = False) -> tuple[Tensor, FeatureShift | None]:
        """Text features (K, D) of the run's classes, and their shift."""
        return self.clip.encode_text(self.layout, prompts, shift)

    def observe(self, image_shift: FeatureShift | None, text_shift: FeatureShift | None) -> None:
        """Hook: see a training step's shift before the features are corrected."""

    def correct_image(self, features: Tensor) -> Tensor:
        """Hook: change image features (B, D) before normalisation, in training and test."""
        return features

    def correct_text(self, features: Tensor) -> Tensor:
        """Hook: change text features (K, D) before normalisation, in training and test."""
        return features

    def losses(self, features: Features, logits: Tensor, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Named losses whose sum is minimised."""
        return {"ce": F.cross_entropy(logits, labels)}

    def logged(self) -> dict[str, Tensor]:
        """Hook: further numbers for the training line and TensorBoard, scalars on the device."""
        return {}

    def forward_backward(self, batch: dict) -> dict[str, float]:
        """One step on a batch; returns what the training line shows. The device is waited for once."""
        numbers = self.step(*self.parse_batch_train(batch)).tolist()
        summary = dict(zip(self.named, numbers, strict=True))
        self._check_finite({name: summary[name] for name in self.terms})
        self.apply()
        if any(self.shifts):
            self.tell("shift_measured", *self.shifts)
        if self.batch_idx + 1 == self.num_batches:
            self.update_lr()
        if len(self.terms) == 1:
            del summary[self.terms[0]]  # it is the loss
        return summary

    def gradients(self, images: Tensor, labels: Tensor) -> Tensor:
        """Forward and backward pass: sets the gradients, and returns (M,) numbers, whose names go to `self.named`.

        Nothing here waits for the device or asks it for a value, so that a graph can repeat it (`cuda_graph.py`).
        """
        self.optim.zero_grad()
        with self.precision.autocast():
            features = self.encode(images)
            logits = self.clip.logits(features.image, features.text).float()
            losses = self.losses(features, logits, images, labels)
        total = self.backward(losses)
        numbers = {"loss": total, "acc": compute_accuracy(logits.detach(), labels)[0]} | losses | self.logged()
        self.terms, self.named = tuple(losses), tuple(numbers)
        return torch.stack([value.detach().reshape(()) for value in numbers.values()])

    def backward(self, losses: dict[str, Tensor]) -> Tensor:
        """Set the gradients; returns the loss that is shown."""
        total = torch.stack(list(losses.values())).sum()
        scaler = self.precision.scaler
        (scaler.scale(total) if scaler else total).backward()
        return total

    def apply(self) -> None:
        """One step of the optimiser."""
        scaler = self.precision.scaler
        if scaler:
            scaler.step(self.optim)
            scaler.update()
        else:
            self.optim.step()

    def _check_finite(self, losses: dict[str, float]) -> None:
        bad = [name for name, value in losses.items() if not math.isfinite(value)]
        if bad:
            raise FloatingPointError(
                f"Loss is infinite or NaN! The term {', '.join(bad)} broke in epoch {self.epoch + 1}, batch "
                f"{self.batch_idx + 1}; lower OPTIM.LR or use PREC fp32. The last checkpoint is untouched."
            )

    def parse_batch_train(self, batch: dict) -> tuple[Tensor, Tensor]:
        """Images (B, 3, H, W) and labels (B,) on the device."""
        return batch["img"].to(self.device), batch["label"].to(self.device)

    # ---- evaluation -----------------------------------------------------------------------------------------------

    def set_model_mode(self, mode: str = "train", names: list[str] | None = None) -> None:
        """Training or evaluation; text features of the evaluation before are forgotten."""
        self._text = None
        super().set_model_mode(mode, names)

    def model_inference(self, images: Tensor) -> Tensor:
        """Logits (B, K) of images; the text tower runs once per evaluation."""
        with self.precision.autocast():
            features = self.test_features(images)
            self.tell("features_made", *features)
            return self.clip.logits(*features).float()

    def test_features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """What an evaluation compares: image features (B, D), and text features (K, D) or (B, K, D)."""
        prompts = self.learner()
        if self._text is None:
            self._text = self.correct_text(self.encode_text(prompts.text)[0])
        return self.correct_image(self.clip.encode_image(images, prompts.vision)[0]), self._text

    @torch.no_grad()
    def image_shift(self, images: Tensor) -> FeatureShift | None:
        """Shift (Eq. 6) of the vision tower on images (B, 3, H, W); None if it has no prompts."""
        with self.precision.autocast():
            prompts = self.learner().vision
            return self.clip.encode_image(images, prompts, True)[1] if prompts else None

    @torch.no_grad()
    def text_shift(self, images: Tensor) -> FeatureShift | None:
        """Shift of the text tower on the run's classes; None if it has no prompts. `images`: a few to condition on."""
        with self.precision.autocast():
            prompts = self.learner().text
            return self.encode_text(prompts, True)[1] if prompts else None

    # ---- checkpoints ----------------------------------------------------------------------------------------------

    def load_model(self, directory: str, epoch: int | None = None) -> None:
        """Load the learnable part from `directory`/<model_name>/, ours or as the family's repositories publish it.

        Args:
            directory: a run's output directory.
            epoch: which `model.pth.tar-<epoch>`; without it `model-best.pth.tar`.

        Raises:
            FileNotFoundError: no such checkpoint (the sentence lists those there are).
            ValueError: the checkpoint belongs to another method, backbone or number of context tokens.
        """
        if not directory:
            print("Note that load_model() is skipped as no pretrained model is given")
            return
        folder = Path(directory) / self.model_name
        path = folder / (f"model.pth.tar-{epoch}" if epoch else "model-best.pth.tar")
        if not path.is_file():
            there = sorted(str(file.relative_to(directory)) for file in Path(directory).glob("*/model*.pth.tar*"))
            raise FileNotFoundError(
                f"There is no checkpoint {path}; {directory} holds {', '.join(there) or 'none at all'}. "
                f"Train first, or name another --model-dir or --load-epoch."
            )
        self._load(path)

    def _load(self, path: Path) -> None:
        checkpoint = load_checkpoint(str(path))
        state = checkpoint.get("state_dict", checkpoint)
        part = learned_part(state, self.learner, self.training_only, self.unused)
        reason = mismatch(part, self.learner)
        if reason:
            owner = _owner(state)
            whose = f" and looks like {owner}'s" if owner and owner != type(self).__name__ else ""
            raise ValueError(
                f"The checkpoint {path} does not fit {self.cfg.TRAINER.NAME} on {self.cfg.MODEL.BACKBONE.NAME}: "
                f"{reason}{whose}. Use the trainer, backbone and context length it was trained with."
            )
        print(f'Loading weights to {self.model_name} from "{path}" (epoch = {checkpoint.get("epoch", "unknown")})')
        self.learner.load_state_dict(part)
        self._text = None


def _owner(state: dict[str, Tensor]) -> str | None:
    """Name of a registered method that learns parameters of the names in a checkpoint's `state`."""
    keys = [ours for key in state if (ours := rename(key))]
    for name in TRAINER_REGISTRY.registered_names():
        method = TRAINER_REGISTRY.get(name)
        learns = set(getattr(method, "learns", ()))
        if learns and learns == names(key for key in keys if not key.startswith(method.training_only)):
            return name
    return None
