"""What the experiments use of the package beyond its public names."""

from sparsedistill.classifier import probabilities
from sparsedistill.data.crops import run_of_words
from sparsedistill.data.labelled import labelled
from sparsedistill.data.parts import LabelledParts
from sparsedistill.data.records import Reader
from sparsedistill.format import read_json, replacing, write_json
from sparsedistill.options import Teach
from sparsedistill.progress import Progress, say
from sparsedistill.settings import read_toml
from sparsedistill.stages.keys import versions
from sparsedistill.stages.label import label_part
from sparsedistill.student.vocabulary import Vocabulary
from sparsedistill.teacher.finetune import finetune
from sparsedistill.teacher.transformer import TransformerTeacher

__all__ = [
    "LabelledParts", "Progress", "Reader", "Teach", "TransformerTeacher", "Vocabulary", "finetune",
    "label_part", "labelled", "probabilities", "read_json", "read_toml", "replacing", "run_of_words", "say",
    "versions", "write_json",
]  # fmt: skip
