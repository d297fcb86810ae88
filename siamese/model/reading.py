"""Read a model folder, which may come from a stranger, into the fields of a model."""

from pathlib import Path
from typing import Any

from siamese import plugins
from siamese.config import CHOICES, Config
from siamese.errors import ModelError
from siamese.model import folder as model_folder
from siamese.model.calibration import Calibration
from siamese.model.compact import packed_layout, unpack
from siamese.model.folder import ARCHITECTURE, CONFIG, MOST_BYTES, VERDICT, WEIGHTS, refusing, words_file
from siamese.model.similarity import check_threshold
from siamese.model.verdict import read_verdict
from siamese.text.subwords import AnyTokenizer, SubwordTokenizer
from siamese.text.tokenizer import Tokenizer, first_word
from siamese.towers import lstm_numpy


def read_model(folder: Path) -> dict[str, Any]:
    """Return the fields of the `SiameseModel` in a folder.

    Raises:
        ModelError: it is not exactly as it was saved; the message names the file.
    """
    path = folder / CONFIG
    with refusing(path):
        settings, sums = model_folder.read_settings(path)
        config = Config(**settings["config"])
        threshold, calibration = check_threshold(settings["threshold"]), Calibration(**settings["calibration"])
        check_threshold(settings["facts"].get("chosen_threshold", threshold))  # which `evaluate` prints beside it
        own, architecture = words_file(settings), settings.get(ARCHITECTURE)
        verdict = read_verdict(settings.get(VERDICT))
        plugin = None if config.tower in CHOICES["tower"] else plugins.admitted(plugins.TOWERS, config.tower)
        if (config.tower == "transformer") != (architecture is not None):
            raise ModelError(f"tower {config.tower!r} with the architecture {architecture!r}")
    place = {name: model_folder.place(folder, name, sums.get(name)) for name in (own, WEIGHTS)}
    with refusing(place[own]):
        words = model_folder.read_words(place[own], MOST_BYTES[own], sums.get(own))
    tokenizer: AnyTokenizer
    if architecture is None:
        # Counted to check the weights first: splitting the words takes thirty times their size.
        ids = first_word(config) + words.count("\n")
        shapes = lstm_numpy.shapes(ids, *config.sizes)
        if plugin is not None:
            from siamese.towers.plugin import shapes as shapes_of

            with refusing(path):
                shapes = shapes_of(plugin, (ids, *config.sizes))
    else:
        from siamese.towers import transformer

        with refusing(place[own]):
            tokenizer = SubwordTokenizer(words)
        with refusing(path):
            transformer.check_architecture(architecture, tokenizer)
            shapes = transformer.shapes(architecture)
    with refusing(place[WEIGHTS]):
        layout = packed_layout(shapes) if config.compact else {name: ("F32", size) for name, size in shapes.items()}
        stored = model_folder.read_tensors(place[WEIGHTS], layout, sums.get(WEIGHTS))
        weights = unpack(stored) if config.compact else stored
        model_folder.check_numbers(weights)
    if architecture is None:
        with refusing(place[own]):
            tokenizer = Tokenizer(model_folder.words_of(words), config.tokens, config.buckets)
    return {
        "config": config, "tokenizer": tokenizer, "weights": weights, "threshold": threshold,
        "calibration": calibration, "facts": settings["facts"], "architecture": architecture, "verdict": verdict,
        "plugin": plugin,
    }  # fmt: skip
