"""Trees of records with known numbers."""

import json

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
