"""The paper's figures from the records of runs; `report.figures.draw` is the way in."""
