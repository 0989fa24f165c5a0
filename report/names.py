"""What the paper calls data sets and methods, and in which order it lists them."""

DATASETS = {
    "ImageNet": "ImageNet",
    "Caltech101": "Caltech101",
    "OxfordPets": "OxfordPets",
    "StanfordCars": "StanfordCars",
    "OxfordFlowers": "Flowers102",
    "Food101": "Food101",
    "FGVCAircraft": "FGVCAircraft",
    "SUN397": "SUN397",
    "DescribableTextures": "DTD",
    "EuroSAT": "EuroSAT",
    "UCF101": "UCF101",
    "ImageNetV2": "ImageNetV2",
    "ImageNetSketch": "ImageNet-Sketch",
    "ImageNetA": "ImageNet-A",
    "ImageNetR": "ImageNet-R",
    "EmojiNet": "EmojiNet",
    "EmojiNetMono": "EmojiNetMono",
}
"""Registered name to the paper's, in the paper's order."""

OWN_DATASETS = ("ImageFolder", "ImageList")
"""Registered names that say nothing about the images: those are whatever lies at DATASET.ROOT."""

FILES = {"dtd": "DescribableTextures", "oxfordflowers": "OxfordFlowers", "flowers102": "OxfordFlowers"}
"""Names in paths that are not the registered one in small letters."""

METHODS = {
    "ZeroshotCLIP": "zero-shot CLIP",
    "ZeroshotCLIP2": "zero-shot CLIP, ensemble",
    **{name: name for name in ("CoOp", "CoCoOp", "ProGrad", "KgCoOp", "LPT", "VPT", "IVLP", "MaPLe", "PromptSRC")},
    **{name: name for name in ("TCP", "MMA", "MMRL", "CoPrompt")},
    **{"CLIP_LoRA": "CLIP-LoRA", "TwoStage": "2SFS", "CLIP_Adapter": "CLIP-Adapter", "TaskRes": "TaskRes"},
    **{"TipAdapter": "Tip-Adapter", "TipAdapter_F": "Tip-Adapter-F", "LPpp": "LP++"},
    **{"DePT_CoOp": "DePT (CoOp)", "DePT_MaPLe": "DePT (MaPLe)"},
    **{"RESTORE_m": "RESTORE_m", "RESTORE_p": "RESTORE_p", "DePT_RESTORE_m": "DePT (RESTORE_m)"},
}
"""Registered trainer to its name in tables, in the order of their rows."""


def registered_name(stem: str) -> str:
    """The registered name of the data set that paths call `stem` (oxford_pets: OxfordPets); `stem` if unknown."""
    plain = stem.replace("_", "").replace("-", "").casefold()
    return FILES.get(plain) or next((name for name in DATASETS if name.casefold() == plain), stem)


def shown(dataset: str) -> str:
    """The paper's name of a data set."""
    return DATASETS.get(dataset, dataset)


def dataset_order(dataset: str) -> tuple[int, str]:
    """Sort key: the paper's order, then others by name."""
    return (list(DATASETS).index(dataset) if dataset in DATASETS else len(DATASETS), dataset)


def method_order(trainer: str) -> tuple[int, bool, str]:
    """Sort key: zero-shot, the compared methods, others by name, RESTORE."""
    known, ours = list(METHODS), next(place for place, name in enumerate(METHODS) if name.startswith("RESTORE"))
    return (known.index(trainer) if trainer in METHODS else ours, trainer in METHODS, trainer)
