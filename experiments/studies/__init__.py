"""The studies, in the order of the page of results."""

from ..study import Study
from .students import Adaptation, Cases, Coverage, Privacy, Pruning, Sizes
from .systems import Columns, Speed, Teachers
from .variants import Architecture, Budget, CorpusSize, Ngrams, Width

STUDIES: dict[str, Study] = {
    "sizes": Sizes(), "teachers": Teachers(), "speed": Speed(), "architecture": Architecture(), "budget": Budget(),
    "width": Width(), "pruning": Pruning(), "ngrams": Ngrams(), "corpus_size": CorpusSize(), "coverage": Coverage(),
    "adaptation": Adaptation(), "privacy": Privacy(), "columns": Columns(), "cases": Cases(),
}  # fmt: skip
