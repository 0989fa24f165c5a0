"""The one Dassl trainer of all methods: builds a method's learner, takes its steps, evaluates, saves and loads it."""

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from yacs.config import CfgNode

from promptclip.backbone import load_backbone, weights_digest, weights_sha256
from promptclip.geometry import activation_of
from promptclip.learner import PromptLearner
from promptclip.memory import free_bytes, plan_memory
from promptclip.model import Precision, PromptedCLIP
from promptclip.prompts import is_vit
from promptclip.shift import FeatureShift
from trainers import checkpoints, optimisation, training_step
from trainers.broken import refuse_losses, refuse_weights
from trainers.cached_features import CachedFeatures, FeatureLoader, feature_loader
from trainers.cuda_graph import GraphedStep, recorder_for
from trainers.loss_scale import LossScale
from trainers.method import Method, Options, Setup
from trainers.stepped import begin_epoch, stepped, steps_per_epoch
from trainers.training_step import StepResult
from trainers.upstream import IS_UPSTREAM, ListenedTrainer


class PromptTrainer(ListenedTrainer):  # type: ignore[valid-type, misc]  # one of two Dassls
    """Trains any `Method`; `trainers.method.register` makes a subclass for each that does nothing but carry it.

    Attributes:
        method: the method.
        loaded: the backbone as it was loaded: what it is, and what is done to its images.
        backbone: the frozen `clip.model.CLIP` itself.
        clip: its two towers.
        learner: all that is learned and saved (`promptclip.learner.PromptLearner`).
        classes: the class names as the learner takes them.
        precision: how the run computes.
        step: takes a training step: `launched`, or its replay as a CUDA graph.
    """

    method: ClassVar[Method]
    train_loader_x: Any

    @classmethod
    def extend_cfg(cls, cfg: CfgNode) -> None:
        """Add the method's node with its defaults, and the keys that concern all methods."""
        # Compute the towers' blocks again in the backward pass: on, off, or auto, where too little memory is free
        cfg.MODEL.CHECKPOINTING = "auto"
        # Capture the training step once as a CUDA graph and replay it: off, on, or auto, where there is memory for it
        cfg.MODEL.CUDA_GRAPH = "auto"
        cfg.OPTIM.ADAM_EPS = 1e-8  # of adam, amsgrad and adamw
        cfg.OPTIM.PER_STEP = False  # the cosine falls with every step, not with every epoch, and without warm-up
        cfg.OPTIM.LR_MIN = 0.0  # where it ends then
        cfg.OPTIM.STEPS_PER_SHOT = (
            0  # train for so many steps times NUM_SHOTS, in MAX_EPOCH equal parts; 0: whole passes
        )
        cfg.TRAINER[cls.method.node] = cls.method.defaults()

    @classmethod
    def check_options(cls, cfg: CfgNode) -> None:
        """Raise ValueError for an impossible option; needs neither backbone nor data."""
        cls.method.check_options(cfg.TRAINER[cls.method.node])

    @property
    def options(self) -> Options:
        """The method's own configuration node."""
        return self.cfg.TRAINER[self.method.node]

    @property
    def precision_name(self) -> str:
        """The precision that the run really computes in."""
        return self.precision.name

    # ---- building -------------------------------------------------------------------------------------------------

    def check_cfg(self, cfg: CfgNode) -> None:
        """Refuse what cannot work before any data is read; the backbone is loaded here because it decides that.

        Raises:
            ValueError: image size, backbone kind or an option of the method does not fit the backbone.
        """
        self.check_options(cfg)
        optimisation.check(cfg.OPTIM)
        if cfg.DATASET.NUM_SHOTS > 0:  # a test need not say how many there were
            steps_per_epoch(cfg)
        if cfg.MODEL.CUDA_GRAPH == "on" and not self.method.graph:
            raise ValueError(
                f"MODEL.CUDA_GRAPH is on, but a step of {self.method.name} is another each time; set it to auto or off."
            )
        name = cfg.MODEL.BACKBONE.NAME
        print(f"Loading CLIP (backbone: {name})")
        self.loaded = load_backbone(name, cfg.MODEL.BACKBONE.get("ACTIVATION", ""))
        print(f"Backbone: {self.loaded.said}")
        self.backbone = self.loaded.model
        self.backbone_digest = weights_digest(self.backbone)
        self.backbone_activation = activation_of(self.backbone)
        self.backbone_sha256 = weights_sha256(self.backbone)  # as they were loaded; PREC may round them
        size = self.backbone.visual.input_resolution
        if tuple(cfg.INPUT.SIZE) != (size, size):
            raise ValueError(
                f"INPUT.SIZE is {tuple(cfg.INPUT.SIZE)}, but the backbone {name} takes images of {size} x {size}: "
                f'set INPUT.SIZE "({size}, {size})".'
            )
        if cfg.INPUT.get("RESIZE", "shortest") != "shortest" and IS_UPSTREAM:
            raise ValueError(
                f"INPUT.RESIZE is {cfg.INPUT.RESIZE}, which upstream's Dassl cannot do: pip install ./dassl-core."
            )
        if self.method.needs_vit and not is_vit(self.backbone):
            raise ValueError(
                f"{self.method.name} prompts the vision tower and needs a ViT backbone (ViT-B/16, ViT-B/32, ViT-L/14); "
                f"{name} is a ResNet."
            )
        self.method.check(cfg.TRAINER[self.method.node], self.backbone)

    def build_model(self) -> None:
        """Set up frozen CLIP, what is learned, optimiser and schedule."""
        cfg = self.cfg
        self.classnames = list(self.dm.dataset.classnames)
        self.precision = Precision(self.options.PREC, torch.device(self.device))
        self.scaler = LossScale.of(self.precision.name, self.device)  # Dassl saves and resumes it under this name
        frozen = self.precision.weights(self.backbone).to(self.device)
        self.clip = PromptedCLIP(frozen, autocast=self.precision.autocast)
        template = cfg.DATASET.get("TEMPLATE", "")
        self.setup = Setup(self.clip, self.options, self.classnames, cfg.DATASET.NAME, template, cfg.OPTIM.MAX_EPOCH)
        self._take(self.method.build(self.setup))
        learned = self.learner.named_learned()
        if self.learner.fit is not None:
            self.register_model(self.method.folder, self.learner)
            return
        if not learned:
            return
        if cfg.MODEL.INIT_WEIGHTS:
            self._load(Path(cfg.MODEL.INIT_WEIGHTS))
        count = sum(parameter.numel() for parameter in learned.values())
        print(f"Learning {count:,} parameters: {', '.join(sorted({name.split('.')[0] for name in learned}))}")
        self.optim = optimisation.optimiser(self.learner, cfg.OPTIM)
        if cfg.OPTIM.STEPS_PER_SHOT and cfg.DATASET.NUM_SHOTS > 0:
            restarts, steps = self.learner.restarts, steps_per_epoch(cfg)
            self.train_loader_x = stepped(self.train_loader_x, steps, restarts, cfg.SEED)
        self.sched = optimisation.schedule(self.optim, cfg.OPTIM, self.learner.restarts, len(self.train_loader_x))
        self.register_model(self.method.folder, self.learner, self.optim, self.sched)
        self.step: Callable[..., StepResult] = self.launched

    def _take(self, learner: PromptLearner) -> None:
        """Have `learner` serve the run's classes."""
        for parameter in learner.parameters():
            parameter.data = parameter.data.float()
        self.learner = learner.to(self.device)
        self.classes = learner.classes(self.clip, self.classnames)
        self._text_features: Tensor | None = None  # of the evaluation under way

    # ---- training -------------------------------------------------------------------------------------------------

    def train(self) -> None:
        """Train, or where nothing is learned go straight to the test."""
        if self.learner.fit is not None:
            self._fit(self.learner.fit)
            return
        if self.get_model_names():
            super().train()
            return
        print(f"{self.method.name} has nothing to train; evaluating it.")
        self.test()

    def _fit(self, fit: Callable[[CachedFeatures], None]) -> None:
        """Train on features that are made once, in place of epochs; a finished run that resumes is tested again."""
        super().before_train()
        if self.start_epoch < self.max_epoch:
            self.set_model_mode("eval")
            cached, began = CachedFeatures(self), time.perf_counter()
            fit(cached)
            seconds = time.perf_counter() - began
            print(f"Features: {cached.seconds:.1f} s; the rest: {seconds - cached.seconds:.1f} s")
            self.epoch = self.max_epoch - 1
            self.refuse_broken_weights("after training")
            self.save_model(self.epoch, self.output_dir)
        self.after_train()

    def _train_on_features(self) -> None:
        """Have training steps see features, made now, in place of images."""
        self.set_model_mode("eval")
        cached = CachedFeatures(self)
        views = list(cached.train(self.learner.views))
        self.train_loader_x = FeatureLoader(views, self.cfg.DATALOADER.TRAIN_X.BATCH_SIZE)
        print(f"Features: {cached.seconds:.1f} s, of {len(views)} views of {len(views[0].labels):,} images")

    def feature_loader(self, split: str, augmented: bool) -> Iterable[dict] | None:
        """All images of a split in order, for `CachedFeatures`."""
        return feature_loader(self, split, augmented)

    def before_train(self) -> None:
        """Decide what a step keeps in memory, then do as Dassl does."""
        steps_per_epoch(self.cfg)
        if self.learner.views >= 0 and self.cfg.OPTIM.STEPS_PER_SHOT:
            raise ValueError("OPTIM.STEPS_PER_SHOT counts steps on images; set it 0, or the method's VIEWS -1.")
        if self.learner.views >= 0:
            self._train_on_features()
        self.plan_memory()
        super().before_train()

    def before_epoch(self) -> None:
        """Choose the epoch's batches where epochs are of steps, then do as Dassl does."""
        begin_epoch(self.train_loader_x, self.epoch)
        super().before_epoch()

    def plan_memory(self) -> None:
        """Decide whether steps are replayed as a graph, which keeps its memory from step to step, and whether the
        towers compute their blocks again in the backward pass.

        Raises:
            ValueError: MODEL.CHECKPOINTING or MODEL.CUDA_GRAPH is none of auto, on, off.
        """
        cfg = self.cfg
        needed = self.needed_bytes(cfg.DATALOADER.TRAIN_X.BATCH_SIZE)
        text_layout = None if isinstance(self.classes.text, Tensor) else self.classes.text
        tested = self.clip.passing_bytes(text_layout, cfg.DATALOADER.TEST.BATCH_SIZE)
        recorder = recorder_for(self.clip.device) if self.method.graph else None
        wanted = cfg.MODEL.CUDA_GRAPH if recorder else "off"
        plan = plan_memory(cfg.MODEL.CHECKPOINTING, wanted, needed, tested, free_bytes(self.clip.device))
        print(plan.line)
        self.clip.set_checkpointing(plan.checkpointing)
        if plan.graph and recorder:
            self.step = GraphedStep(self.gradients, self.learner, recorder, self.device)

    def _autocast(self) -> torch.autocast:
        """Context of every forward pass."""
        kind = self.precision.autocast
        return torch.autocast(self.device.type, kind, enabled=kind is not None)

    @property
    def numbers(self) -> tuple[str, ...]:
        """Names of the numbers that a training step gives (`training_step.names`)."""
        return training_step.names(self.learner)

    @property
    def shown_besides_losses(self) -> tuple[str, ...]:
        """Names of the numbers in a step's summary that are neither losses nor accuracy."""
        return tuple(self.learner.shows)

    def forward_backward(self, batch: dict) -> dict[str, float]:
        """One step on a batch; returns what the training line shows. The device is waited for once."""
        for action in self.learner.before_step:
            action()
        result = self.step(*self.parse_batch_train(batch))
        *values, size, steepness = result.numbers.tolist()
        summary = dict(zip(self.numbers, values, strict=True))
        losses = self.learner.losses
        if not math.isfinite(size):
            self.refuse_broken_weights(f"before batch {self.batch_idx + 1} of epoch {self.epoch + 1}")
        refuse_losses({name: summary[name] for name in losses}, self.epoch, self.batch_idx)
        taken = self.apply_gradients(math.isfinite(steepness))
        if result.image_shift is not None:
            self.tell("shift_measured", result.image_shift, result.text_shift)
        if taken if self.cfg.OPTIM.PER_STEP else self.batch_idx + 1 == self.num_batches:
            self.sched.step()
        if len(losses) == 1:
            del summary[next(iter(losses))]  # it is the loss
        if IS_UPSTREAM:  # dassl-core's engine tells this itself
            self.tell("step_ends", (batch,), summary)
        return summary

    def needed_bytes(self, batch: int) -> int:
        """Estimate of what a step of `batch` images keeps for its backward pass."""
        learner, prompts = self.learner, self.learner.prompts
        layout = None if isinstance(self.classes.text, Tensor) else self.classes.text
        vision_prompts = next((len(prompt) for prompt in prompts.vision() if prompt is not None), 0)
        passes = batch if prompts.per_image else 1
        with torch.no_grad():
            changes = learner.changes.text(self.classes.known), learner.changes.vision()
        shift = learner.shift_scale is not None
        constant = learner.shift_scale is not None and learner.shift_scale.constant
        return self.clip.kept_bytes(layout, batch, vision_prompts, shift, passes, *changes, constant)

    def launched(self, *batch: Tensor) -> StepResult:
        """`gradients` of a batch that may still be on its way to the device."""
        return self.gradients(*(tensor.to(self.device, non_blocking=True) for tensor in batch))

    def gradients(self, *batch: Tensor) -> StepResult:
        """Sets the gradients of what is learned (`training_step.gradients`)."""
        return training_step.gradients(self.learner, self.clip, self.classes, self._autocast, self.scaler, batch)

    def apply_gradients(self, finite: bool = True) -> bool:
        """One step of the optimiser, left out where gradients are not `finite`; whether it was taken."""
        if self.scaler:
            before = self.scaler.value
            self.scaler.update(finite)
            if not finite:
                print(f"Gradients overflowed at loss scale {before:g}: no step; {self.scaler.value:g} from here on.")
                return False
        self.optim.step()
        return True

    def refuse_broken_weights(self, when: str) -> None:
        """Raise FloatingPointError if a learned value is infinite or NaN."""
        refuse_weights(self.learner, self.method.name, when)

    def parse_batch_train(self, batch: dict) -> tuple[Tensor, ...]:
        """Images (B, 3, H, W) and labels (B,), and a second view where the loader draws two; where they lie, since a
        graph has a place of its own for them."""
        images = batch["img"] if isinstance(batch["img"], list) else [batch["img"]]  # DATALOADER.K_TRANSFORMS of them
        more = [*images[1:], *([batch["img2"]] if "img2" in batch else [])][:1]
        return images[0], batch["label"], *more

    def after_epoch(self) -> None:
        """What the method does at an epoch's end, then what Dassl does: evaluate on val, save."""
        self.refuse_broken_weights(f"after epoch {self.epoch + 1}")
        for action in self.learner.after_epoch:
            action(self.epoch, self.max_epoch)
        super().after_epoch()

    # ---- evaluation -----------------------------------------------------------------------------------------------

    def set_model_mode(self, mode: str = "train", names: list[str] | None = None) -> None:
        """Training or evaluation; text features of the evaluation before are forgotten."""
        self._text_features = None
        self.learner.train(mode == "train")  # where nothing is learned, Dassl does not know of it
        super().set_model_mode(mode, names)

    def model_inference(self, images: Tensor) -> Tensor:
        """Logits (B, K) of images; the text tower runs once per evaluation."""
        with self._autocast():
            few = self.learner.images_at_once(self.classes)
            if few is None and self._text_features is None:
                self._text_features = self.learner.text_features(self.clip, self.classes)
            parts = [images] if few is None else images.split(few)
            outputs = [self.learner(self.clip, self.classes, part, self._text_features) for part in parts]
        for output in outputs:
            self.tell("features_made", output.image, output.text)
        return torch.cat([output.logits for output in outputs])

    def image_shift(self, images: Tensor) -> FeatureShift | None:
        """Shift (Eq. 6) of the vision tower on images (B, 3, H, W); None if it has no prompts."""
        with self._autocast():
            return self.learner.image_shift(self.clip, images)

    def text_shift(self, images: Tensor) -> FeatureShift | None:
        """Shift of the text tower on the run's classes; None if it has no prompts. `images`: a few to condition on."""
        with self._autocast():
            return self.learner.text_shift(self.clip, self.classes, images)

    # ---- checkpoints ----------------------------------------------------------------------------------------------

    def checkpoint_extras(self) -> dict[str, Any]:
        """What a checkpoint says of itself: its method, backbone, and the options that decide what it computes."""
        decisive = {name: self.options[name] for name, option in self.method.options.items() if option.decides_test}
        said = {"method": self.method.name, "options": decisive, "backbone": self.backbone_identity}
        return said | ({"trained_on": list(self.learner.trained_on)} if self.learner.trained_on else {})

    @property
    def backbone_identity(self) -> dict[str, str]:
        """What the backbone is called, and the digest of its weights."""
        return {"name": self.cfg.MODEL.BACKBONE.NAME, "digest": self.backbone_digest}

    def resume_model_if_exist(self, directory: str) -> int:
        """As Dassl does; then refuse (ValueError) a checkpoint that `load_model` would refuse."""
        folder = Path(directory, self.method.folder)
        if self.learner.fit is not None and (path := checkpoints.newest(folder)):
            checkpoints.resize(path, self.learner)  # before the engine loads it
        epoch = super().resume_model_if_exist(directory)
        if (folder / "checkpoint").is_file():  # the engine has read it, so it names one
            name = (folder / "checkpoint").read_text(encoding="utf-8").strip()
            checkpoints.read(folder / name, self.method, self.options, self.learner, self.backbone_identity)
        return epoch

    def load_model(self, directory: str, epoch: int | None = None) -> None:
        """Load what is learned from `directory`/<folder>/, ours or as the field's repositories publish it.

        Args:
            directory: a run's output directory.
            epoch: which `model.pth.tar-<epoch>`; without it `model-best.pth.tar`.

        Raises:
            FileNotFoundError: no such checkpoint (the sentence lists those there are).
            ValueError: the checkpoint belongs to another method, backbone, number of context tokens or variant, or
                holds values that are not finite.
        """
        if not directory:
            print("Note that load_model() is skipped as no pretrained model is given")
            return
        self._load(checkpoints.find(Path(directory), self.method.folder, epoch))

    def _load(self, path: Path) -> None:
        trained_on = checkpoints.trained_on(path) if self.learner.trained_on else ()
        if trained_on and trained_on != self.learner.trained_on:  # what was learned belongs to other classes
            self._take(self.method.build(replace(self.setup, classnames=list(trained_on))))
            self._models[self.method.folder] = self.learner
        state, epoch = checkpoints.read(path, self.method, self.options, self.learner, self.backbone_identity)
        print(f'Loading weights to {self.method.folder} from "{path}" (epoch = {epoch})')
        self.learner.load_state_dict(state)
        self._text_features = None
