"""FastAPI as its tutorial writes it: a pydantic model for the body, a plain function, lists out."""

from typing import Any

from fastapi import FastAPI
from forward import decode, load
from pydantic import BaseModel


class Instances(BaseModel):
    instances: list[Any]


app = FastAPI()
forward = load()


@app.post("/predict")
def predict(body: Instances) -> dict[str, Any]:
    return {"predictions": forward(decode(body.instances)).tolist()}
