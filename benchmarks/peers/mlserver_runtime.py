"""MLServer's custom runtime: the Open Inference Protocol in and out."""

import numpy as np
from forward import decode, load
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Runtime(MLModel):
    async def load(self) -> bool:
        self.forward = load()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        given = payload.inputs[0]
        if given.datatype == "BYTES":
            rows = decode([{"b64": text} for text in given.data])
        else:
            rows = NumpyCodec.decode_input(given).astype(np.float32, copy=False)
        output = NumpyCodec.encode_output("predictions", self.forward(rows))
        return InferenceResponse(model_name=self.name, outputs=[output])
