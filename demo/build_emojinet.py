"""Rebuild the embedded data sets EmojiNet and EmojiNetMono from the artwork, byte for byte.

pip install -r demo/requirements.txt
python demo/build_emojinet.py --work build/emojinet            (needs npm; writes datasets/embedded and the manifest)
python demo/build_emojinet.py --work build/emojinet --check    (compares with what lies there, writes nothing)
python demo/build_emojinet.py --verify                         (compares what lies there with the manifest, offline)

One class per Unicode subgroup (demo/emojinet_classes.json, in label order: the first half is base). EmojiNet draws
each emoji in two styles, 3D and flat; EmojiNetMono draws EmojiNet's test emoji in black and white. The split goes by
emoji, and by what is the same picture of a man, a woman and a person: neither stands in two of train, val and test.
"""

import argparse
import io
import json
import shutil
import sys
from multiprocessing import Pool
from pathlib import Path

from npm_packages import digest, fetch, read_json
from pictures import draw, motif, slug
from PIL import Image

HERE = Path(__file__).parent
MANIFEST = HERE / "emojinet_manifest.json"
PACKAGES = {
    "color": (
        "@iconify-json/fluent-emoji",
        "1.2.7",
        "8044210dbf11e016d4de85f15d01a243423bd832457e7e2491df1b751c0e272b",
    ),
    "flat": (
        "@iconify-json/fluent-emoji-flat",
        "1.2.6",
        "7d064769dee690815f823bc5bcc511d957198caf9f5edd8dd9c1aa48a6aeb175",
    ),
    "mono": (
        "@iconify-json/fluent-emoji-high-contrast",
        "1.2.6",
        "0b92d48c90d2200bd499e3cdd09a127ca6a8c8ddefd34c35eb5a1e4994012ae0",
    ),
    "names": ("emojibase-data", "17.0.0", "d01d0e2ca4e22cb402679532155342c71e2e871f25c32223c013b8b166ebdf5a"),
}


def emoji(archives: dict[str, Path]) -> list[dict]:
    """Every emoji that is drawn in all styles: subgroup, slug, group (what must stay together), names per style."""
    names = {style: read_json(archives[style], "chars.json") for style in ("flat", "mono")}
    drawn = {style: read_json(archives[style], "icons.json")["icons"] for style in ("color", "flat", "mono")}
    subgroups = read_json(archives["names"], "meta/groups.json")["subgroups"]
    found = []
    for entry in read_json(archives["names"], "en/data.json"):
        if "subgroup" not in entry:
            continue
        code = entry["hexcode"].lower()
        keys = [code, code.replace("-fe0f", "")]
        flat = next((names["flat"][key] for key in keys if key in names["flat"]), None)
        mono = next((names["mono"][key] for key in keys if key in names["mono"]), None)
        styles = {"color": flat, "flat": flat, "mono": mono}  # the 3D set has the flat set's names
        if all(icon in drawn[style] for style, icon in styles.items()):
            subgroup, label = subgroups[str(entry["subgroup"])], entry["label"]
            about = {"subgroup": subgroup, "code": code, "slug": slug(label), "group": motif(label)}
            found.append(about | {"styles": styles})
    return found


def split(members: list[dict]) -> dict[str, list[dict]]:
    """Members of a class into train, val and test, whole groups each.

    Two styles make 8 emoji 16 shots, so train has 8 of the smallest classes and 10 to 24 of the others, val 2 to 4,
    and test all the rest. The order is that of the groups' digests: it looks random and depends on nothing else.
    """
    groups: dict[str, list[dict]] = {}
    for member in members:
        groups.setdefault(member["group"], []).append(member)
    n = len(members)
    wanted = {"train": min(24, max(8, min(10, n - 6), round(0.45 * n))), "val": 2 if n < 24 else 3 if n < 40 else 4}
    parts: dict[str, list[dict]] = {"train": [], "val": [], "test": []}
    for name in sorted(groups, key=lambda name: digest(name.encode())):
        part = next((part for part, size in wanted.items() if len(parts[part]) < size), "test")
        parts[part] += groups[name]
    return {part: sorted(members, key=lambda member: member["code"]) for part, members in parts.items()}


def plan(classes: dict[str, list[str]], found: list[dict]) -> tuple[dict[str, dict], dict[str, tuple[str, str]]]:
    """({data set: split file's content}, {image's path below datasets/embedded: (style, icon)})."""
    content = {name: {"train": [], "val": [], "test": []} for name in ("emojinet", "emojinet_mono")}
    pictures = {}
    for label, (name, subgroups) in enumerate(classes.items()):
        folder = name.replace(" ", "_")
        parts = split([one for one in found if one["subgroup"] in subgroups])
        for part, members in parts.items():
            for one in members:
                for style in ("color", "flat", *(["mono"] if part == "test" else [])):
                    data_set = "emojinet_mono" if style == "mono" else "emojinet"
                    path = f"{folder}/{one['slug']}_{style}.png"
                    content[data_set][part].append([path, label, name])
                    pictures[f"{data_set}/images/{path}"] = (style, one["styles"][style])
    return content, pictures


