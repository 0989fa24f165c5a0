"""One self-contained page of an output tree: `report.page.document.write` is the way in."""
