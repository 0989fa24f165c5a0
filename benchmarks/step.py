"""Training steps, plain against fast: python -m benchmarks.step --help."""

from clip.model import CLIP

from benchmarks.measure import extrapolate, flops, interleaved
from benchmarks.options import machine, repeats, table, timing_parser, use_device
from benchmarks.setting import PATHS, batch, build, class_names, random_clip, text_tokens, title

BATCH = 4  # images of a step, as the field trains


def main(argv: list[str] | None = None, model: CLIP | None = None) -> list[dict]:
    """Print, list by list, times, ratios and counts of every method's step; return the rows."""
    parser = timing_parser(__doc__)
    parser.add_argument("--batch", type=int, default=BATCH, help="images of a step")
    parser.add_argument("--slice", type=int, default=64, help="classes of the plain text pass held in memory at once")
    args = parser.parse_args(argv)
    use_device(args)
    model = model or random_clip()
    rows = []
    few = {method: counts_of_few(method, args, model) for method in args.methods}
    for count in args.classes:
        some = measure(count, few, args, model)
        print(table(some, args.markdown) + "\n", flush=True)
        rows += some
    print(f"seconds: median of {args.clock} time, batch {args.batch}, {machine(args)}")
    print(f"plain text passes of more than {args.slice} classes run in slices, each with its backward pass")
    return rows


def counts_of_few(method: str, args, model: CLIP) -> dict[int, int]:
    """Operations of a plain step of 2 and of 4 classes: it grows by the same with every class, and takes minutes."""
    data = batch(["", ""], args.batch, model.visual.input_resolution)
    counts = {}
    for classes in (2, 4):
        trainer = build(method, "plain", class_names(classes), model, args.device)
        counts[classes] = flops(_step(trainer, data))
    return counts


def measure(count: int, few: dict[str, dict[int, int]], args, model: CLIP) -> list[dict]:
    """The rows of one list: every method and path takes its turn in each round."""
    names = class_names(count)
    data = batch(names, args.batch, model.visual.input_resolution)
    steps, turns, counted, tokens = {}, {}, {}, {}
    paths = PATHS if args.device != "cpu" else PATHS[:2]
    for method in args.methods:
        for path in paths:
            trainer = build(method, path, names, model, args.device, args.slice if count > args.slice else 0)
            job = _step(trainer, data)
            if path == "graph":
                job()  # captures
            else:  # the counted steps are the warm-up
                counted[method, path] = extrapolate(few[method], count) if path == "plain" else flops(job)
            steps[f"{method} {path}"], turns[f"{method} {path}"] = job, repeats(args, path)
            tokens[method, path] = text_tokens(trainer)
    times = interleaved(steps, turns, args.clock, args.device)
    rows = []
    for method in args.methods:
        plain, fast = (times[f"{method} {path}"] for path in PATHS[:2])
        graph = times.get(f"{method} graph")
        rows.append(
            {
                "classes": title(count),
                "method": method,
                "tokens plain": tokens[method, "plain"],
                "tokens fast": tokens[method, "fast"],
                "GFLOP plain": round(counted[method, "plain"] / 1e9),
                "GFLOP fast": round(counted[method, "fast"] / 1e9),
                "GFLOP ratio": counted[method, "plain"] / counted[method, "fast"],
                "s plain": plain,
                "s fast": fast,
                "times faster": plain / fast,
                "to MaPLe": fast / times["MaPLe fast"] if "MaPLe fast" in times else None,
            }
            | ({"s graph": graph, "graph, times faster": plain / graph} if graph else {})
        )
    return rows


def _step(trainer, data):
    return lambda: trainer.forward_backward(data)


if __name__ == "__main__":
    main()
