"""CoOp: learned context vectors before the class name (arXiv 2109.01134)."""

from clip.model import CLIP

from promptclip.class_prompts import POSITIONS
from promptclip.learner import CROSS_ENTROPY, PromptLearner
from promptclip.prompts import Context, context_from_words, random_prompt, text_width
from trainers.method import PREC, Method, Option, Options, Setup, register

CONTEXT = {
    "N_CTX": Option(16, "learned context tokens, where CTX_INIT gives no words", low=0, high=1000),
    "CTX_INIT": Option(
        "", "words that the context starts from; it has as many tokens as they are words", decides_test=True
    ),
    "PREC": PREC,
}
OPTIONS = CONTEXT | {
    "CSC": Option(False, "one context per class, which cannot be used on other classes"),
    "CLASS_TOKEN_POSITION": Option(
        "end", "where the class name stands in the prompt", choices=POSITIONS, decides_test=True
    ),
}


def check(options: Options, backbone: CLIP) -> None:
    """A context of at least one token, and no words for class-specific contexts."""
    if options.get("CSC", False) and options.CTX_INIT:
        raise ValueError("Class-specific contexts (CSC) start at random: leave CTX_INIT empty or CSC False.")
    if options.N_CTX < 1 and not options.CTX_INIT:
        raise ValueError(f"N_CTX is {options.N_CTX}; a learned context has at least 1 token.")


def context(setup: Setup) -> Context:
    """The context, from words or at random, N(0, 0.02^2)."""
    options, model = setup.options, setup.clip.model
    words = options.CTX_INIT.replace("_", " ")
    if words:
        ctx = context_from_words(model, words, len(words.split(" ")))
    else:
        classes = [len(setup.classnames)] if options.get("CSC", False) else []
        ctx = random_prompt(*classes, options.N_CTX, text_width(model))
    return Context(ctx, words, options.get("CLASS_TOKEN_POSITION", "end"))


def build(setup: Setup) -> PromptLearner:
    """A context, trained with cross-entropy."""
    return PromptLearner(context(setup), CROSS_ENTROPY)


register(
    Method(
        name="CoOp",
        summary="learned context vectors before the class name (arXiv 2109.01134)",
        options=OPTIONS,
        build=build,
        check=check,
        node="COOP",
        learns=("ctx",),
    )
)
