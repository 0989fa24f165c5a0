"""Trees of records with known numbers."""

import json

import numpy as np
import pytest

from report.__main__ import main


@pytest.fixture
def output(tmp_path):
    """An output directory."""
    folder = tmp_path / "output"
    folder.mkdir()
    return folder


@pytest.fixture
def put(output):
    """put("CoOp", "base", 1, 60.0): write a complete record; keywords replace its keys (config: its name in paths)."""

    def write(trainer, subset, seed, accuracy, dataset="OxfordPets", name="vit", **more):
        run = output / subset / dataset / trainer / name / f"seed{seed}"
        run.mkdir(parents=True, exist_ok=True)
        record = {
            "schema": 2,
            "complete": True,
            "mode": "train" if subset == "base" else "eval",
            "trainer": trainer,
            "dataset": dataset,
            "subsample_classes": subset,
            "protocol": "fewshot" if subset == "all" else "base2new",
            "source_dataset": None,
            "shots": 16,
            "seed": seed,
            "epoch": None if trainer.startswith("Zeroshot") else 10,
            "backbone": "ViT-B/16",
            "experiment": f"{trainer}-{name}",
            "accuracy": accuracy,
            "command": ["train.py", "--seed", str(seed), "--trainer", trainer],
        }
        (run / "metrics.json").write_text(json.dumps(record | more))
        return run

    return write


@pytest.fixture
def transfer(put):
    """transfer("CoOp", "Food101", 1, 60.0): as `put`, trained on ImageNet and tested on all classes of another."""

    def write(trainer, dataset, seed, accuracy, **more):
        facts = {"protocol": "cross_dataset", "source_dataset": "ImageNet"} | more
        return put(trainer, "all", seed, accuracy, dataset, **facts)

    return write


@pytest.fixture
def show(capsys, monkeypatch):
    """show("tables", output) -> exit code, what was printed, what was complained of."""
    monkeypatch.setenv("NO_COLOR", "1")

    def run(*argv):
        code = main([str(part) for part in argv])
        streams = capsys.readouterr()
        return code, streams.out, streams.err

    return run


@pytest.fixture
def cells():
    """cells(text) -> for each table in terminal text, its rows as lists of cells, header first."""

    def parse(text):
        lines = text.splitlines()
        tables = []
        for number, line in enumerate(lines):
            if line.startswith("---"):
                rows = [lines[number - 1], *lines[number + 1 :]]
                rows = rows[: rows.index("")] if "" in rows else rows
                tables.append([[part.strip() for part in row.split("  ") if part.strip()] for row in rows])
        return tables

    return parse


@pytest.fixture
def rich(put, output):
    """Zero-shot CLIP, CoOp and IVLP on OxfordPets with all that a run leaves: predictions, history, features, shift.

    Two classes a half, four test images; CoOp's third image is mistaken, the less sure the higher its seed.
    """
    random = np.random.default_rng(0)
    for trainer, seeds, gain in [("ZeroshotCLIP", (1,), 0), ("CoOp", (1, 2), 10), ("IVLP", (1, 2), 5)]:
        for seed in seeds:
            for subset, names in [("base", ["Persian", "Pug <b>"]), ("new", ["Sphynx", "Beagle"])]:
                tilt = gain if subset == "base" else -gain
                blocks = [0.1 * gain, 0.2 * gain]
                shift = {"mean": blocks, "std": [0.01, 0.02]}
                run = put(
                    *(trainer, subset, seed, 60.0 + tilt + seed - 1),
                    mean_true_probability=0.5 + tilt / 100,
                    ece=10.0,
                    reliability={"count": [3, 0, 1], "confidence": [0.3, None, 0.9], "accuracy": [0.5, None, 1.0]},
                    classnames=names,
                    per_class_accuracy=[50.0 + tilt, None if trainer == "IVLP" else 70.0 + tilt],
                    feature_shift={"text": shift, "vision": {"mean": [0.0, 0.0], "std": [0.0, 0.0]}},
                    discrepancy=blocks if gain else None,
                    config={"DATASET": {"ROOT": ""}},
                    wall_seconds=12.5,
                    git_commit="0123456789abcdef",
                )
                if not gain:
                    record = json.loads((run / "metrics.json").read_text()) | {"feature_shift": None}
                    (run / "metrics.json").write_text(json.dumps(record))
                wrong = int(trainer == "CoOp")
                rows = [
                    "path,label,prediction,true_probability,top5",
                    "pets/a.png,0,0,0.9,0 1",
                    "pets/b.png,1,1,0.8,1 0",
                ]
                rows += [f"pets/c.png,0,{wrong},{0.01 * seed if wrong else 0.7},{wrong} {1 - wrong}"]
                (run / "predictions.csv").write_text("\n".join([*rows, "pets/d.png,1,1,0.6,1 0"]) + "\n")
                np.savez(
                    run / "features.npz",
                    image_features=random.normal(size=(12, 5)).astype(np.float16),
                    labels=np.arange(12) % 2,
                    text_features=random.normal(size=(2, 5)).astype(np.float16),
                    classnames=np.array(names),
                )
                if subset == "base" and gain:
                    epochs = [
                        {"epoch": epoch, "losses": {"loss": 2.0 / epoch + seed}, "accuracy": 50.0 + epoch}
                        for epoch in (1, 2, 3)
                    ]
                    (run / "history.json").write_text(json.dumps(epochs))
    return output
