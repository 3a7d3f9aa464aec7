"""Train v1, a small PyTorch network that has seen few images, and pack it with torch-model-archiver.

Usage: python train_torch.py OUT_DIR        writes OUT_DIR/model.mar
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import digits
import torch
from digit_cnn import DigitCNN
from torch.nn.functional import cross_entropy

HERE = Path(__file__).parent
IMAGES, EPOCHS = 150, 12  # few: v2 has something to be better at


def fit(images: int = IMAGES, epochs: int = EPOCHS) -> tuple[DigitCNN, float]:
    """Return the network and its accuracy on the held-out images."""
    torch.set_num_threads(
        1
    )  # batches this small only wait for each other's threads, most of all beside other trainings
    torch.manual_seed(1)
    learn, held_out = digits.load()
    model, pixels, labels = DigitCNN(), torch.from_numpy(learn.images[:images]), torch.from_numpy(learn.labels[:images])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(epochs):
        for batch in torch.split(torch.randperm(len(pixels)), 64):
            optimizer.zero_grad()
            cross_entropy(model(pixels[batch]), labels[batch]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    with torch.inference_mode():
        probabilities = model.eval()(torch.from_numpy(held_out.images)).softmax(dim=1)
    return model, digits.accuracy(probabilities.numpy(), held_out.labels)


def archive(model: DigitCNN, handler: Path, version: str, out: Path) -> Path:
    """Write out/model.mar with the network's code, its weights and a handler; return its path."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:  # the archiver wipes TMPDIR/NAME: nobody else's, please
        weights = Path(scratch, "weights.pt")
        torch.save(model.state_dict(), weights)
        archiver = shutil.which("torch-model-archiver", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
        command = [archiver or "torch-model-archiver", "--model-name", "model", "--version", version, "--force"]
        command += ["--model-file", str(HERE / "digit_cnn.py"), "--serialized-file", str(weights)]
        command += ["--handler", str(handler), "--export-path", str(out)]
        subprocess.run(command, check=True, env=os.environ | {"TMPDIR": scratch})
    return out / "model.mar"


if __name__ == "__main__":
    network, share = fit()
    path = archive(network, HERE / "digits_handler.py", "1.0", Path(sys.argv[1]))
    print(f"{path}: {share:.1%} of the held-out digits right")
