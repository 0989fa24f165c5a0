"""Tables 2 and 3 from a tree of known numbers, and published numbers beside."""

import csv
import io

import pytest

from report.published import numbers


@pytest.fixture
def known(put, transfer, output):
    """CoOp trained on ImageNet with two seeds, and zero-shot CLIP, on two other data sets and one other domain."""
    for seed in (1, 2):
        put("CoOp", "all", seed, 70.0 + seed, "ImageNet", mode="train")
        transfer("CoOp", "Food101", seed, 80.0 + seed)
        transfer("CoOp", "DescribableTextures", seed, 40.0 + seed)
        transfer("CoOp", "ImageNetV2", seed, 60.0 + 2 * seed)
    for dataset, accuracy in [
        ("ImageNet", 66.0),
        ("Food101", 85.0),
        ("DescribableTextures", 44.0),
        ("ImageNetV2", 60.0),
    ]:
        put("ZeroshotCLIP", "all", 1, accuracy, dataset)
    return output


def test_every_cell(known, show, cells):
    code, out, _ = show("tables", known)
    assert code == 0
    assert cells(out) == [
        [
            ["method", "source", "Food101", "DTD", "average", "seeds"],
            ["zero-shot CLIP", "66.0", "85.0 *", "44.0 *", "64.5 *", "1"],
            ["CoOp", "71.5 ± 0.5 *", "81.5 ± 0.5", "41.5 ± 0.5", "61.5 ± 0.5", "2"],
        ],
        [
            ["method", "source", "ImageNetV2", "average", "seeds"],
            ["zero-shot CLIP", "66.0", "60.0", "60.0", "1"],
            ["CoOp", "71.5 ± 0.5 *", "63.0 ± 1.0 *", "63.0 ± 1.0 *", "2"],
        ],
    ]
    assert "Table 2. Cross-dataset transfer: trained on ImageNet, ViT-B/16, 16 shots a class" in out
    assert "Table 3. Domain generalisation: trained on ImageNet, ViT-B/16, 16 shots a class" in out


def test_published_numbers_and_differences(known, show, cells):
    two, three = cells(show("tables", known, "--published")[1])
    assert two[2:4] == [
        ["published", "66.72", "86.11", "44.56", "65.34"],  # the average of these two targets, not of all ten
        ["difference", "-0.7", "-1.1", "-0.6", "-0.8"],
    ]
    assert two[5:] == [
        ["published", "71.51", "85.30", "41.92", "63.61"],
        ["difference", "-0.0", "-3.8", "-0.4", "-2.1"],
    ]
    assert three[5:] == [["published", "71.51", "64.20", "64.20"], ["difference", "-0.0", "-1.2", "-1.2"]]


def test_published_numbers_in_csv(put, output, show):
    put("MaPLe", "base", 1, 95.0)
    put("MaPLe", "new", 1, 98.0)
    lines = list(csv.DictReader(io.StringIO(show("tables", output, "--format", "csv")[1])))
    assert [(one["column"], one["published"], one["difference"]) for one in lines] == [
        ("base", f"{numbers()['base2new_vitb16_16shot', 'MaPLe', 'OxfordPets', 'base']:.2f}", "-0.4300"),
        ("new", "97.76", "0.2400"),
        ("H", "96.58", "-0.1033"),
    ]


def test_an_average_over_all_eleven_is_the_printed_one(put, output, show, cells):
    for dataset in {key[2] for key in numbers() if key[0].startswith("base2new")} - {"Average11"}:
        registered = {"Flowers102": "OxfordFlowers", "DTD": "DescribableTextures"}.get(dataset, dataset)
        for subset in ("base", "new"):
            put("MaPLe", subset, 1, 80.0, registered)
    average = cells(show("tables", output, "--published")[1])[0]
    assert average[2] == ["published", "82.28", "75.14", "78.55"]


@pytest.mark.parametrize("more", [{"backbone": "RN50"}, {"shots": 1}, {"dataset": "EmojiNet"}])
def test_nothing_is_compared_with_another_setting(put, output, show, more):
    put("MaPLe", "base", 1, 95.0, **more)
    out = show("tables", output, "--published")[1]
    assert "difference" not in out and "Nothing is published" in out


def test_restores_own_tables_are_not_among_the_published():
    assert {key[1] for key in numbers()} >= {"CLIP", "CoOp", "MaPLe", "PromptSRC"}
    assert not [key for key in numbers() if "RESTORE" in key[1].upper()]


def test_wide_tables_are_split(put, transfer, output, show, cells):
    for dataset in ("Caltech101", "OxfordPets", "StanfordCars", "OxfordFlowers", "Food101", "EuroSAT"):
        transfer("CoOp", dataset, 1, 60.0)
        transfer("CoOp", dataset, 2, 62.0)
    out = show("tables", output)[1]
    first, second = cells(out)
    assert max(map(len, out.splitlines())) <= 80
    assert first[1][:2] == ["CoOp", "missing"] and second[1][0] == "CoOp"
    assert [*first[0][1:], *second[0][1:]][1:] == [
        *("Caltech101", "OxfordPets", "StanfordCars", "Flowers102", "Food101", "EuroSAT", "average", "seeds"),
    ]


def test_incomplete_seeds_are_counted(put, transfer, output, show, cells):
    transfer("CoOp", "Food101", 1, 60.0)
    transfer("CoOp", "Food101", 2, 62.0)
    transfer("CoOp", "EuroSAT", 1, 40.0)
    transfer("CoOp", "EuroSAT", 2, 0.0, complete=False)
    row = cells(show("tables", output)[1])[0][1]
    assert row[2:] == ["61.0 ± 1.0", "40.0", "50.0", "0-2 (+1 unfinished)"]
