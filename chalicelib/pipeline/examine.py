"""Examine a canary: ask it, past the split, what its `golden.jsonl` has the answers to, a slice at each wake-up.

What was marked is written on the condition that nobody else wrote: a repeated wake-up goes on where the last one that
was recorded stopped, and asks at most one slice of lines again.
"""

import json
from dataclasses import replace
from datetime import datetime

from chalicelib.domain import custom_attributes
from chalicelib.domain.errors import Rejected
from chalicelib.domain.exam import Exam, compared, ended, marked
from chalicelib.domain.golden import FILE, Golden, Line, parse_golden
from chalicelib.domain.invocation import Busy, Call, NoAnswer, Reply
from chalicelib.domain.predict_body import JSON
from chalicelib.domain.rollout import Rollout
from chalicelib.domain.transition import Transition
from chalicelib.domain.version import Version
from chalicelib.pipeline.ports import Ports
from chalicelib.pipeline.records import Stored
from chalicelib.pipeline.transitions import of_rollout
from chalicelib.pipeline.wakeups import wake_endpoint

PATIENCE = 20.0  # seconds for one answer
STABLE_PATIENCE = 2.0  # it has its traffic to answer
COMPARED = 50  # lines that stable is asked, too


def exam_of(version: Version) -> Exam | None:
    """Return the exam that a version's canary has before it; None without a golden.jsonl."""
    return Exam() if any(file.path == FILE for file in version.files) else None


def examine(rollout: Stored[Rollout], ports: Ports) -> None:
    """Ask the next lines for as long as a wake-up may, and record the marks; raises Conflict.

    While a cloud takes no calls nothing is marked, and the next look comes at its own pace.
    """
    exam = rollout.value.exam or Exam()
    try:
        golden = parse_golden(ports.store.get(rollout.value.canary.store_prefix + FILE) or b"")
    except Rejected as error:  # a version of before such files were read at validation
        after = replace(exam, is_done=True, failure=str(error).removeprefix(f"{FILE}: "))
    else:
        after = _asked(exam, golden, rollout.value, ports)
    if after == exam:
        return
    examined = rollout.to(exam=after)
    told = _told(examined.value, after, ports.clock()) if after.is_done else []
    ports.registry.commit([examined.write], told)
    wake_endpoint(rollout.value.endpoint, ports)


def _asked(exam: Exam, golden: Golden, rollout: Rollout, ports: Ports) -> Exam:
    """Return the exam with a slice of lines more marked, ended if they were the last."""
    until = ports.clock() + ports.slice
    for line in golden.lines[exam.asked :]:
        try:
            exam = _with_line(exam, golden, line, rollout, ports)
        except Busy:
            return exam
        if ports.clock() >= until:
            break
    if exam.asked < len(golden.lines):
        return exam
    return ended(exam, golden, max_structure_share=rollout.plan.thresholds.max_structure_share)


def _with_line(exam: Exam, golden: Golden, line: Line, rollout: Rollout, ports: Ports) -> Exam:
    """Return the exam with one more line marked; raises Busy. Of the first lines stable shows how it builds answers."""
    reply = _reply(line, rollout.canary.id, ports)
    after = marked(exam, golden, line, reply)
    if isinstance(reply, str) or not rollout.stable or exam.asked >= COMPARED:
        return after
    theirs = _reply(line, rollout.stable, ports, STABLE_PATIENCE)
    return after if isinstance(theirs, str) else compared(after, reply, theirs)


def _reply(line: Line, deployment_id: str, ports: Ports, seconds: float = PATIENCE) -> Reply | str:
    """Return a deployment's answer to a line, or why there is none; raises Busy."""
    try:
        return ports.invoker.invoke(deployment_id, call_of(line), seconds)
    except NoAnswer as problem:
        return str(problem)


def call_of(line: Line) -> Call:
    """Return a line's request as a deployment gets it."""
    meant = {custom_attributes.CONTRACT: custom_attributes.INSTANCES} if line.is_instances else {}
    trace = {custom_attributes.TRACE: f"golden-{line.number}"}
    return Call(json.dumps(line.body, ensure_ascii=False).encode(), JSON, JSON, trace | meant)


def _told(rollout: Rollout, exam: Exam, now: datetime) -> list[Transition]:
    message = f"{FILE}: {exam.failure or exam.result}"
    counts = {"lines": exam.asked, "missed": exam.missed, "metrics": dict(exam.metrics), "passed": not exam.failure}
    return [of_rollout("rollout.examined", rollout, message, at=now, **counts)]
