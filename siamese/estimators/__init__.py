"""The detector and its question vectors as scikit-learn estimators.

>>> from siamese import DuplicateClassifier
>>> pairs = [("How do I cook rice?", "What is the best way to cook rice?"), ("How old are you?", "Where do you live?")]
>>> classifier = DuplicateClassifier(model="pretrained").fit(pairs * 10, [1, 0] * 10)  # ten of a label, or more
>>> classifier.predict(pairs).tolist()
[1, 0]
"""

import sys

from siamese import text
from siamese.estimators.classifier import DuplicateClassifier
from siamese.estimators.inputs import InputError
from siamese.estimators.vectors import QuestionVectors
from siamese.model import calibration
from siamese.text import tokenizer

__all__ = ["DuplicateClassifier", "InputError", "QuestionVectors"]

# Pickles of version 0.1 import this module first, and then these two by their old names.
sys.modules.setdefault("siamese.calibration", calibration)
text._words = tokenizer.words  # type: ignore[attr-defined]
