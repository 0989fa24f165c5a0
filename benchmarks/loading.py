"""Loading a trained classifier of ViT-B/16 against loading CLIP alone, from one file of random weights.

python -m benchmarks.loading --repeats 5 --threads 1
"""

import argparse
import tempfile
import warnings
from pathlib import Path

import clip
import torch
from clip.model import CLIP, convert_weights

import promptclip
from benchmarks.measure import interleaved
from benchmarks.options import machine, table
from promptclip.backbone import weights_sha256
from promptclip.classifier import Classifier
from promptclip.folder import Description
from promptclip.learner import CosineHead
from promptclip.model import PromptedCLIP
from promptclip.preprocessing import Preprocessing
from promptclip.surgery import FeatureSurgery
from promptclip.trained_prompts import TrainedPrompts

CLASSES = tuple(f"class {number}" for number in range(100))


def write(folder: Path) -> tuple[Path, Path]:
    """CLIP's weights in half precision, as OpenAI's are, and a classifier with RESTORE_m's parts on them."""
    model = CLIP(512, 224, 12, 768, 16, 77, 49408, 512, 8, 12).eval()
    convert_weights(model)
    torch.save(model.state_dict(), folder / "clip.pt")
    prompts = TrainedPrompts([[2, 512]] * 9, [[2, 768]] * 9, "a photo of a")
    parts = {
        "prompts": prompts,
        "corrections": FeatureSurgery(512, (0.1, 0), (0.1, 0), 0.9, True),
        "head": CosineHead(),
    }
    loaded = promptclip.load_clip(str(folder / "clip.pt"), "quickgelu")
    digest = weights_sha256(loaded)
    said = Description("RESTORE_m", str(folder / "clip.pt"), digest, Preprocessing(224), CLASSES)
    return folder / "clip.pt", Classifier(said, parts, PromptedCLIP(loaded)).save(folder / "classifier")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="timed turns of each (default: 5)")
    parser.add_argument("--threads", type=int, default=0, help="threads on the CPU; 0: as torch chooses")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    args = parser.parse_args()
    args.device = "cpu"
    if args.threads:
        torch.set_num_threads(args.threads)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as place:
        file, folder = write(Path(place))
        jobs = {
            "clip.load": lambda: clip.load(str(file), device="cpu", jit=False),
            "promptclip.load_clip": lambda: promptclip.load_clip(str(file), "quickgelu"),
            "promptclip.load of a folder": lambda: promptclip.load(folder),
        }
        for job in jobs.values():
            job()
        taken = interleaved(jobs, dict.fromkeys(jobs, args.repeats))
    rows = [{"": name, "seconds": one, "of clip.load": one / taken["clip.load"]} for name, one in taken.items()]
    print(f"ViT-B/16, random weights. {machine(args)}\n\n{table(rows, args.markdown)}")


if __name__ == "__main__":
    main()
