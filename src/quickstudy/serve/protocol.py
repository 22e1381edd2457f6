"""What requests and answers of the Open Inference Protocol look like, for the schema at /openapi.json."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel


class Failure(BaseModel):
    """What was wrong, what was found and what to do."""

    error: str


class Server(BaseModel):
    """Metadata of the server, of the Open Inference Protocol."""

    name: str
    version: str
    extensions: list[str]


class Live(BaseModel):
    """Whether the server is alive."""

    live: bool


class Ready(BaseModel):
    """Whether the server, or a model, can be asked."""

    ready: bool


class NamedReady(Ready):
    """Whether a model can be asked."""

    name: str


class TensorTold(BaseModel):
    """One tensor that goes in or comes out; -1: of any size."""

    name: str
    datatype: str
    shape: list[int]


class Metadata(BaseModel):
    """Metadata of a model."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorTold]
    outputs: list[TensorTold]


class InputTensor(BaseModel):
    """One tensor: data is flat, or nested as its shape."""

    name: str
    shape: list[int]
    datatype: Literal["BOOL", "UINT8", "INT8", "INT16", "INT32", "INT64", "FP32", "FP64"]
    data: list[Any]
    parameters: dict[str, Any] | None = None


class Wanted(BaseModel):
    """One output that is asked for."""

    name: str
    parameters: dict[str, Any] | None = None


class Inference(BaseModel):
    """A question of the Open Inference Protocol."""

    id: str | None = None
    inputs: list[InputTensor]
    outputs: list[Wanted] | None = None
    parameters: dict[str, Any] | None = None


class OutputTensor(BaseModel):
    """One tensor that came out; data is flat."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Any]
    parameters: dict[str, Any] | None = None


class Inferred(BaseModel):
    """The answer."""

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[OutputTensor]