def render(job: tuple[str, dict, int, int]) -> tuple[str, bytes]:
    """(path, PNG bytes) of one icon: 64 x 64, on white, 8-bit RGB."""
    path, icon, width, height = job
    image = draw(icon, width, height, background="#ffffff")
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return path, buffer.getvalue()


def build(work: Path) -> dict[str, bytes]:
    """{path below datasets/embedded: content} of all files made here."""
    work.mkdir(parents=True, exist_ok=True)
    archives = {key: fetch(*package, work) for key, package in PACKAGES.items()}
    classes = json.loads((HERE / "emojinet_classes.json").read_text())
    content, pictures = plan(classes, emoji(archives))
    sets = {style: read_json(archives[style], "icons.json") for style in ("color", "flat", "mono")}
    jobs = [
        (path, sets[style]["icons"][icon], sets[style].get("width", 16), sets[style].get("height", 16))
        for path, (style, icon) in sorted(pictures.items())
    ]
    with Pool() as pool:
        files = dict(pool.map(render, jobs, chunksize=32))
    for data_set, name in (("emojinet", "EmojiNet"), ("emojinet_mono", "EmojiNetMono")):
        lines = (
            f' "{part}": [\n' + ",\n".join(f"  {json.dumps(row)}" for row in rows) + "\n ]"
            for part, rows in content[data_set].items()
        )
        files[f"{data_set}/split_zhou_{name}.json"] = ("{\n" + ",\n".join(lines) + "\n}\n").encode()
    return files


def manifest(files: dict[str, bytes]) -> dict[str, dict]:
    """For each data set: number of files, their bytes, and one digest over all names and contents."""
    table = {}
    for data_set in ("emojinet", "emojinet_mono"):
        own = {path: files[path] for path in sorted(files) if path.startswith(f"{data_set}/")}
        lines = "".join(f"{digest(data)}  {path}\n" for path, data in own.items())
        table[data_set] = {"files": len(own), "bytes": sum(map(len, own.values())), "sha256": digest(lines.encode())}
    return table


def committed(root: Path) -> dict[str, bytes]:
    """{path below `root`: content} of the images and split files that lie there."""
    paths = [*root.glob("emojinet*/images/*/*"), *root.glob("emojinet*/split_zhou_*.json")]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}


def same_pixels(one: bytes, other: bytes) -> bool:
    """Whether two PNG files differ in their packing only."""
    return Image.open(io.BytesIO(one)).tobytes() == Image.open(io.BytesIO(other)).tobytes()


def differences(new: dict[str, bytes], there: dict[str, bytes]) -> list[str]:
    """One line for each file that is missing, superfluous or different in `there`."""
    lines = [f"{path}: not made here" for path in sorted(there.keys() - new.keys())]
    for path, data in new.items():
        if path not in there:
            lines.append(f"{path}: missing")
        elif data != there[path]:
            packed = path.endswith(".png") and same_pixels(data, there[path])
            lines.append(f"{path}: {'same pixels, other bytes: is Pillow the pinned one?' if packed else 'different'}")
    return lines


def main(argv: list[str] | None = None) -> int:
    """Build, then write or compare; 1 if a comparison found a difference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, help="folder for the fetched packages")
    parser.add_argument("--out", type=Path, default=HERE.parent / "datasets" / "embedded", help="where the sets lie")
    parser.add_argument("--check", action="store_true", help="build and compare instead of writing")
    parser.add_argument("--verify", action="store_true", help="compare what lies there with the manifest")
    args = parser.parse_args(argv)
    if args.verify:
        wanted, found = json.loads(MANIFEST.read_text()), manifest(committed(args.out))
        for data_set, want in wanted.items():
            state = "as in the manifest" if found[data_set] == want else f"NOT as in the manifest, which has {want}"
            print(f"{data_set}: {found[data_set]['files']} files, {found[data_set]['bytes']:,} bytes, {state}")
        return int(found != wanted)
    if args.work is None:
        parser.error("--work must name a folder for the npm packages, such as build/emojinet")
    files = build(args.work)
    if args.check:
        odd = differences(files, committed(args.out))
        print(f"{len(files)} files built, {len(odd)} differ from {args.out}.", *odd[:10], sep="\n")
        return int(bool(odd) or manifest(files) != json.loads(MANIFEST.read_text()))
    for folder in args.out.glob("emojinet*/images"):
        shutil.rmtree(folder)  # pictures of an earlier class list
    for path, new in files.items():
        (args.out / path).parent.mkdir(parents=True, exist_ok=True)
        (args.out / path).write_bytes(new)
    MANIFEST.write_text(json.dumps(manifest(files), indent=1) + "\n")
    print(f"{len(files)} files, {sum(map(len, files.values())) / 1e6:.1f} MB, in {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
