"""CoOp: learned context vectors before the class name (arXiv 2109.01134)."""

from dassl.engine import TRAINER_REGISTRY
from torch import nn
from yacs.config import CfgNode

from promptclip.prompts import Prompts, context_from_words, random_prompt, text_width
from promptclip.tokens import POSITIONS
from trainers.prompt_trainer import PromptTrainer


class Context(nn.Module):
    """A shallow text context `ctx`, (n, width) or (K, n, width)."""

    def __init__(self, ctx: nn.Parameter) -> None:
        super().__init__()
        self.ctx = ctx

    def forward(self) -> Prompts:
        return Prompts(text=[self.ctx])


@TRAINER_REGISTRY.register()
class CoOp(PromptTrainer):
    """Cross-entropy over `N_CTX` learned vectors, shared by all classes or one set a class (`CSC`).

    `CTX_INIT` gives the words the context starts from and overrides `N_CTX` with their number; without it the
    context is random, N(0, 0.02^2). `CLASS_TOKEN_POSITION`: end, middle or front. Class-specific contexts start
    at random and belong to their class list: they cannot be used on other classes.
    """

    node = "COOP"
    learns = ("ctx",)
    defaults = {"N_CTX": 16, "CSC": False, "CTX_INIT": "", "PREC": "fp16", "CLASS_TOKEN_POSITION": "end"}

    def check_options(self, options: CfgNode) -> None:
        """Positive context length, known position, and no words for class-specific contexts."""
        if options.get("CSC", False) and options.CTX_INIT:
            raise ValueError("Class-specific contexts (CSC) start at random: leave CTX_INIT empty or CSC False.")
        if options.N_CTX < 1 and not options.CTX_INIT:
            raise ValueError(f"N_CTX is {options.N_CTX}; a learned context has at least 1 token.")
        position = options.get("CLASS_TOKEN_POSITION", "end")
        if position not in POSITIONS:
            raise ValueError(f"CLASS_TOKEN_POSITION {position!r} is none of {', '.join(POSITIONS)}.")

    def build_learner(self) -> nn.Module:
        """Context from words or at random; the class prompts that go with it."""
        options = self.options
        words = options.CTX_INIT.replace("_", " ")
        n_ctx = len(words.split(" ")) if words else options.N_CTX
        specific = options.get("CSC", False)
        self.classes = self.context_classes(
            n_ctx, words, position=options.get("CLASS_TOKEN_POSITION", "end"), class_specific=specific
        )
        if words:
            return self.learner_of(context_from_words(self.backbone, words, n_ctx))
        classes = [len(self.classnames)] if specific else []
        return self.learner_of(random_prompt(*classes, n_ctx, text_width(self.backbone)))

    def learner_of(self, ctx: nn.Parameter) -> nn.Module:
        """The module that holds the context."""
        return Context(ctx)
