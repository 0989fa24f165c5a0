"""Second stage of EmojiCLIP: the text tower onto what the vision tower has learnt, then the whole as one file.

python demo/emojiclip/train_text.py --work build/emojiclip --file promptclip/weights/emojiclip.pt [--device cuda]

Needs what artwork.py, words.py and train_vision.py make. The same command resumes an interrupted training.
"""

import json
import math
import random
import sys
from pathlib import Path

import clip
import numpy as np
import torch
from augment import normalise, on_white
from captions import FRAMES, PLAIN, Captions, collect, templates
from clip.model import CLIP
from learn import Schedule, fit, optimisers, options
from torch import Tensor, nn
from torch.nn import functional as F
from towers import TextTower, copy_tokens, encode_images, new_clip
from train_vision import Pictures

ROOT = Path(__file__).resolve().parents[2]
SHARES = {"class": 0.4, "label": 0.35, "keyword": 0.25}
BANK = 1024  # pictures against which a caption is compared at a step
SHARPNESS = 20.0


def tokenise(phrases: list[str]) -> Tensor:
    """(B, 77); a phrase that is too long is cut, as OpenAI's tokenizer can."""
    return clip.tokenize(phrases, truncate=True)


def zero_shot(model: CLIP, text: TextTower, features: Tensor, names: list[str]) -> Tensor:
    """Cosines (N, K) of normalised picture features (N, D) with K class names, whose tokens need not be in captions."""
    copy_tokens(text, model)
    with torch.no_grad():
        named = model.encode_text(tokenise([PLAIN.format(name) for name in names]).to(features.device))
        return features @ F.normalize(named, dim=-1).T


def class_labels(pictures: Pictures, classes: dict[str, list[str]]) -> Tensor:
    """(N,) the number of the class each picture is of, -1 for none."""
    owner = {subgroup: i for i, subgroups in enumerate(classes.values()) for subgroup in subgroups}
    return torch.tensor([owner.get(one["subgroup"], -1) for one in pictures.about])


def picture_features(visual: nn.Module, pictures: Pictures) -> Tensor:
    """(N, D), normalised, of the pictures as drawn."""
    with torch.no_grad():
        parts = [encode_images(visual, normalise(on_white(part))) for part in pictures.images[:, 0].split(256)]
    return F.normalize(torch.cat(parts), dim=-1)


def best_scale(cosines: Tensor, labels: Tensor) -> float:
    """The logit scale, of 5 to 100, under which the right classes are likeliest."""
    scales = torch.arange(5.0, 101.0)
    losses = torch.stack([F.cross_entropy(scale * cosines, labels) for scale in scales])
    return float(scales[losses.argmin()])


def main(argv: list[str] | None = None) -> int:
    """Train to the end, write the file."""
    parser = options(__doc__, batch=256, lr=2e-3, every=50)
    parser.add_argument("--file", type=Path, required=True, help="where the finished model goes")
    parser.add_argument("--steps", type=int, default=650)
    args = parser.parse_args(argv)
    out = args.out or args.work
    torch.manual_seed(args.seed)
    if args.device == "cpu":
        torch.set_num_threads(1)
    for file, maker in ((out / "vision.pt", "train_vision.py"), (args.work / "words.npy", "words.py")):
        if not file.is_file():
            raise FileNotFoundError(f"{file} is missing; make it with {maker} --work {args.work}.")
    state = torch.load(out / "vision.pt", weights_only=True, map_location=args.device)["modules"]
    pictures = Pictures(args.work, "artwork", device=args.device)
    width = state["visual.class_embedding"].shape[0]
    model = new_clip(torch.from_numpy(np.load(args.work / "words.npy")), width).to(args.device)
    model.visual.load_state_dict({key[7:]: value for key, value in state.items() if key.startswith("visual.")})
    bank = picture_features(model.visual, pictures)
    tables = state["embeddings.motif"], state["embeddings.subgroup"]
    captions = collect(pictures.about, pictures.names, *tables)
    frames = [*FRAMES, *templates(ROOT)]
    spoken = [phrase for found in captions.phrases.values() for phrase, _ in found]
    used = tokenise([*frames, *spoken]).unique().to(args.device)
    text = TextTower(model, used).to(args.device)
    rng = torch.Generator(args.device).manual_seed(args.seed)
    classes = json.loads((ROOT / "demo" / "emojinet_classes.json").read_text())
    labels = class_labels(pictures, classes).to(args.device)
    shown, right = bank[labels >= 0], labels[labels >= 0]

    def loss_at(done: float) -> dict[str, Tensor]:
        seed = int(torch.randint(2**31, (1,), generator=rng, device=args.device))
        phrases, rows = draw(captions, frames, args.batch, random.Random(seed))
        features = text(tokenise(phrases).to(args.device))
        targets = captions.targets[rows]
        some = bank[torch.randint(len(bank), (BANK,), generator=rng, device=args.device)]
        seen, wanted = SHARPNESS * features @ some.T, SHARPNESS * targets @ some.T
        return {
            "distance": 1 - (features * targets).sum(1).mean(),
            "pictures": F.kl_div(seen.log_softmax(1), wanted.log_softmax(1), log_target=True, reduction="batchmean"),
        }

    def judge() -> dict[str, float]:
        found = zero_shot(model, text, shown, list(classes)).argmax(1)
        return {"zero-shot": 100 * float((found == right).float().mean())}

    made = optimisers([text], args.lr, 0.01)
    modules = nn.ModuleDict({"text": text})
    fit("text", out, modules, made, Schedule(args.steps), rng, loss_at, judge, args.every, args.until)
    if args.until is None:
        scale = best_scale(zero_shot(model, text, shown, list(classes)), right)
        save(model, text, scale, args.file)
        print(f"{args.file}: {args.file.stat().st_size / 1e6:.1f} MB, logit scale {scale:.0f}")
    return 0


def draw(captions: Captions, frames: list[str], count: int, rng: random.Random) -> tuple[list[str], list[int]]:
    """`count` phrases in frames, and the rows of their targets. Two of five frames are "a photo of a {}."."""
    phrases, rows = [], []
    kinds = rng.choices(list(SHARES), list(SHARES.values()), k=count)
    for kind in kinds:
        phrase, row = rng.choice(captions.phrases[kind])
        frame = PLAIN if rng.random() < 0.4 else rng.choice(frames)
        phrases.append(frame.replace("{}", phrase))
        rows.append(row)
    return phrases, rows


def save(model: CLIP, text: TextTower, scale: float, file: Path) -> None:
    """The whole as a half-precision state dict, which `clip.model.build_model` rebuilds."""
    copy_tokens(text, model)
    with torch.no_grad():
        model.logit_scale.fill_(math.log(scale))
    state = {key: value.detach().cpu().half().clone() for key, value in model.state_dict().items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, file)


if __name__ == "__main__":
    sys.exit(main())
