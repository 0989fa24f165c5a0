"""Documents whose numbers are those of a tree."""

DOCUMENT = """# Results

<!-- report: tables --table 1 -->
old
<!-- /report -->

Between.

<!-- report: tables --table 4 -->
<!-- /report -->
<!-- report: compare CoOp MaPLe -->
<!-- /report -->
"""


def test_marked_parts_are_what_the_commands_print(put, output, show, tmp_path):
    put("CoOp", "base", 1, 61.25)
    file = tmp_path / "results.md"
    file.write_text(DOCUMENT)
    code, out, err = show("fill", file, output)
    text = file.read_text()
    assert code == 0 and out == f"{file} is filled\n" and len(err.splitlines()) == 2
    assert "old" not in text and "| CoOp" in text and "61.2" in text and "\nBetween.\n" in text
    assert text.count("*Not in this tree: ") == 2  # no table 4, and no MaPLe
    assert show("fill", file, output)[0] == 0 and file.read_text() == text  # again: the same


def test_figures_are_drawn_beside_the_document(rich, show, tmp_path):
    file = tmp_path / "results.md"
    file.write_text("<!-- report: figures --figure 1 reliability -->\n<!-- /report -->\n")
    assert show("fill", file, rich)[0] == 0
    text = file.read_text()
    assert "![Fig. 1](figures/fig1.png)\n\nFig. 1: probability" in text and "(figures/reliability.png)" in text
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == ["fig1.png", "reliability.png"]


def test_a_document_without_marks_is_left_alone(put, output, show, tmp_path):
    put("CoOp", "base", 1, 61.25)
    file = tmp_path / "results.md"
    for text, said in (("nothing", "holds no mark"), ("<!-- report: html -->\n<!-- /report -->", "names no command")):
        file.write_text(text)
        code, _, err = show("fill", file, output)
        assert code == 2 and said in err and file.read_text() == text
