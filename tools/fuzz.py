"""Fuzz the readers of uploads, guided by coverage: `python tools/fuzz.py zips pickles --seconds 600`.

Without names all targets are fuzzed, one after the other. What broke one is left in the folder of --keep, as are inputs
that reached something new; they are where the next run begins. The exit status is 1 when a target broke.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[1]))
with atheris.instrument_imports(include=["chalicelib.domain"]):
    from tests.fuzz.seeds import write_seeds
    from tests.fuzz.targets import TARGETS

MEMORY = 2**30  # bytes of address space: what a process has before it reads anything is most of it
HELD_MB = 512
HANGS_AFTER_S = 10
LONGEST = 60_000  # bytes of an input


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", choices=[*TARGETS, []], help="all when none is named")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--seed", type=int, default=0, help="0: another one at each run")
    parser.add_argument("--keep", type=Path, help="a folder for inputs, one below it for each target")
    options = parser.parse_args()
    targets = options.targets or list(TARGETS)
    with tempfile.TemporaryDirectory() as scratch:
        keep = options.keep or Path(scratch)
        if len(targets) == 1:
            fuzz(targets[0], keep / targets[0], options.seconds, options.seed)
        return max(again(target, keep, options) for target in targets)


def again(target: str, keep: Path, options: argparse.Namespace) -> int:
    """Fuzz one target in a process of its own: fuzzing ends the process."""
    print(f"==> {target}", flush=True)
    times = ["--seconds", str(options.seconds), "--seed", str(options.seed)]
    done = subprocess.run([sys.executable, __file__, target, *times, "--keep", str(keep)], check=False)
    return int(done.returncode != 0)


def fuzz(target: str, folder: Path, seconds: int, seed: int) -> None:
    """Fuzz until the time is over, and end the process: with 0 when nothing broke."""
    folder.mkdir(parents=True, exist_ok=True)
    write_seeds(target, folder)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    bounds = [f"-timeout={HANGS_AFTER_S}", f"-rss_limit_mb={HELD_MB}", f"-max_len={LONGEST}"]
    times = [f"-max_total_time={seconds}", f"-seed={seed}", "-print_final_stats=1", "-verbosity=0"]
    atheris.Setup([sys.argv[0], *times, *bounds, f"-artifact_prefix={folder}/broke-", str(folder)], TARGETS[target])
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
