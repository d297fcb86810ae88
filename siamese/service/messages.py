"""The JSON of requests and answers, with limits and an example of each."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from siamese.service.limits import COLUMN, COLUMNS, HITS, ID, QUESTION, QUESTIONS, SEARCHES, VALUE

Question = Annotated[str, Field(max_length=QUESTION, examples=["How do I reset my password?"])]
Pair = Annotated[list[Question], Field(min_length=2, max_length=2)]
Id = Annotated[str, Field(min_length=1, max_length=ID)]
Threshold = Annotated[
    float | None, Field(ge=0, le=1, description="of the similarity, which then decides alone", examples=[0.8])
]
Prior = Annotated[float | None, Field(gt=0, lt=1, description="share of duplicates among your pairs", examples=[0.05])]
# JSON has a single number type, so its schema accepts 3.0 as an integer.
Whole = Annotated[int, BeforeValidator(lambda k: int(k) if type(k) is float and k.is_integer() else k)]
EXACT = 2**53  # beyond it, readers of JSON round whole numbers
Value = Annotated[str, Field(max_length=VALUE)] | bool | Annotated[int, Field(ge=-EXACT, le=EXACT)] | float | None
Name = Annotated[str, Field(min_length=1, max_length=COLUMN)]
Payload = Annotated[
    dict[Name, Value],
    Field(max_length=COLUMNS, description="further columns by name", examples=[{"product": "printer"}]),
]
PASSWORD = ["How do I reset my password?", "I forgot my password, what now?"]


@dataclass(frozen=True)
class Defaults:
    """What holds for requests that do not say it."""

    threshold: float | None = None
    prior: float | None = None
    where: Mapping[str, str] = field(default_factory=dict)

    def judging(self, asked: "PredictRequest | BatchRequest | SearchRequest") -> tuple[float | None, float | None]:
        """Return threshold and prior for a request."""
        return (
            self.threshold if asked.threshold is None else asked.threshold,
            self.prior if asked.prior is None else asked.prior,
        )


class Asked(BaseModel):
    """Base of all requests: converts no types, and accepts no unknown fields and no infinite numbers."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class PredictRequest(Asked):
    """Two questions."""

    question1: Question = Field(examples=PASSWORD[:1])
    question2: Question = Field(examples=PASSWORD[1:])
    threshold: Threshold = None
    prior: Prior = None


class Difference(BaseModel):
    """Words in which two questions differ."""

    kind: str = Field(description="numbers, names, opposites and the like", examples=["numbers"])
    first: str = Field(description="words of the first question; empty if only the second has any", examples=["1603"])
    second: str = Field(examples=["1722"])


class Verdict(BaseModel):
    """The verdict on a pair. Without differences, it is a duplicate if its similarity is above the threshold."""

    is_duplicate: bool
    similarity: float = Field(ge=-1, le=1, description="cosine of the two questions' vectors", examples=[0.94])
    threshold: float = Field(ge=0, le=1, description="of the similarity", examples=[0.787])
    probability: float = Field(ge=0, le=1, description="of being duplicates", examples=[0.86])
    differences: list[Difference] = Field(description="of what a vector blurs; empty if the model has no verdict")


class Word(BaseModel):
    """A word of a question, as the model's tokenizer splits it."""

    text: str = Field(examples=["password"])
    known: bool = Field(description="whether the word is in the model's vocabulary")
    share: float | None = Field(description="similarity lost without it; null in long questions", examples=[0.31])


class ExplainAnswer(Verdict):
    """A verdict, and the words of both questions."""

    words1: list[Word]
    words2: list[Word]


class SimilarityRequest(Asked):
    """Pairs of questions."""

    pairs: list[Pair] = Field(max_length=QUESTIONS, examples=[[PASSWORD, ["Where is my invoice?", PASSWORD[0]]]])


class SimilarityAnswer(BaseModel):
    """The cosine of each pair."""

    similarities: list[float] = Field(examples=[[0.94, 0.12]])
    threshold: float = Field(description="the model's", examples=[0.787])


class BatchRequest(Asked):
    """Pairs of questions to decide on."""

    pairs: list[Pair] = Field(max_length=QUESTIONS, examples=[[PASSWORD, ["Where is my invoice?", PASSWORD[0]]]])
    threshold: Threshold = None
    prior: Prior = None


class BatchAnswer(BaseModel):
    """The verdict on each pair, in the same order."""

    verdicts: list[Verdict]


class EncodeRequest(Asked):
    """Questions to encode."""

    questions: list[Question] = Field(max_length=QUESTIONS, examples=[PASSWORD])


