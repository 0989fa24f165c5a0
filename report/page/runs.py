"""Where each number comes from: the runs, with what repeats them."""

from html import escape

from report.names import shown
from report.records import Record, finite, text
from report.text import with_spread


class Runs:
    """The runs of a page. `id` names a run's place on it; `html` is the list of all that were named."""

    def __init__(self, records: list[Record]) -> None:
        self.ids = {id(record): f"r{place}" for place, record in enumerate(records)}
        self.records = records

    def id(self, record: Record) -> str:
        """The anchor of a run."""
        return self.ids[id(record)]

    def html(self) -> str:
        """All runs, folded up."""
        items = "\n".join(self.item(record) for record in self.records)
        return f"<details open><summary>{len(self.records)} runs</summary>\n{items}\n</details>"

    def item(self, record: Record) -> str:
        """One run: what it was, where it is, and the command."""
        result = f"{record.accuracy:.2f} %" if record.accuracy is not None else "unfinished"
        subset = "" if record.subset == "all" else f"{record.subset} classes of "
        what = f"{record.trainer}, {subset}{shown(record.dataset)}, seed {record.seed}: {result}"
        details = [f"<code>{escape(str(record.path))}</code>", *map(escape, self.facts(record))]
        return (
            f'<div class="run" id="{self.id(record)}"><p><b>{escape(what)}</b></p>'
            f'<p class="quiet">{" · ".join(details)}</p>{self.repeat(record)}</div>'
        )

    @staticmethod
    def facts(record: Record) -> list[str]:
        """What else is known of a run, in short."""
        commit, seconds = text(record.raw.get("git_commit")), finite(record.raw.get("wall_seconds"))
        facts = [f"{record.mode or 'run'}" + (" of a checkpoint from " + shown(record.source) if record.source else "")]
        facts += [f"{record.epoch} epochs"] * (record.epoch is not None)
        facts += [f"commit {commit[:10]}{'-dirty' * commit.endswith('-dirty')}"] * bool(commit)
        facts += [f"{seconds:.0f} s"] if seconds is not None else []
        facts += [text(record.raw.get("device"))] * bool(text(record.raw.get("device")))
        return facts

    @staticmethod
    def repeat(record: Record) -> str:
        """The command, or why there is none."""
        if record.from_log:
            return '<p class="quiet">Read from log.txt; the command is not in it.</p>'
        if record.command is None:
            return '<p class="quiet">The record is of an earlier version, which did not keep the command.</p>'
        return f"<pre>{escape(record.command)}</pre>"


def origin(values: dict[int, float], std: float | None, interval: float | None) -> str:
    """One line on a number: seeds and their values, spread, interval."""
    told = ", ".join(f"{value:.2f} (seed {seed})" for seed, value in sorted(values.items()))
    mean = sum(values.values()) / len(values)
    if std is None:
        return f"One seed: {told}."
    half = f"; 95 % interval of the mean ± {interval:.2f}" if interval is not None else ""
    return f"{with_spread(mean, std, 2)} over {len(values)} seeds: {told}{half}."
