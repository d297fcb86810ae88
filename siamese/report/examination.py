"""The report of `examine`: examination.md with its figures, and examination.json."""

import json
from collections import Counter
from pathlib import Path

from siamese.evaluation.examination import SHOWN, SURE, Common, Examination, Slice
from siamese.evaluation.metrics import RECALLS, Scores
from siamese.evaluation.results import OURS, Evaluation
from siamese.report import plots
from siamese.report.tables import answer, inert, markdown, markdown_table, page
from siamese.system.files import write_text
from siamese.system.outputs import beginning_with, json_with

TITLE = "# Where is this model right, and where wrong?"
OUTPUTS = {  # with what shows that we wrote them
    "examination.md": beginning_with(TITLE), "examination.json": json_with("scores", "mistakes", "in_common"),
}  # fmt: skip
FIGURES = ("slices.png", "reliability.png", "features.png")
CALLED = {"duplicate": "called duplicates", "different": "called different"}
STRIKING, LEAST = 1.5, 5  # the summary names features with this ratio of shares and this many pairs, or more


def write(found: Examination, folder: Path, model: str, data: str, command: str) -> None:
    """Write the report.

    Args:
        found: the result of `examine`.
        folder: where to write.
        model, data, command: the model folder, the file of pairs and the command line, as typed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    plots.slices(found.slices, folder / "slices.png")
    plots.reliability(found.reliability, folder / "reliability.png")
    plots.features({CALLED[said]: common.features for said, common in found.in_common.items()}, folder / "features.png")
    scores = found.scores
    model, data, command = map(inert, (model, data, command))
    verdict = f"Verdict: {found.verdict}.\n" if found.verdict else ""
    text = page(
        "siamese.report", "examination.template", model=model, data=data, command=command, scores=scores,
        share=scores.duplicates / scores.pairs, answer=answer(scores) + verdict, table=markdown_table(scores),
        ranking=_ranking_table(scores), encoder=_encoder(found), slices=_slices(found.slices), shown=SHOWN,
        mistakes=_mistakes(found) if found.mistakes else "There is no mistake.\n", sure=SURE, low=1 - SURE,
        features=_features(found.in_common),
        sentences="\n".join(f"- {_sentence(said, common)}" for said, common in found.in_common.items()),
    )  # fmt: skip
    write_text(folder / "examination.md", text)
    write_text(folder / "examination.json", json.dumps(found.to_dict(), indent=2, ensure_ascii=False) + "\n")


def summary(found: Examination, folder: Path) -> str:
    """Return the text that the command prints."""
    name, part = next(iter(found.scores.slices().items()))
    lines = [f"{name} pairs: {_ranking(part)}, accuracy {part.accuracy:.3f} ({part.pairs:,} pairs)"]
    if encoder := found.encoder:
        ranking = _ranking(part.baselines[encoder.name])
        lines.append(f"{encoder.name}: {ranking}; the model is {encoder.ratio:.0f} times as fast")
    lines += [f"verdict: {found.verdict}"] if found.verdict else []
    lines += [_sentence(said, common) for said, common in found.in_common.items()]
    return "\n".join((*lines, "", f"{folder / 'examination.md'} written"))


def _ranking(scores: Scores) -> str:
    return f"average precision {_number(scores.average_precision)}, ROC AUC {_number(scores.roc_auc)}"


def _number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _ranking_table(scores: Evaluation) -> str:
    """Return a table of calibration errors and precisions at a recall."""
    rows = [["pairs", "", "calibration error", *(f"precision at recall {recall:g}" for recall in RECALLS)]]
    for label, part in scores.slices().items():
        scorers: dict[str, Scores] = {OURS: part, **part.baselines}
        for i, (name, row) in enumerate(scorers.items()):
            cells = [_number(row.precision_at_recall.get(f"{recall:g}")) for recall in RECALLS]
            rows.append(["" if i else label, name, _number(row.calibration_error), *cells])
    return markdown(rows, text=2)


def _encoder(found: Examination) -> str:
    encoder, scores = found.encoder, found.scores
    if not encoder:
        return ""
    rows = [["", "questions/s", "MB on disk", "average precision, unseen", "average precision, all", "ROC AUC, all"]]
    ours, theirs = (encoder.ours, encoder.our_bytes), (encoder.theirs, encoder.their_bytes)
    for name, (speed, size) in {OURS: ours, encoder.name: theirs}.items():
        found_of = {what: part.rows()[name] for what, part in scores.slices().items()}
        precision = [_number(found_of.get(what, {}).get("average_precision")) for what in ("unseen", "all")]
        on_disk = "–" if size is None else f"{size / 1e6:.1f}"
        rows.append([name, f"{speed:,.0f}", on_disk, *precision, _number(found_of["all"]["roc_auc"])])
    title, table = inert(encoder.name), markdown(rows, text=1)
    return page("siamese.report", "encoder.template", title=title, table=table, encoder=encoder)


def _slices(panels: dict[str, dict[str, list[Slice]]]) -> str:
    titles = {
        "length": "By the words of the longer question",
        "unknown words": "By the words of the pair that the model does not know",
        "overlap": "By overlap",
    }
    head = ["pairs", "slice", "pairs", "duplicates", "accuracy", "average precision", "ROC AUC", "mean probability"]
    text = ""
    for what, parts in panels.items():
        rows = [head]
        for part, found in parts.items():
            for row in found:
                numbers = (row.accuracy, row.average_precision, row.roc_auc, row.mean_probability)
                rows.append([part, row.slice, f"{row.pairs:,}", f"{row.duplicates:.1%}", *map(_number, numbers)])
                part = ""
        text += f"\n### {titles[what]}\n\n{markdown(rows, text=2)}"
    return text


def _mistakes(found: Examination) -> str:
    names = ["similarity", "probability", "overlap"]
    rows = [["id", "what they look like", "label", "unseen", *names, "words", "unknown"]]
    texts = [["id", "question 1", "question 2"]]
    for row in found.mistakes:
        id, unseen = inert(row.id), {None: "–", True: "yes", False: "no"}[row.unseen]
        numbers = (_number(getattr(row, name)) for name in names)
        words = "/".join(map(str, row.words))
        about = ", ".join(row.features) or "–"
        rows.append([id, about, str(row.label), unseen, *numbers, words, str(row.unknown)])
        if row.question1 is not None and row.question2 is not None:
            texts.append([id, inert(row.question1), inert(row.question2)])
    shown = f"\n{markdown(texts, text=3)}" if len(texts) > 1 else ""
    counts = Counter(name for row in found.mistakes for name in row.features).most_common()
    frequent = "; ".join(f"{name} ({count})" for name, count in counts if count > 1) or "none"
    return page(
        "siamese.report", "mistakes.template", wrong=found.wrong, table=markdown(rows, text=2), texts=shown,
        missed=sum(row.label for row in found.mistakes), shown=len(found.mistakes), frequent=frequent,
    )  # fmt: skip


def _features(found: dict[str, Common]) -> str:
    head = ["", *(f"{called}: {what}" for called in CALLED.values() for what in ("wrong", "right", "ratio"))]
    rows = [head, ["verdicts"]]
    for common in found.values():
        rows[1] += [f"{common.wrong:,}", f"{common.right:,}", ""]
    for name in found["duplicate"].features:
        rows.append([name])
        for common in found.values():
            cell = common.features[name]
            shares = ("–" if share is None else f"{share:.1%}" for share in (cell.wrong, cell.right))
            rows[-1] += [*shares, _number(cell.ratio, 2)]
    return markdown(rows, text=1)


def _sentence(said: str, common: Common) -> str:
    """Name the features that are much more, or much less, frequent among mistakes than among correct verdicts."""
    more: list[str] = []
    less: list[str] = []
    for name, row in sorted(common.features.items(), key=lambda item: -(item[1].ratio or 0)):
        if row.ratio is None or row.wrong is None or row.right is None:
            continue
        shares = f"{name} ({row.wrong:.0%} against {row.right:.0%})"
        if row.ratio >= STRIKING and row.wrong * common.wrong >= LEAST:
            more.append(shares)
        if row.ratio <= 1 / STRIKING and row.right * common.right >= LEAST:
            less.insert(0, shares)
    if not common.wrong:
        return f"no confident mistakes among pairs {CALLED[said]}"
    named = [f"{word} often {', '.join(found[:3])}" for word, found in (("more", more), ("less", less)) if found]
    return (
        f"{common.wrong:,} confident mistakes among pairs {CALLED[said]}; compared with {common.right:,} correct ones, "
        + ("; ".join(named) or f"no feature is {STRIKING} times as frequent or as rare")
    )
