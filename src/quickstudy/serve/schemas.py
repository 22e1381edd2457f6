"""What requests and answers look like, for the schema at /openapi.json: what programs are made from."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Problem(BaseModel):
    """code: names the reason, for programs. message: what was wrong, what was found, what to do."""

    code: str
    message: str


class Refusal(BaseModel):
    """Why a request was not done."""

    error: Problem


class FormatTold(BaseModel):
    """kind: of records. Further fields are the format's own, such as the size of pictures."""

    model_config = ConfigDict(extra="allow")
    kind: Literal["image", "sound", "text", "table", "series", "numbers"]
    what: str


class StartTold(BaseModel):
    """What models can be made from. learns: whether they can."""

    name: str
    format: FormatTold
    target: Literal["classes", "numbers"]
    learns: bool


class About(StartTold):
    """The server, and the start that is meant where none is named. token: whether one must be given."""

    server: str
    version: str
    token: bool
    starts: list[StartTold]
    downloads: list[Literal["model", "onnx", "web"]]
    limits: dict[str, float]


class ExampleTold(BaseModel):
    """An example: with the address of its picture, or with what it says."""

    id: str
    label: str | float | None
    picture: str | None = None
    text: str | None = None


class Estimate(BaseModel):
    """How often the model is right, with the ends of an interval; or why nobody knows."""

    mean: float | None = None
    low: float | None = None
    high: float | None = None
    level: float | None = None
    note: str | None = None
    why: str | None = None


class State(BaseModel):
    """A model. fixed: nobody can change it. versions: how many changes can be undone."""

    id: str
    name: str
    start: str
    fixed: bool
    names: list[str]
    examples: list[ExampleTold]
    versions: int
    estimate: Estimate | None = None


class ModelTold(BaseModel):
    """A model in a list. damaged: its file cannot be read, so that it can only be deleted, or restored from a copy."""

    id: str
    name: str
    start: str
    made: str
    fixed: bool
    damaged: bool = False


class Listed(BaseModel):
    """All models, the newest first."""

    models: list[ModelTold]


class Deleted(BaseModel):
    """The model that is gone."""

    id: str


class Near(BaseModel):
    """A support example that is near; similarity: the cosine about the mean of all, 1 at most."""

    id: str
    similarity: float


class Answer(BaseModel):
    """Of classes: the likeliest, all probabilities, how likely the record is of one of them at all (known), whether it
    is taken for none (refused), the nearest examples. Of numbers: the value, its spread, the ends of an interval."""

    label: str | None = None
    probabilities: dict[str, float] | None = None
    known: float | None = None
    refused: bool | None = None
    set: list[str] | None = None
    nearest: list[Near] | None = None
    value: float | None = None
    spread: float | None = None
    low: float | None = None
    high: float | None = None


class Answers(BaseModel):
    """One for each record, in their order."""

    answers: list[Answer]


class Scored(BaseModel):
    """How good a model is. text: in a sentence; further fields as `quickstudy score --out` writes them."""

    model_config = ConfigDict(extra="allow")
    text: str


class FileSent(BaseModel):
    """A file in base64."""

    model_config = ConfigDict(extra="forbid")
    file: str
    name: str | None = None


Record = FileSent | str | list[Any] | dict[str, Any]


class Body(BaseModel):
    """What is sent, and nothing else: a field that means nothing is refused."""

    model_config = ConfigDict(extra="forbid")


class Sent(Body):
    """Records: files in base64, texts, rows, or lists of numbers, as the format takes them; and a label for each, or
    one for all."""

    records: list[Record]
    labels: list[str | float] = Field(default_factory=list)


class Asked(Body):
    """false_alarms: the share of inputs of the classes that may be taken for none. coverage: of sets or intervals.
    steps: of a series."""

    records: list[Record] = Field(default_factory=list)
    false_alarms: float | None = Field(default=None, gt=0, lt=1)
    coverage: float | None = Field(default=None, gt=0, lt=1)
    steps: int | None = Field(default=None, ge=1, le=10_000)


class Made(Body):
    """start: one of those that /api/about names. name: for people."""

    start: str | None = None
    name: str | None = Field(default=None, max_length=100)
    records: list[Record] = Field(default_factory=list)
    labels: list[str | float] = Field(default_factory=list)


class Named(BaseModel):
    """Another name for a class."""

    name: str


class Form(Body):
    """The same as a form: files (or records, which are texts) and labels are repeated."""

    files: list[bytes] = Field(default_factory=list)
    records: list[str] = Field(default_factory=list)
    labels: list[str] = Field(default_factory=list)


class AskedForm(Form):
    """A question as a form."""

    false_alarms: float | None = Field(default=None, gt=0, lt=1)
    coverage: float | None = Field(default=None, gt=0, lt=1)
    steps: int | None = Field(default=None, ge=1, le=10_000)


class MadeForm(Form):
    """A new model as a form."""

    start: str | None = None
    name: str | None = None
