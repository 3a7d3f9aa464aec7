"""Build the serving image's CPU targets and run the contract suite against their containers: `make image-test`.

Docker does it where its daemon answers, else Podman and Buildah; root on a machine with apt gets what is missing.
Layers are kept, so that a second run builds only what changed.
"""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tools.image_base import NoBaseError, find_base
from tools.image_engine import WITHOUT_DAEMON, Engine, find_engine, have

ROOT = Path(__file__).parents[1]
CONTEXT = ROOT / "serving_image"
TARGETS = {"tensorflow": "tensorflow-cpu", "pytorch": "pytorch-cpu"}
SUITE = ("tests/serving_image/test_serving_contracts.py", "tests/serving_image/test_serving_container.py")
FREE_GB = 15


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default=os.environ.get("BASE"), help="the image to build on")
    parser.add_argument(
        "--torch-cpu-index", default=os.environ.get("TORCH_CPU_INDEX", ""), help="has Torch for the CPU"
    )
    parser.add_argument("--build-only", action="store_true", help="run no tests")
    options = parser.parse_args()
    try:
        return build_and_test(options)
    except NoBaseError as error:
        return refuse(str(error))
    except subprocess.CalledProcessError as error:
        return refuse(f"`{' '.join(map(str, error.cmd))}` failed; it says why above")


def build_and_test(options: argparse.Namespace) -> int:
    engine = find_engine() or (find_engine() if have(*WITHOUT_DAEMON) else None)
    if engine is None:
        return refuse(f"no Docker daemon answers; install {', '.join(WITHOUT_DAEMON)} (root with apt has it done)")
    if shutil.disk_usage("/").free < FREE_GB * 10**9:
        return refuse(f"images take some GB: less than {FREE_GB} GB are free")
    base = options.base or find_base(engine, CONTEXT / "Dockerfile")
    images = {kind: build(engine, target, base, options.torch_cpu_index) for kind, target in TARGETS.items()}
    print("\n".join(f"{image}: {size_mb(engine, image)} MB" for image in images.values()), flush=True)
    return 0 if options.build_only else suite(images)


def refuse(why: str) -> int:
    print(f"image-test: {why}", file=sys.stderr)
    return 2


def build(engine: Engine, target: str, base: str, torch_cpu_index: str) -> str:
    """Build one target, with its progress on our output; what fails ends the run."""
    image = f"localhost/modeldrop-serving:{target}"
    arguments = {"BASE": base, "TORCH_CPU_INDEX": torch_cpu_index}
    print(f"==> Building {image} on {base}", flush=True)
    subprocess.run(engine.build_target(CONTEXT, target=target, tag=image, arguments=arguments), check=True)
    return image


def size_mb(engine: Engine, image: str) -> int:
    said = subprocess.run(
        [*engine.other, "image", "inspect", "--format", "{{.Size}}", image], check=True, capture_output=True, text=True
    )
    return int(said.stdout) // 10**6


def suite(images: Mapping[str, str]) -> int:
    named = ",".join(f"{kind}={image}" for kind, image in images.items())
    print(f"==> Running the contract suite with MODELDROP_TEST_IMAGES={named}", flush=True)
    command = [sys.executable, "-m", "pytest", *SUITE]
    return subprocess.run(command, check=False, cwd=ROOT, env={**os.environ, "MODELDROP_TEST_IMAGES": named}).returncode


if __name__ == "__main__":
    sys.exit(main())