class EncodeAnswer(BaseModel):
    """A vector of length 1 for each question, or a zero vector if the model knows none of its words."""

    vectors: list[list[float]] = Field(examples=[[[0.6, -0.8], [0.8, -0.6]]])


class SearchRequest(Asked):
    """Questions to look for in the archive."""

    questions: list[Question] = Field(max_length=SEARCHES, examples=[PASSWORD[1:]])
    k: Whole = Field(10, ge=1, le=HITS, description="number of hits for each question")
    legs: Literal["both", "vectors", "words"] = Field("both", description="search by meaning, by words (BM25) or both")
    threshold: Threshold = None
    prior: Prior = None
    where: Payload = Field({}, description="values that the payload of a hit must have; null: none", examples=[{}])


class Hit(BaseModel):
    """A question of the archive."""

    id: str
    question: str
    score: float = Field(description="what orders the hits")
    similarity: float = Field(ge=-1, le=1)
    probability: float = Field(ge=0, le=1)
    is_duplicate: bool
    differences: list[Difference]
    payload: dict[str, Any] = Field(description="further columns of the question")


class SearchAnswer(BaseModel):
    """The hits for each question, best first."""

    hits: list[list[Hit]]
    threshold: float = Field(description="of the similarity", examples=[0.787])
    search: Literal["exact"] = Field(description="every question of the archive was compared")


class AddRequest(Asked):
    """Questions to add: all of them, or none."""

    questions: list[Question] = Field(min_length=1, max_length=QUESTIONS, examples=[PASSWORD])
    ids: list[Id] | None = Field(
        None, min_length=1, max_length=QUESTIONS, examples=[["faq-1", "faq-2"]],
        description="one id for each question; without ids the archive numbers the questions",
    )  # fmt: skip
    payloads: list[Payload] | None = Field(
        None, max_length=QUESTIONS, description="one for each question", examples=[[{"product": "shop"}, {}]]
    )


class AddAnswer(BaseModel):
    """The ids of the added questions, in the same order."""

    ids: list[str] = Field(examples=[["faq-1", "faq-2"]])


class PutRequest(Asked):
    """A question as it shall be."""

    question: Question
    payload: Payload | None = Field(
        None, description="replaces what the question had; without it, that stays", examples=[{"product": "printer"}]
    )


class PutAnswer(BaseModel):
    """What was done."""

    done: Literal["added", "changed", "unchanged"]


class Record(BaseModel):
    """A question of the archive."""

    id: str = Field(examples=["faq-1"])
    question: str
    payload: dict[str, Any] = Field(description="further columns of the question", examples=[{"product": "printer"}])


class Page(BaseModel):
    """Some of the questions, in the order of their ids."""

    questions: list[Record]
    next: str | None = Field(description="to give as after for the next page; null after the last", examples=[None])


class Decided(Asked):
    """What somebody decided about two questions."""

    question1: Question = Field(examples=PASSWORD[:1])
    question2: Question = Field(examples=PASSWORD[1:])
    answer: Literal["duplicate", "different", "unsure", "undo"] = Field(
        description="undo takes an earlier decision about these questions back", examples=["duplicate"]
    )


class DecisionsRequest(Asked):
    """Decisions to keep: all of them, or none."""

    decisions: list[Decided] = Field(
        min_length=1, max_length=QUESTIONS,
        examples=[[{"question1": PASSWORD[0], "question2": PASSWORD[1], "answer": "duplicate"}]],
    )  # fmt: skip
    by: str = Field("", max_length=ID, description="who decided", examples=["Anna"])


class DecisionsAnswer(BaseModel):
    """How many decisions were written."""

    written: int = Field(examples=[1])


class About(BaseModel):
    """The model that answers."""

    name: str | None = Field(description="null if it was made without one", examples=["pretrained"])
    licence: str | None = Field(description="of its weights; null if none is known", examples=["CC BY-SA 4.0"])
    card: str | None = Field(description="its README.md, in Markdown; null without one", examples=["# A model"])
    dimensions: int = Field(description="of a question's vector", examples=[256])
    threshold: float = Field(description="of the similarity", examples=[0.787])


class Health(BaseModel):
    """The state of the service."""

    status: Literal["ok"]
    version: str
    threshold: float = Field(examples=[0.787])
    archive: int | None = Field(description="number of questions in the archive; null without one", examples=[9])
    writing: bool = Field(description="whether the token allows adding and removing questions")


class Ready(BaseModel):
    """The service can be asked."""

    status: Literal["ready"]


class Problem(BaseModel):
    """Why a request failed."""

    detail: str
