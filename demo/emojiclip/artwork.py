"""The pictures and words EmojiCLIP learns from, made byte for byte from four vendors' artwork.

pip install -r demo/requirements.txt
python demo/emojiclip/artwork.py --work build/emojiclip            (needs npm; writes artwork.npy and artwork.json)
python demo/emojiclip/artwork.py --work build/emojiclip --check    (compares what lies there with the manifest)

Noto and Noto v1 (Apache 2.0), Twemoji and EmojiOne (CC BY 4.0); never Fluent, which EmojiNet is made of. Flags, keycaps
and skin tones are left out. Each drawing comes as it is and in three more palettes.
"""

import argparse
import colorsys
import hashlib
import json
import random
import re
import sys
from multiprocessing import Pool
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from npm_packages import digest, fetch, read_json  # noqa: E402
from pictures import SIZE, draw, motif, slug  # noqa: E402

MANIFEST = HERE / "manifest.json"
PALETTES = 4  # the artist's and three more
VENDORS = {
    "noto": ("@iconify-json/noto", "1.2.9", "3e918d88fc945c0bb3d468dbace6f88caef67f01c9f0e7bcae0915a042e8f1ad"),
    "noto-v1": ("@iconify-json/noto-v1", "1.2.5", "2bf62c26c2c2884aa99e90aec942cdaee17a5921f05690694f4978ad4b017c37"),
    "twemoji": ("@iconify-json/twemoji", "1.2.5", "19046dff7d8707ce96212ec86468b36ac5f8e60409629dd13f809265c6d0ebb7"),
    "emojione": ("@iconify-json/emojione", "1.2.3", "26a14f44284407e8bcde91799388dca2bfd91dbcd55a97f425524a1c5b73610e"),
}
# Share-alike artwork: development figures are taken on it, nothing is trained on it, nothing of it is shipped.
DEVELOPMENT = {
    "emojione-v1": (
        "@iconify-json/emojione-v1",
        "1.2.3",
        "6641d59d48a42823fdc2b84e7427e9f302944eb98d2c7d94d6e67c139e7b37b3",
    ),
}
NAMES = ("emojibase-data", "17.0.0", "d01d0e2ca4e22cb402679532155342c71e2e871f25c32223c013b8b166ebdf5a")
SKIPPED_GROUPS = {2, 9}  # components (skin tones, hair) and flags
SKIPPED_SUBGROUPS = {"keycap"}


def emoji(names: Path) -> list[dict]:
    """Every emoji that is used: code point, label, keywords, subgroup, motif."""
    subgroups = read_json(names, "meta/groups.json")["subgroups"]
    found = []
    for entry in read_json(names, "en/data.json"):
        subgroup = subgroups.get(str(entry.get("subgroup")))
        if subgroup is None or entry["group"] in SKIPPED_GROUPS or subgroup in SKIPPED_SUBGROUPS:
            continue
        label = entry["label"].lower()
        about = {"code": entry["hexcode"].lower(), "label": label, "keywords": entry.get("tags", [])}
        found.append(about | {"subgroup": subgroup, "motif": motif(label)})
    return found


def upright(icons: dict, name: str) -> str | None:
    """The drawing that `name`, or an alias of that name, stands for; None if there is none or it is turned round."""
    while name not in icons["icons"]:
        alias = icons.get("aliases", {}).get(name)
        if alias is None or alias.keys() & {"hFlip", "vFlip", "rotate"}:
            return None
        name = alias["parent"]
    return name


def match(found: list[dict], sets: dict[str, tuple[dict, dict]]) -> list[dict]:
    """One entry per drawing: vendor, icon, and what it shows. A vendor's icon is used once.

    `sets` holds (icons.json, chars.json) of each vendor. Two of them name code points; the others go by the names which
    those two and Unicode's label give.
    """
    by_code = [(icons, chars) for icons, chars in sets.values() if chars]
    drawings = []
    used = set()
    for one in found:
        keys = [one["code"], one["code"].replace("-fe0f", "")]
        names = [chars[key] for _, chars in by_code for key in keys if key in chars] + [slug(one["label"])]
        for icons, _ in by_code:
            names += [alias for alias, entry in icons["aliases"].items() if entry["parent"] in names[:2]]
        for vendor, (icons, chars) in sets.items():
            own = [chars[key] for key in keys if key in chars] if chars else names
            icon = next((drawn for name in own if (drawn := upright(icons, name))), None)
            if icon is not None and (vendor, icon) not in used:
                used.add((vendor, icon))
                drawings.append({"vendor": vendor, "icon": icon, **one})
    return drawings


