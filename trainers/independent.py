"""LPT, VPT and IVLP: deep prompts in the text tower, the vision tower, or both, learned independently.

Text prompts as CoOp's, made deep as MaPLe's baselines do (arXiv 2210.03117, Sec. 4); vision prompts as in Visual
Prompt Tuning (arXiv 2203.12119), the "deep" variant, appended behind the patch tokens.
"""

from clip.model import CLIP
from dassl.engine import TRAINER_REGISTRY
from torch import Tensor, nn
from yacs.config import CfgNode

from promptclip import ClassPrompts
from promptclip.prompts import Prompts, blocks, initial_context, random_prompt, vision_width
from trainers.prompt_trainer import PromptTrainer
from trainers.shift_loss import ShiftLoss
from trainers.templates import fill


class IndependentPrompts(nn.Module):
    """A context of n tokens and depth - 1 deep prompts for either tower; a tower of depth 0 has none.

    Args:
        model: the CLIP to prompt.
        text, vision: (tokens, depth) of either tower.
        words: what the text context starts from (random where empty or longer than 4 tokens).
    """

    def __init__(self, model: CLIP, text: tuple[int, int], vision: tuple[int, int], words: str) -> None:
        super().__init__()
        self.ctx, self.words = None, ""
        if text[1]:
            self.ctx, self.words = initial_context(model, words, text[0])
            self.text_deep = nn.ParameterList(random_prompt(*self.ctx.shape) for _ in range(text[1] - 1))
        self.vision_ctx = None
        if vision[1]:
            self.vision_ctx = random_prompt(vision[0], vision_width(model))
            self.vision_deep = nn.ParameterList(random_prompt(*self.vision_ctx.shape) for _ in range(vision[1] - 1))

    def forward(self) -> Prompts:
        return Prompts(
            text=[] if self.ctx is None else [self.ctx, *self.text_deep],
            vision=[] if self.vision_ctx is None else [self.vision_ctx, *self.vision_deep],
        )


class IndependentTrainer(PromptTrainer):
    """What LPT, VPT, IVLP and PromptSRC share: lengths and depths by configuration.

    `N_CTX_TEXT`, `PROMPT_DEPTH_TEXT`, `N_CTX_VISION`, `PROMPT_DEPTH_VISION`: tokens, and blocks with prompts of their
    own (1: shallow); depth or length 0 leaves the tower unprompted. `CTX_INIT`: words of the text prompt.
    """

    model_name = "VLPromptLearner"

    def check_options(self, options: CfgNode) -> None:
        """Lengths not negative, depths within the towers."""
        for tower, most in zip(("TEXT", "VISION"), blocks(self.backbone), strict=True):
            check_range(f"N_CTX_{tower}", options.get(f"N_CTX_{tower}", 0), 0, 1000)
            check_range(f"PROMPT_DEPTH_{tower}", options.get(f"PROMPT_DEPTH_{tower}", 0), 0, most)
        if self.size_of(options, "TEXT") == self.size_of(options, "VISION") == (0, 0):
            raise ValueError("No tower has prompts: set a length (N_CTX_*) and a depth (PROMPT_DEPTH_*) above 0.")

    @staticmethod
    def size_of(options: CfgNode, tower: str) -> tuple[int, int]:
        """(tokens, depth) of a tower, (0, 0) where either is 0."""
        tokens, depth = options.get(f"N_CTX_{tower}", 0), options.get(f"PROMPT_DEPTH_{tower}", 0)
        return (tokens, depth) if tokens and depth else (0, 0)

    def build_learner(self) -> nn.Module:
        """Prompts of both towers; class names behind the context, or in plain words where text has none."""
        text, vision = (self.size_of(self.options, tower) for tower in ("TEXT", "VISION"))
        learner = IndependentPrompts(self.backbone, text, vision, self.options.CTX_INIT)
        if text[1]:
            self.classes = self.context_classes(text[0], learner.words)
        else:
            texts = fill(f"{self.options.CTX_INIT.replace('_', ' ')} {{}}.".strip(), self.classnames)
            self.classes = ClassPrompts.from_texts(texts, self.backbone.context_length)
        return learner


def check_range(name: str, value: int, low: int, high: int) -> None:
    """Raise ValueError unless low <= value <= high."""
    if not low <= value <= high:
        raise ValueError(f"{name} is {value}, but this backbone allows {low} to {high}.")


@TRAINER_REGISTRY.register()
class LPT(IndependentTrainer):
    """Language prompt tuning: deep prompts in the text tower alone."""

    node = "LPT"
    learns = ("ctx", "text_deep")
    defaults = {"N_CTX_TEXT": 4, "CTX_INIT": "a photo of a", "PREC": "fp16", "PROMPT_DEPTH_TEXT": 12}


@TRAINER_REGISTRY.register()
class VPT(IndependentTrainer):
    """Visual prompt tuning: deep prompts in the vision tower alone; text is "a photo of a <class>.", computed once.

    The reference runs in float32 whatever PREC says; here PREC holds as in every method.
    """

    node = "VPT"
    learns = ("vision_ctx", "vision_deep")
    model_name = "prompt_learner"
    needs_vit = True
    defaults = {"N_CTX_VISION": 8, "CTX_INIT": "a photo of a", "PREC": "fp16", "PROMPT_DEPTH_VISION": 12}

    def prepare(self) -> None:
        """Text features do not change."""
        self.fixed_text = self.clip.encode_texts(list(self.classes.names))

    def encode_text(self, prompts: list[Tensor | None], shift: bool = False) -> tuple[Tensor, None]:
        """The features of the plain texts."""
        return self.fixed_text, None


@TRAINER_REGISTRY.register()
class IVLP(ShiftLoss, IndependentTrainer):
    """Independent vision-language prompting: deep prompts in both towers.

    With `FS_WEIGHT` above 0, RESTORE's feature-shift loss is added: the paper's "IVLP + L^fs".
    """

    node = "IVLP"
    learns = ("ctx", "text_deep", "vision_ctx", "vision_deep")
    needs_vit = True
    defaults = {
        "N_CTX_VISION": 2,
        "N_CTX_TEXT": 2,
        "CTX_INIT": "a photo of a",
        "PREC": "fp16",
        "PROMPT_DEPTH_VISION": 12,
        "PROMPT_DEPTH_TEXT": 12,
        "FS_WEIGHT": 0.0,
        "SHIFT_NORM": "rms",
    }
