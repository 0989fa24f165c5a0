"""What stands below each figure, by the beginning of its file's name."""

CAPTIONS = {
    "fig1": "Fig. 1: probability of the true class, and accuracy; bars ± deviation over seeds.",
    "fig3": "Fig. 3: discrepancy between the modalities' feature shift against the gain over zero-shot CLIP, with the "
    "rank correlation over methods; bars ± deviation over seeds.",
    "fig4": "Fig. 4: feature shift per block, mean and spread over samples, and accuracy with deviation over seeds.",
    "fig5": "Fig. 5: t-SNE of image features (small) and text features (large); at most seven classes of each half, "
    "evenly spread over it, a colour and a mark each.",
    "curves": "Training curves: cross-entropy and accuracy on training batches, and feature shift; mean over seeds, "
    "band ± deviation.",
    "reliability": "Reliability: accuracy against confidence in 15 bins, all seeds together; below the dotted line "
    "a model is overconfident. A mark's area is its share of the images.",
    "joint": "Base against new accuracy with all classes to choose from, as a bias on the base classes' scores varies; "
    "the large mark is the model as it is.",
    "confusion": "The commonest confusions: true and predicted class, and how many percent of the true class's images "
    "each method takes for the other.",
}


def caption_of(stem: str) -> str:
    """The caption of a figure, by its file's name without the ending."""
    return next(caption for start, caption in CAPTIONS.items() if stem.startswith(start))
