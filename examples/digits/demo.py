"""Three models, one endpoint, as an outsider would do it: S3 to drop, HTTPS to call, the command line to start.

v1 (PyTorch) goes live, v2 (Keras, better) is promoted, v3 (broken) is rolled back, all under a steady load.
Ends with status 0 only if that is what happened and no request failed.
"""

import argparse
import json
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import digits
import httpx
from botocore.exceptions import BotoCoreError, ClientError
from drop import drop, uploader
from load import Answer, Load, by_version
from outcome import Dropped, Outcome, as_table, shortfalls
from picture import Moment, Scene, draw, save
from platform_here import Connection, Control, Platform, Stopped, free_port, minio_is_at_hand
from rich.console import Console
from rich.markup import escape
from rollout import ENDPOINT, NotRolledOut, Watch
from training import TrainingFailed, Trainings

NAMES = {"v1": "v1 · PyTorch", "v2": "v2 · Keras", "v3": "v3 · broken"}
RATE = 60.0  # requests a second: 5 % of it are 3 a second
QUIET_MOMENT_S = 3.0  # of load between two drops, so that the picture can breathe
ROLLOUT = ("--step-time", "4", "--min-requests", "30", "--keep-warm", "30", "--quiet-period", "2")


class Story:
    """Says what happens, with the time since the start; what is waited for shows in a spinner on a terminal."""

    def __init__(self) -> None:
        self.console = Console(highlight=False)
        self.began = time.monotonic()
        self._waiting = ""

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    def say(self, text: str, style: str = "") -> None:
        self.console.print(f"[dim]{self.seconds:6.1f} s[/]  {text}", style=style, soft_wrap=True)

    @contextmanager
    def waiting(self, what: str) -> Iterator["Story"]:
        self._what = what
        with self.console.status(what) as self._spinner:
            yield self

    def tell(self, state: str) -> None:
        """Show a state that is waited in: in the spinner, or as a line when more than its numbers changed."""
        self._spinner.update(f"{self._what}: {state}")
        line = f"{self._what}: {state.partition(' (')[0]}"
        if line != self._waiting and not self.console.is_terminal:
            self.say(line, style="dim")
        self._waiting = line


class Demo:
    """The three drops under load. `answers`, `moments` and `drops` are what there is to show afterwards."""

    def __init__(self, story: Story, platform: Platform, connection: Connection, trainings: Trainings) -> None:
        self.story, self.platform, self.trainings = story, platform, trainings
        self.s3 = uploader(platform.home / "aws-credentials")
        self.load = self._load(connection)
        self.watch = Watch(Control(connection), platform, lambda: self.load.elapsed)
        self.moments: list[Moment] = []
        self.drops: list[Dropped] = []
        self.answers: Sequence[Answer] = ()

    def play(self) -> None:
        """Drop the three versions one after another, the second and third under load."""
        self.roll_out("v1")
        self._trained("v2")
        self.load.start()
        try:
            self.story.say(f"load: {RATE:.0f} digits a second over HTTPS")
            for version in ("v2", "v3"):
                time.sleep(QUIET_MOMENT_S)
                self.roll_out(version)
            time.sleep(QUIET_MOMENT_S)
        finally:
            self.answers = self.load.stop()

    def roll_out(self, version: str) -> None:
        """Drop a version and wait for its rollout's end."""
        self.story.say(f"{version}: trained, {self._trained(version)}")
        dropped_at = self._drop(version)
        with self.story.waiting(version):
            ended = self.watch.until_ended(version, self.story.tell)
        took = self.story.seconds - dropped_at
        self._note(Moment(self.load.elapsed, f"{version} {_end(ended['phase'])}"))
        style = "green" if ended["phase"] == "promoted" else "yellow"
        self.story.say(
            f"[{style}]{version}: {ended['phase'].replace('_', ' ')}[/] after {took:.1f} s: {ended['reason']}"
        )
        self.drops.append(Dropped(version, self.watch.format_of(version), ended["phase"], ended["reason"], took))

    def _trained(self, version: str) -> str:
        with self.story.waiting(f"{version}: training"):
            return self.trainings.result(version)

    def _drop(self, version: str) -> float:
        self._note(Moment(self.load.elapsed, f"{version} dropped", is_drop=True))
        with self.story.waiting(f"{version}: dropping"):
            order = random.Random()  # noqa: S311 - of files, no secret
            drop(self.s3, self.trainings.artifact(version), f"{ENDPOINT}/{version}", order, self.story.tell)
        self.story.say(f"{version}: dropped at s3://drop/{ENDPOINT}/{version}/")
        return self.story.seconds

    def _note(self, moment: Moment) -> None:
        if self.load.is_running:  # the picture begins with the load
            self.moments.append(moment)

    def _load(self, connection: Connection) -> Load:
        _, held_out = digits.load()
        key = self.platform.run("keys", "make", "demo load", "--scope", f"predict:{ENDPOINT}").strip()
        url = f"{connection.url}/v1/endpoints/{ENDPOINT}/predict"
        return Load(url=url, ca=connection.ca, key=key, questions=held_out, rate=RATE)


