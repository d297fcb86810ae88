"""Archives of questions: add and remove questions, and search them by meaning and by words."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

from siamese.archive import changes, database, payloads, records, tables, words
from siamese.archive.changes import Block, checked_id
from siamese.archive.columns import block_of
from siamese.archive.database import Database
from siamese.archive.memory import Memory
from siamese.archive.placing import placing
from siamese.archive.records import Record
from siamese.archive.searching import Hit, How, Searcher, queries_of
from siamese.archive.sqlite import DATABASE, WAL
from siamese.archive.syncing import Changes, Treatment, sync, update
from siamese.archive.vectors import VECTORS
from siamese.config import PRETRAINED
from siamese.errors import ArchiveError, UserError
from siamese.model.model import SiameseModel, fingerprint
from siamese.pairs.tables import Frame
from siamese.system.program import joined, program

SEARCH = "exact"  # each query is compared with all questions
QUESTIONS_AT_A_TIME = 256  # queries


class Archive(AbstractContextManager["Archive"]):
    """Questions with ids, searched by meaning and by words.

    Threads that share it take turns. Any number of processes may read it while one writes.

    >>> archive = Archive.build("faq", ["How do I lose weight?"], ids=["a"])
    >>> archive.search(["What is the fastest way to lose weight?"])[0][0].id
    'a'
    """

    def __init__(self, folder: Path, model: SiameseModel | None) -> None:
        """Open an archive, as `open` does."""
        self._database = Database(folder)
        self.memory = Memory(self._database)  # of mining
        try:
            self.name = str(self._database.facts["model"])
            if not (model or self.name):
                raise ArchiveError(
                    f"{folder}: its model was given without a name; give it by --model or to Archive.open"
                )
            self.model = model or SiameseModel.load(self.name)
            if fingerprint(self.model) != self._database.facts["fingerprint"]:
                which = f"{self.name or 'without a name'}{'' if model else ', as it was then'}"
                raise ArchiveError(
                    f"{folder}: made with another model ({which}), whose vectors mean something else; use that model, "
                    f"or make them anew: `{program()} archive reencode {joined('--archive', folder)} --model NAME`"
                )
            self._searcher = Searcher(self._database, self.model.verdict)
        except BaseException:
            self.close()
            raise

    @classmethod
    def open(cls, folder: str | Path, model: SiameseModel | None = None) -> "Archive":
        """Open an archive.

        Args:
            folder: the archive.
            model: the model that it was made with; None loads it by the name that the archive stores.

        Raises:
            ArchiveError: there is no archive, it is damaged, or it was made with another model.
        """
        return cls(Path(folder), model)

    @classmethod
    def build(
        cls, folder: str | Path, questions: Iterable[str] | Frame = (), model: SiameseModel | str | Path = PRETRAINED,
        *, ids: Iterable[str] | None = None, payloads: Iterable[Mapping[str, Any]] | None = None,
        keep: Iterable[str] | None = None, name: str | None = None, force: bool = False,
    ) -> "Archive":  # fmt: skip
        """Build an archive of questions, all or none, and open it.

        It replaces an archive that nobody has added to or removed from since it was built.

        Args:
            folder: the archive; created if it is missing.
            questions, ids, payloads: as in `add`.
            keep: names of the further columns that the archive keeps, now and later; None: all.
            model: a model, its folder or "pretrained".
            name: the model's folder, from which `open` loads it; needed if `model` is a `SiameseModel`, unless it is
                given to `open` too.
            force: replace an archive that was changed since, or files of its names that are not those of an archive.

        Raises:
            ArchiveError: there is an archive that was changed since it was built; as in `add`.
            UserError: the model's vectors depend on their batch, or another process is building there.
        """
        if not isinstance(model, SiameseModel):
            name, model = name or str(model), SiameseModel.load(model)
        return cls.build_blocks(folder, [block_of(questions, ids, payloads)], model, name or "", force, keep)

    @classmethod
    def build_blocks(
        cls, folder: str | Path, blocks: Iterable[Block], model: SiameseModel, name: str, force: bool = False,
        keep: Iterable[str] | None = None,
    ) -> "Archive":  # fmt: skip
        """Build an archive as `build` does, from blocks of which one is in memory at a time."""
        folder, facts = Path(folder), tables.facts_of(model, name)
        facts["keep"] = tables.keeping(keep)
        with placing(folder, force) as building:
            database.create(building, facts)
            with cls(building, model) as archive:
                archive.add_blocks(blocks)
        return cls(folder, model)

    def copy(self, folder: str | Path, *, force: bool = False) -> None:
        """Copy the archive as it is now into a folder, all or none, even while other processes change it.

        Args:
            folder: the copy.
            force: as in `build`.

        Raises:
            ArchiveError: there is an archive already, or this one is damaged.
        """
        with placing(Path(folder), force) as building:
            self._database.copy(building)

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        self._database.close()

    def __len__(self) -> int:
        with self._database.reading() as meta:
            return int(meta["questions"])

    def kept(self) -> list[str] | None:
        """Return the names of the further columns that the archive keeps; None: all."""
        with self._database.reading() as meta:
            return tables.kept(meta)

    # Changes

    def add(
        self, questions: Iterable[str] | Frame, ids: Iterable[str] | None = None,
        payloads: Iterable[Mapping[str, Any]] | None = None,
    ) -> list[str]:  # fmt: skip
        """Add questions, all or none.

        Args:
            questions: n strings in a list or a Series, or a DataFrame with the columns question and optionally id,
                whose further columns are the payloads.
            ids: n strings that no question of the archive has; None uses the next numbers.
            payloads: for each question, values by name: text, numbers, booleans, lists. The archive stores those that
                it keeps, see `build`, and are not missing or blank.

        Returns:
            The n ids.

        Raises:
            ArchiveError: an id exists or is given twice (`position` is its place), or another process is writing.
        """
        return self.add_blocks([block_of(questions, ids, payloads)])

    def add_blocks(self, blocks: Iterable[Block]) -> list[str]:
        """Add blocks as `add` does, all or none, with one in memory at a time. Return the ids."""
        return self.sync_blocks(blocks, Treatment()).added

    def sync(
        self, questions: Iterable[str] | Frame, ids: Iterable[str] | None = None,
        payloads: Iterable[Mapping[str, Any]] | None = None,
        *, known: str = "update", remove_missing: bool = False, force: bool = False,
    ) -> Changes:  # fmt: skip
        """Add questions that are new and change those that differ, all or none, as `archive add --known update` does.

        A question that did not change costs a lookup. One whose text changed is encoded anew; it keeps its id.

        Args:
            questions, ids, payloads: as in `add`, with ids. A payload changes the values that it names; None or a blank
                text removes one.
            known: what to do with an id that is there: "update"; "skip" it; or "error".
            remove_missing: remove the questions whose ids are not given, as with a whole export.
            force: remove even more than half of the questions.

        Returns:
            The ids that were added, changed, found unchanged, and removed.

        Raises:
            UserError: there are no ids.
            ArchiveError: as `add`; more than half of the questions would be removed without `force`.
        """
        return self.sync_blocks([block_of(questions, ids, payloads)], Treatment(known, remove_missing, force))

    def sync_blocks(self, blocks: Iterable[Block], how: Treatment) -> Changes:
        """Change the archive as `sync` does, from blocks of which one is in memory at a time."""
        with self._database.writing() as change:
            done = sync(self._database, self.model, change, blocks, how)
        if done.changed or done.removed:
            self._fill()
        return done

    def update(self, id: str, question: str | None = None, payload: Mapping[str, Any] | None = None) -> bool:
        """Change a question, or values of its payload, or both. Return whether anything differed.

        Args:
            id: of a question of the archive.
            question: the new text; None leaves it.
            payload: values by name, as in `sync`; None leaves all.

        Raises:
            ArchiveError: there is no such id, or another process is writing.
        """
        with self._database.writing() as change:
            changed = update(self._database, self.model, change, id, question, payload)
        self._fill()
        return changed

    def remove(self, ids: Iterable[str]) -> None:
        """Remove the questions with these ids, all or none. Their texts, words and vectors are overwritten.

        Raises:
            ArchiveError: there is no such id (`position` is its place), or another process is writing.
        """
        with self._database.writing() as change:
            found: dict[int, tuple[str, str]] = {}
            for position, one in enumerate(ids):
                if (stored := self._database.stored("id", checked_id(one, position))) is None:
                    raise ArchiveError(f"no question has the id {one!r}", position)
                found[stored[0]] = stored[1:3]
            changes.remove(change, found)
            words.purge(change.connection)
        self._fill()

    def index(self, name: str) -> None:
        """Index a column of the payloads, for conditions on it in a large archive. Later changes keep the index.

        Raises:
            UserError: no question has a column of this name, or SQLite cannot ask for the name.
            ArchiveError: another process is writing.
        """
        with self._database.writing() as change:
            payloads.condition(change.connection, {name: None}, tables.columns(change.meta))
            payloads.index(change.connection, name)

    def _fill(self) -> None:
        # Every change begins by overwriting removed vectors. If another process writes first, it does that.
        with suppress(ArchiveError):
            self._database.fill()

    # Queries

    def get(self, id: str) -> str | None:
        """Return the question with an id, or None."""
        return found.question if (found := self.record(id)) else None

    def record(self, id: str) -> Record | None:
        """Return the question with an id and its payload, or None."""
        with self._database.reading():
            return records.one(self._database, checked_id(id))

    def records(
        self, where: Mapping[str, Any] | None = None, *, after: str | None = None, limit: int | None = None
    ) -> list[Record]:
        """Return questions with their payloads in the order of their ids, which are compared as text.

        Args:
            where: values that the payload must have, by name; None as a value: must not have. Numbers and booleans
                are compared as text. `index` makes conditions on a column fast.
            after: only those whose id is behind this one: the last one of the page before.
            limit: the most to return; None: all.

        Raises:
            UserError: no question has a column of this name, or the limit is below 1.
        """
        if limit is not None and limit < 1:
            raise UserError(f"limit {limit}: expected a whole number of 1 or more")
        with self._database.reading():
            return records.page(self._database, where or {}, after, limit)

    def export(self, out: str | Path, progress: Callable[[int, int], None] = lambda done, total: None) -> int:
        """Write all questions with ids and payloads to a file, atomically, from which `build` makes the same archive.

        Args:
            out: the file, whose ending names the format: .csv, .tsv, .jsonl or .parquet.
            progress: called with the number of questions done and of all.

        Returns:
            The number of questions.
        """
        return records.export(self._database, out, progress)

    def info(self) -> dict[str, Any]:
        """Return what the archive holds: counts, columns, model and kind of search by name, and bytes of its files."""
        with self._database.reading() as meta:
            unknown = self._database.execute("SELECT count(*) FROM blank JOIN questions USING (row)").fetchone()[0]
            indexed = payloads.indexed(self._database.connection)
        files = (self._database.folder / name for name in (DATABASE, WAL, VECTORS))
        return {
            "format": meta["format"], "questions": meta["questions"], "without_a_known_word": unknown,
            "rows": meta["rows"], "columns": tables.columns(meta), "indexed": indexed,
            "dimensions": meta["dimensions"], "model": self.name, "fingerprint": meta["fingerprint"], "search": SEARCH,
            "bytes": sum(path.stat().st_size for path in files if path.exists()),
        }  # fmt: skip

    def search(
        self, questions: Iterable[str] | Frame, k: int = 10, legs: str = "both", *,
        ids: Iterable[str | None] | None = None, threshold: float | None = None, prior: float | None = None,
        where: Mapping[str, Any] | None = None,
    ) -> list[list[Hit]]:  # fmt: skip
        """Return the k best questions of the archive for each query, best first: in the order of `Hit.score`.

        Args:
            questions: n queries.
            k: hits for each query; fewer if the archive is smaller or fewer questions share a word.
            legs: "vectors" ranks by similarity, "words" by BM25, "both" by their weighted sum. Similarity, probability
                and verdict never depend on it. Except by words, a model's verdict then puts those of the k best (10 if
                k is smaller) behind that differ in numbers, names and the like. A question whose text is the query's,
                once both are clean, comes first, with similarity 1.
            ids: n ids; a question of the archive with the query's id and text is not its hit, so that a file can be
                searched in its own archive. None: those of a DataFrame with a column `id`, else none are left out.
            threshold, prior: as in `SiameseModel.predict`; they change verdict and probability, not the order.
            where: values that the payload of every hit has, by name: the k best of these questions are found.

        Raises:
            UserError: k is below 1, `legs` is another word, threshold or prior are out of range, the number of ids is
                another than that of the questions, or no payload has a name of `where`.
        """
        asked, found = queries_of(questions, ids), list[list[Hit]]()
        how = How(k, legs, self.model.rule(threshold, prior), where or {})
        for start in range(0, len(asked), QUESTIONS_AT_A_TIME):
            part = asked[start : start + QUESTIONS_AT_A_TIME]
            vectors = self.model.encode([query.question for query in part])
            found += self._searcher.hits(part, vectors, how)
        return found
