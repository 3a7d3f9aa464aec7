"""All cases of the corpus, by their names, which are all different."""

from tests.validation import corpus_archives, corpus_layout, corpus_python, corpus_saved_models, corpus_torch
from tests.validation.corpus import Case

PARTS = (corpus_layout, corpus_python, corpus_saved_models, corpus_archives, corpus_torch)
CASES: dict[str, Case] = {name: case for part in PARTS for name, case in part.CASES.items()}
