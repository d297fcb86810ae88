"""What the service is asked and what it answers: the shapes of the JSON, with their limits and an example each."""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from siamese.service.limits import HITS, ID, QUESTION, QUESTIONS, SEARCHES

Question = Annotated[str, Field(max_length=QUESTION, examples=["How do I reset my password?"])]
Pair = Annotated[list[Question], Field(min_length=2, max_length=2)]
Id = Annotated[str, Field(min_length=1, max_length=ID)]
# JSON has one kind of number: 3.0 is a whole one, as its schema says
Whole = Annotated[int, BeforeValidator(lambda k: int(k) if type(k) is float and k.is_integer() else k)]
PASSWORD = ["How do I reset my password?", "I forgot my password, what now?"]


class Asked(BaseModel):
    """A request: no conversion of types, no unknown names, no infinite numbers."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class PredictRequest(Asked):
    """Two questions."""

    question1: Question = Field(examples=PASSWORD[:1])
    question2: Question = Field(examples=PASSWORD[1:])
    threshold: float | None = Field(None, ge=0, le=1, description="instead of the model's own", examples=[0.8])
    prior: float | None = Field(
        None, gt=0, lt=1, description="the share of duplicates among the pairs that are met", examples=[0.05]
    )


class Verdict(BaseModel):
    """Duplicates are pairs of a similarity above the threshold."""

    is_duplicate: bool
    similarity: float = Field(ge=-1, le=1, description="cosine of the two questions' vectors", examples=[0.94])
    threshold: float = Field(ge=0, le=1, examples=[0.787])
    probability: float = Field(ge=0, le=1, description="of being duplicates", examples=[0.86])


class Word(BaseModel):
    """A word of a question, as the model cuts it."""

    text: str = Field(examples=["password"])
    known: bool = Field(description="in the model's vocabulary")
    share: float | None = Field(
        description="what the similarity loses without this word; null in long questions", examples=[0.31]
    )


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
    threshold: float = Field(description="the model's own", examples=[0.787])


class EncodeRequest(Asked):
    """Questions."""

    questions: list[Question] = Field(max_length=QUESTIONS, examples=[PASSWORD])


class EncodeAnswer(BaseModel):
    """A vector of length 1 for each question; zeros where no word is known."""

    vectors: list[list[float]] = Field(examples=[[[0.6, -0.8], [0.8, -0.6]]])


class SearchRequest(Asked):
    """Questions to look for in the archive."""

    questions: list[Question] = Field(max_length=SEARCHES, examples=[PASSWORD[1:]])
    k: Whole = Field(10, ge=1, le=HITS, description="answers to each question")
    legs: Literal["both", "vectors", "words"] = Field("both", description="find by meaning, by words (BM25), or both")


class Hit(BaseModel):
    """A question of the archive."""

    id: str
    question: str
    similarity: float = Field(ge=-1, le=1)
    probability: float = Field(ge=0, le=1)
    is_duplicate: bool


class SearchAnswer(BaseModel):
    """For each question what was found, best first."""

    hits: list[list[Hit]]
    threshold: float = Field(description="the model's own", examples=[0.787])
    search: Literal["exact"] = Field(description="a question is compared with all questions of the archive")


class AddRequest(Asked):
    """Questions to add; all of them are added, or none."""

    questions: list[Question] = Field(min_length=1, max_length=QUESTIONS, examples=[PASSWORD])
    ids: list[Id] | None = Field(
        None,
        min_length=1,
        max_length=QUESTIONS,
        description="as many; without, numbers are given",
        examples=[["faq-1", "faq-2"]],
    )


class AddAnswer(BaseModel):
    """The ids of the questions, in their order."""

    ids: list[str] = Field(examples=[["faq-1", "faq-2"]])


class Health(BaseModel):
    """What runs here."""

    status: Literal["ok"]
    version: str
    threshold: float = Field(examples=[0.787])
    archive: int | None = Field(description="questions in the archive; null without one", examples=[9])
    writing: bool = Field(description="whether questions can be added and removed, with the token")


class Problem(BaseModel):
    """Why a request was not served."""

    detail: str
