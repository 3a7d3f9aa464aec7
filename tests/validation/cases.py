"""All cases of the corpus, by their names."""

from tests.validation import corpus_archives, corpus_layout, corpus_python, corpus_saved_models, corpus_torch

CASES = (
    corpus_layout.CASES | corpus_python.CASES | corpus_saved_models.CASES | corpus_archives.CASES | corpus_torch.CASES
)
