"""FastAPI as one would write it for speed: orjson both ways, the forward on the loop, no schema between."""

import orjson
from fastapi import FastAPI, Request, Response
from forward import decode, load

app = FastAPI()
forward = load()


@app.post("/predict")
async def predict(request: Request) -> Response:
    rows = decode(orjson.loads(await request.body())["instances"])
    body = orjson.dumps({"predictions": forward(rows)}, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(body, media_type="application/json")
