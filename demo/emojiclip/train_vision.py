"""First stage of EmojiCLIP: the vision tower, onto learned embeddings of motifs and of Unicode subgroups.

python demo/emojiclip/train_vision.py --work build/emojiclip [--samples 620000] [--width 128] [--device cuda]

Needs what artwork.py makes. Checkpoint, loss curve and result lie in --work (vision.pt, vision.jsonl); the same command
resumes an interrupted training. One thread per process is fastest on a CPU.
"""

import json
import math
import sys
from pathlib import Path

import numpy as np
import torch
from augment import augment, normalise, on_white
from learn import Schedule, fit, optimisers, options
from torch import Tensor, nn
from torch.nn import functional as F
from towers import DIMENSIONS, LAYERS, PATCH, SIZE, build_vision, encode_images


class Embeddings(nn.Module):
    """A learned embedding per motif and per subgroup, and the scales of their cosines."""

    def __init__(self, motifs: int, subgroups: int, dimensions: int):
        super().__init__()
        self.motif = nn.Parameter(torch.randn(motifs, dimensions))
        self.subgroup = nn.Parameter(torch.randn(subgroups, dimensions))
        self.log_scale = nn.Parameter(torch.tensor([math.log(15.0), math.log(15.0)]))

    def logits(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Scaled cosines of features (B, D): (B, motifs), (B, subgroups)."""
        features = F.normalize(features, dim=-1)
        scale = self.log_scale.clamp(max=math.log(30.0)).exp()
        return tuple(scale[i] * features @ F.normalize(w, dim=-1).T for i, w in enumerate((self.motif, self.subgroup)))


class Pictures:
    """Pictures in memory, and for each its motif and subgroup, numbered in alphabetical order."""

    def __init__(self, work: Path, name: str, vocabulary: "Pictures | None" = None, device: str = "cpu"):
        if not (work / f"{name}.npy").is_file():
            raise FileNotFoundError(f"{work / name}.npy is missing; make it with artwork.py --work {work}.")
        self.about = json.loads((work / f"{name}.json").read_text())
        self.images = torch.from_numpy(np.load(work / f"{name}.npy")).to(device)  # (N, PALETTES, H, W, 4)
        source = vocabulary or self
        self.names = getattr(source, "names", None) or {
            kind: sorted({one[kind] for one in self.about}) for kind in ("motif", "subgroup")
        }
        place = {kind: {name: i for i, name in enumerate(names)} for kind, names in self.names.items()}
        self.labels = {
            kind: torch.tensor([place[kind].get(one[kind], -1) for one in self.about], device=device) for kind in place
        }

    def clean(self) -> Tensor:
        """The pictures as drawn, on white, normalised: (N, 3, H, W)."""
        return normalise(on_white(self.images[:, 0]))


def accuracy(visual: nn.Module, table: Tensor, pictures: Pictures, stride: int) -> float:
    """Percent of every `stride`-th picture whose nearest subgroup embedding is its own."""
    with torch.no_grad():
        chosen = slice(None, None, stride)
        images = normalise(on_white(pictures.images[chosen, 0]))
        features = F.normalize(torch.cat([encode_images(visual, part) for part in images.split(256)]), dim=-1)
        found = (features @ F.normalize(table, dim=-1).T).argmax(1)
        return 100 * float((found == pictures.labels["subgroup"][chosen]).float().mean())


def main(argv: list[str] | None = None) -> int:
    """Train to the end."""
    parser = options(__doc__, batch=256, lr=4e-3, every=100)
    parser.add_argument("--samples", type=int, default=620_000, help="pictures seen in the whole training")
    parser.add_argument("--width", type=int, default=128)
    args = parser.parse_args(argv)
    out = args.out or args.work
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(args.seed)
    if args.device == "cpu":
        torch.set_num_threads(1)
    pictures = Pictures(args.work, "artwork", device=args.device)
    held_out = None
    if (args.work / "development.npy").is_file():
        held_out = Pictures(args.work, "development", pictures, args.device)
    clean = normalise(on_white(pictures.images[::8, 0]))
    patches = clean.unfold(2, PATCH, PATCH).unfold(3, PATCH, PATCH).permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(0, 2)
    visual = build_vision(args.width, LAYERS, PATCH, SIZE, DIMENSIONS, patches.cpu()).to(args.device)
    embeddings = Embeddings(*(len(pictures.names[kind]) for kind in ("motif", "subgroup")), DIMENSIONS).to(args.device)
    modules = nn.ModuleDict({"visual": visual, "embeddings": embeddings})
    rng = torch.Generator(args.device).manual_seed(args.seed)
    whole = (SIZE // PATCH) ** 2

    def loss_at(done: float) -> dict[str, Tensor]:
        chosen = torch.randint(len(pictures.images), (args.batch,), generator=rng, device=args.device)
        drawn = torch.rand(args.batch, generator=rng, device=args.device) < 0.5
        others = torch.randint(1, pictures.images.shape[1], (args.batch,), generator=rng, device=args.device)
        images = pictures.images[chosen, torch.where(drawn, 0, others)]
        images = normalise(augment(images, rng, strength=1.0 if done < 0.85 else 0.5))
        kept = round(0.4 * whole) if done < 0.91 else None
        motif, subgroup = embeddings.logits(encode_images(visual, images, kept, rng))
        return {
            "motif": 0.5 * F.cross_entropy(motif, pictures.labels["motif"][chosen], label_smoothing=0.1),
            "subgroup": F.cross_entropy(subgroup, pictures.labels["subgroup"][chosen], label_smoothing=0.05),
        }

    def judge() -> dict[str, float]:
        figures = {"train": accuracy(visual, embeddings.subgroup, pictures, 8)}
        if held_out is not None:
            figures["development"] = accuracy(visual, embeddings.subgroup, held_out, 2)
        return figures

    steps = args.samples // args.batch
    made = optimisers([visual, embeddings], args.lr, 0.1)
    fit("vision", out, modules, made, Schedule(steps), rng, loss_at, judge, args.every, args.until)
    return 0


if __name__ == "__main__":
    sys.exit(main())