def recolour(body: str, seed: str) -> str:
    """The drawing in another palette: each colour moves a little in hue, saturation and value, wherever it stands."""
    random_ = random.Random(int(hashlib.sha256(seed.encode()).hexdigest()[:16], 16))
    all_hues = random_.gauss(0, 0.03)
    palette: dict[str, str] = {}

    def moved(found: re.Match) -> str:
        text = found.group(1).lower()
        if text not in palette:
            full = text if len(text) == 6 else "".join(digit * 2 for digit in text)
            hue, saturation, value = colorsys.rgb_to_hsv(*(int(full[i : i + 2], 16) / 255 for i in (0, 2, 4)))
            hue = (hue + all_hues + random_.gauss(0, 0.03)) % 1
            saturation = min(1, saturation * random_.uniform(0.6, 1.3))
            value = min(1, value * random_.uniform(0.75, 1.2))
            palette[text] = "".join(f"{round(255 * part):02x}" for part in colorsys.hsv_to_rgb(hue, saturation, value))
        return f"#{palette[text]}"

    return re.sub(r"(?<!\()#([0-9a-fA-F]{6}|[0-9a-fA-F]{3})\b", moved, body)


def render(job: tuple[dict, int, int, str]) -> np.ndarray:
    """(PALETTES, 64, 64, 4) uint8 of one drawing; the first is as the artist made it."""
    icon, width, height, seed = job
    bodies = [icon["body"], *(recolour(icon["body"], f"{seed}/{i}") for i in range(1, PALETTES))]
    return np.stack([np.asarray(draw(icon | {"body": body}, width, height)) for body in bodies])


def build(work: Path, packages: dict[str, tuple[str, str, str]]) -> tuple[np.ndarray, list[dict]]:
    """((N, PALETTES, 64, 64, 4) uint8 pictures, what each shows), fetching what `work` lacks."""
    work.mkdir(parents=True, exist_ok=True)
    names = fetch(*NAMES, work)
    archives = {vendor: fetch(*package, work) for vendor, package in (VENDORS | packages).items()}
    sets = {
        vendor: (read_json(archive, "icons.json"), read_json(archive, "chars.json"))
        for vendor, archive in archives.items()
    }
    drawings = [one for one in match(emoji(names), sets) if one["vendor"] in packages]
    jobs = []
    for one in drawings:
        icons = sets[one["vendor"]][0]
        size = icons.get("width", 16), icons.get("height", 16)
        jobs.append((icons["icons"][one["icon"]], *size, f"{one['vendor']}/{one['icon']}"))
    with Pool() as pool:
        pictures = np.stack(pool.map(render, jobs, chunksize=32))
    return pictures.reshape(len(drawings), PALETTES, SIZE, SIZE, 4), drawings


def manifest(work: Path) -> dict[str, str]:
    """SHA-256 of each file made here."""
    return {name: digest((work / name).read_bytes()) for name in ("artwork.npy", "artwork.json")}


def main(argv: list[str] | None = None) -> int:
    """Build and write, or compare; 1 if the comparison found a difference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for the packages and for what is made")
    parser.add_argument("--check", action="store_true", help="compare what lies there with the manifest")
    parser.add_argument("--development", action="store_true", help="also development.npy, for figures while developing")
    parser.add_argument("--write-manifest", action="store_true", help="what is made becomes what is expected")
    args = parser.parse_args(argv)
    if not args.check:
        for name, packages in {
            "artwork": VENDORS,
            **({"development": DEVELOPMENT} if args.development else {}),
        }.items():
            pictures, drawings = build(args.work, packages)
            np.save(args.work / f"{name}.npy", pictures)
            (args.work / f"{name}.json").write_text(json.dumps(drawings, indent=0) + "\n")
            print(f"{name}: {len(drawings)} drawings of {len({one['motif'] for one in drawings})} motifs")
        if args.write_manifest:
            MANIFEST.write_text(json.dumps(manifest(args.work), indent=1) + "\n")
    found, wanted = manifest(args.work), json.loads(MANIFEST.read_text())
    for name, want in wanted.items():
        print(f"{name}: {'as in the manifest' if found[name] == want else f'NOT as in the manifest, which has {want}'}")
    return int(found != wanted)


if __name__ == "__main__":
    sys.exit(main())
