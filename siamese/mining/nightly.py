"""Mine new questions against old ones from Python, and keep an archive mined."""

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from siamese.archive.store import Archive
from siamese.config import PRETRAINED
from siamese.mining.against import mine_against, mine_beside_archive, mine_unmined
from siamese.mining.clusters import LINKAGES
from siamese.mining.mined import Mined
from siamese.mining.questions import Questions, QuestionsLike
from siamese.mining.settings import MEMORY, Settings
from siamese.model.model import SiameseModel


def mine_new(
    questions: QuestionsLike, old: QuestionsLike | Archive, model: SiameseModel | str | Path | None = None, *,
    threshold: float | None = None, linkage: str = LINKAGES[0], ids: Iterable[Any] | None = None,
    memory: int = MEMORY, cosine: bool = False,
) -> Mined:  # fmt: skip
    """Find the pairs of new questions with old ones and with each other; old ones are not compared with each other.

    `question1` of a pair is always new. Clusters are those of the new questions and of the old ones in their pairs. A
    question whose id and text are among the old ones is not new. Nothing is remembered.

    Args:
        questions: the new ones, as in `mine`.
        old: the old ones, as in `mine`, or an archive.
        model: as in `mine`; ignored with an archive, which has its own.
        threshold, linkage, memory, cosine: as in `mine`.
        ids: of the new questions, instead of the column id.

    Raises:
        UserError: as in `mine`.
    """
    new = Questions.of(questions, ids)
    if isinstance(old, Archive):
        new.ids = list(map(str, new.ids))  # as an archive has them
        new.copies = [copy._replace(id=str(copy.id)) if new.ids else copy for copy in new.copies]
        model = old.model
    elif not isinstance(model, SiameseModel):
        model = SiameseModel.load(model or PRETRAINED)
    rule = model.rule(threshold, cosine=cosine)
    settings = Settings(rule.threshold, memory=memory, linkage=linkage)
    if isinstance(old, Archive):
        return mine_beside_archive(new, old.memory, model, settings, rule)
    return mine_against(new, Questions.of(old), model, settings, rule)


def mine_archive(
    archive: Archive, ids: Collection[str] | None = None, *, threshold: float | None = None,
    linkage: str = LINKAGES[0], memory: int = MEMORY, cosine: bool = False,
) -> Mined:  # fmt: skip
    """Compare the questions of an archive that were not compared yet with all, and let it remember pairs and clusters.

    Pairs and clusters are those of a run over all questions. A cluster keeps its number from one call to the next.

    Args:
        archive: of any questions, which may have been added, changed and removed since the last call.
        ids: the pairs are those of the questions among these that were not compared before; None: all pairs.
        threshold, cosine: as in `mine`. Others than those of the last call compare all questions again.
        linkage, memory: as in `mine`.

    Raises:
        ArchiveError: another process is writing.
        UserError: as in `mine`.
    """
    rule = archive.model.rule(threshold, cosine=cosine)
    settings = Settings(rule.threshold, memory=memory, linkage=linkage)
    night = mine_unmined(archive.memory, settings, rule, ids)
    night.remember(night.found)
    return night.found
