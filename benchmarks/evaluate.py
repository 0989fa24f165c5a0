"""Evaluation, plain against fast: python -m benchmarks.evaluate --help.

The plain path encodes every class name again for every test batch; the fast one computes the text features with the
first batch and keeps them.
"""

import torch
from clip.model import CLIP

from benchmarks.measure import extrapolate, flops, interleaved
from benchmarks.options import machine, repeats, table, timing_parser, use_device
from benchmarks.setting import batch, build, class_names, random_clip, text_tokens, title


def main(argv: list[str] | None = None, model: CLIP | None = None) -> list[dict]:
    """Print, list by list, times, ratios and counts of every method's evaluation; return the rows."""
    parser = timing_parser(__doc__)
    parser.set_defaults(methods=["MaPLe"])
    parser.add_argument("--batch", type=int, default=100, help="images of a test batch")
    parser.add_argument("--batches", type=int, default=25, help="batches of the evaluation the ratio is stated for")
    args = parser.parse_args(argv)
    use_device(args)
    model = model or random_clip()
    rows = []
    for count in args.classes:
        with torch.no_grad():
            some = [measure(method, count, args, model) for method in args.methods]
        print(table(some, args.markdown) + "\n", flush=True)
        rows += some
    print(f"seconds: median of {args.clock} time, batches of {args.batch}, {machine(args)}")
    print(f"times faster: an evaluation of {args.batches} batches, whose text features (s text) are computed once")
    return rows


def measure(method: str, count: int, args, model: CLIP) -> dict:
    """The row of one list and method."""
    names = class_names(count)
    images = batch(names, args.batch, model.visual.input_resolution)["img"].to(args.device)

    def first(trainer, images):
        trainer.set_model_mode("eval")  # which forgets the text features
        return trainer.model_inference(images)

    plain, fast = (build(method, path, names, model, args.device) for path in ("plain", "fast"))
    jobs = {
        "plain": lambda: first(plain, images),
        "text": lambda: first(fast, images[:1]),
        "fast": lambda: fast.model_inference(images),
    }
    one = images[:1]  # the counts grow by the same with every image and, on the plain path, with every class
    image = flops(lambda: fast.model_inference(one)) and flops(lambda: fast.model_inference(one))
    text = flops(lambda: first(fast, one)) - image
    few = {k: build(method, "plain", names[:k], model, args.device) for k in (2, 4)}
    plain_text = extrapolate({k: flops(lambda k=k: first(few[k], one)) for k in few}, count) - image
    total = args.batches * (plain_text + args.batch * image), text + args.batches * args.batch * image
    times = interleaved(jobs, {name: repeats(args, name) for name in jobs}, args.clock, args.device)
    return {
        "classes": title(count),
        "method": method,
        "tokens plain": text_tokens(plain),
        "tokens fast": text_tokens(fast),
        "GFLOP ratio": total[0] / total[1],
        "s plain": times["plain"],
        "s fast": times["fast"],
        "s text": times["text"],
        "times faster": args.batches * times["plain"] / (times["text"] + args.batches * times["fast"]),
    }


if __name__ == "__main__":
    main()