def _end(phase: str) -> str:
    return phase.replace("_", " ")


def picture_of(demo: Demo, out: Path) -> list[Path]:
    """Draw what happened and return the files."""
    if not demo.answers:
        return []
    tallies = by_version(demo.answers)
    failed = sum(tally.failed for tally in tallies.values())
    ends = [f"{each.version} {_end(each.phase)}" for each in demo.drops if each.version != "v1"]
    right = ", ".join(f"{version} {seen.accuracy:.1%}" for version, seen in tallies.items() if version in {"v1", "v2"})
    scene = Scene(
        answers=demo.answers,
        moments=demo.moments,
        splits=demo.watch.splits,
        names=NAMES,
        headline=f"{', '.join(ends)}: {failed} of {len(demo.answers):,} requests failed",
        subtitle=f"Handwritten digits, {RATE:.0f} requests a second over HTTPS. Right answers: {right}.",
    )
    return save(draw(scene), out)


def run(arguments: argparse.Namespace, story: Story, work: Path) -> int:
    """Play the demo with a platform of its own; return the exit status."""
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    store = arguments.store if arguments.store != "auto" else "minio" if minio_is_at_hand() else "embedded"
    story.say(f"starting the platform on the {store} store, and training three models meanwhile")
    ports = ("--port", str(free_port()), "--s3-port", str(free_port()))
    trainings = Trainings(work).start()
    platform = Platform(work / "home", out / "platform.log", ["--store", store, *ports, *ROLLOUT])
    try:
        with story.waiting("platform"):
            connection = platform.wait_ready(story.tell)
        story.say(f"the platform is ready at {connection.url}")
        for note in platform.notes():
            story.say(note)
        demo = Demo(story, platform, connection, trainings)
        demo.play()
        if arguments.keep:
            keep(story, platform, connection)
    except (NotRolledOut, BotoCoreError, ClientError, httpx.HTTPError) as problem:
        raise Stopped(f"{problem}\nThe platform's log ends with:\n{platform.tail()}") from problem
    finally:
        trainings.stop()
        left_behind = platform.stop()
    outcome = Outcome(
        store=store,
        seconds=story.seconds,
        drops=demo.drops,
        tallies=by_version(demo.answers),
        errors=sorted({answer.error for answer in demo.answers if answer.error}),
        left_behind=left_behind,
        pictures=picture_of(demo, out),
    )
    return conclude(story, outcome, out / "summary.json")


def conclude(story: Story, outcome: Outcome, summary: Path) -> int:
    """Say what came of it, write it down, and return the exit status."""
    summary.write_text(json.dumps(outcome.as_json(), indent=2) + "\n")
    story.console.print()
    story.console.print(as_table(outcome))
    for each in outcome.drops:
        story.console.print(f"{each.version} {_end(each.phase)}: {escape(each.reason)}")
    story.console.print(f"{outcome.requests:,} requests, {outcome.failed} failed; {outcome.seconds:.0f} s in all")
    for path in (*outcome.pictures, summary):
        story.console.print(f"  {path}", soft_wrap=True)
    for problem in shortfalls(outcome):
        story.console.print(f"[red]Not as promised:[/] {escape(problem)}", soft_wrap=True)
    return 1 if shortfalls(outcome) else 0


def keep(story: Story, platform: Platform, connection: Connection) -> None:
    """Leave the platform running until Ctrl-C."""
    story.console.print(
        f"\nThe platform stays at {connection.url} until Ctrl-C. In another terminal:\n"
        f"  modeldrop --home {platform.home} status\n"
        f"  AWS_SHARED_CREDENTIALS_FILE={platform.home}/aws-credentials aws --profile modeldrop s3 ls s3://drop/\n",
        soft_wrap=True,
    )
    try:
        while True:
            platform.check()
            time.sleep(1)
    except KeyboardInterrupt:
        story.say("stopping")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", choices=("auto", "embedded", "minio"), default="auto")
    parser.add_argument("--keep", action="store_true", help="leave the platform running until Ctrl-C")
    parser.add_argument("--out", type=Path, default=Path("demo-output"), help="folder for picture, summary and log")
    arguments = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is stopped
    story, work = Story(), Path(tempfile.mkdtemp(prefix="modeldrop-demo-"))
    try:
        return run(arguments, story, work)
    except (Stopped, TrainingFailed) as problem:
        story.console.print(f"\n[red]The demo did not come out:[/] {escape(str(problem))}", soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        story.say("interrupted; everything is stopped")
        return 130
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
