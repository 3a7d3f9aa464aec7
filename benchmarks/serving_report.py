"""What the figures say: medians to ratios, ratios to goals, all of it to a page. Pure: figures in, text out."""

import io
from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any, TypeAlias

Figures: TypeAlias = Mapping[str, Any]  # one server at one work, as serving_run.Measured says it

# At 8 connections: our throughput in the best peer's, at least.
TIMES = {"w1": 5.0, "w2": 3.0, "w3-json": 3.0, "w3-png": 1.5, "w4": 1.1}
SAVED_MODEL_TIMES = 3.0
MEMORY_SHARE, HOT_LOAD_MS = 0.5, 10.0
RAW_SHARE = 0.9


def rate(figures: Figures, connections: int) -> float | None:
    """Answers a second, or None where there is no such cell or it is void."""
    cell = figures["cells"].get(str(connections))
    return None if cell is None or cell["errors"] else float(cell["rate"])


def best(peers: Sequence[Figures], connections: int) -> Figures | None:
    """Return the peer with the highest throughput."""
    measured = [p for p in peers if rate(p, connections)]
    return max(measured, key=lambda p: rate(p, connections) or 0.0, default=None)


def ratio(ours: Figures, peers: Sequence[Figures], connections: int) -> float | None:
    """Our throughput in the best peer's, round by round: the median of the rounds' ratios."""
    own = ours["cells"].get(str(connections))
    others = [p["cells"][str(connections)]["rounds"] for p in peers if rate(p, connections)]
    if not others or own is None or own["errors"]:
        return None
    rounds = zip(own["rounds"], *others, strict=False)
    return median(mine["rate"] / max(one["rate"] for one in theirs) for mine, *theirs in rounds)


# --- goals ------------------------------------------------------------------------------------------------------------
def goal(name: str, wanted: str, measured: str, *, met: bool) -> dict[str, Any]:
    return {"name": name, "goal": wanted, "measured": measured, "met": met}


def goals(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every goal that was measured; what could not be compared is not met."""
    return [
        *(line for one in groups(found["measured"], found["roles"]) for line in work_goals(*one)),
        *start_goals(found["measured"], found["roles"]),
        *saved_model_goals(found["saved_model"], found["roles"]),
        *hot_load_goals(found.get("hot_load")),
        *gpu_goals(found.get("gpu", {})),
    ]


def groups(measured: Sequence[Figures], roles: Mapping[str, str]) -> Iterator[tuple[str, Figures, list[Figures]]]:
    """Each work with our figures and its peers'."""
    for work in dict.fromkeys(m["work"] for m in measured):
        of_work = [m for m in measured if m["work"] == work]
        [ours] = [m for m in of_work if roles[m["server"]] == "ours"]
        yield work, ours, [m for m in of_work if roles[m["server"]] == "peer"]


def work_goals(work: str, ours: Figures, peers: list[Figures]) -> Iterator[dict[str, Any]]:
    for connections in (8, 32) if work == "w4" else (8,):
        if str(connections) in ours["cells"]:
            yield _times_goal(work, ours, peers, connections)
            if work == "w4":
                yield _memory_goal(ours, peers, connections)
    yield _p99_goal(work, ours, peers)


def _times_goal(work: str, ours: Figures, peers: list[Figures], connections: int) -> dict[str, Any]:
    times, rival = ratio(ours, peers, connections), best(peers, connections)
    name = f"{work} at {connections} connections, in the best peer's throughput"
    if times is None or rival is None:
        return goal(name, f">= {TIMES[work]:g}", "not measured", met=False)
    return goal(name, f">= {TIMES[work]:g}", f"{times:.2f} ({rival['server']})", met=times >= TIMES[work])


def _memory_goal(ours: Figures, peers: list[Figures], connections: int) -> dict[str, Any]:
    rival, name = best(peers, connections), f"memory at w4, in that of the best peer at {connections} connections"
    wanted = f"<= {MEMORY_SHARE:g}"
    if rival is None or not ours["memory"]:
        return goal(name, wanted, "not measured", met=False)
    share = ours["memory"]["rss_mb"] / rival["memory"]["rss_mb"]
    once = ours["memory"]["once_mb"] / rival["memory"]["once_mb"]
    said = f"{share:.2f} of {rival['server']} (shared pages counted once: {once:.2f})"
    return goal(name, wanted, said, met=share <= MEMORY_SHARE)


def _p99_goal(work: str, ours: Figures, peers: list[Figures]) -> dict[str, Any]:
    name, wanted = f"p99 of {work} at 8 connections", "<= the lowest of all peers'"
    rival = min((p for p in peers if rate(p, 8)), key=lambda p: p["cells"]["8"]["p99_ms"], default=None)
    if rival is None or rate(ours, 8) is None:
        return goal(name, wanted, "not measured", met=False)
    own, others = ours["cells"]["8"]["p99_ms"], rival["cells"]["8"]["p99_ms"]
    return goal(name, wanted, f"{own:.2f} ms to {others:.2f} ms ({rival['server']})", met=own <= others)


def start_goals(measured: Sequence[Figures], roles: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """From start to the first right answer, the median over all works."""
    seconds = starts(measured)
    own = [s for name, s in seconds.items() if roles[name] == "ours"]
    peers = {name: s for name, s in seconds.items() if roles[name] == "peer"}
    name, wanted = "start to the first right answer", "<= the best peer's"
    if not own or not peers:
        yield goal(name, wanted, "not measured", met=False)
        return
    rival = min(peers, key=lambda n: peers[n])
    yield goal(name, wanted, f"{own[0]:.2f} s to {peers[rival]:.2f} s ({rival})", met=own[0] <= peers[rival])


def starts(measured: Sequence[Figures]) -> dict[str, float]:
    names = dict.fromkeys(m["server"] for m in measured if m["started_s"] is not None)
    return {n: median(m["started_s"] for m in measured if m["server"] == n and m["started_s"]) for n in names}


def saved_model_goals(measured: Sequence[Figures], roles: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    for work, ours, peers in groups(measured, roles):
        times, name = ratio(ours, peers, 8), f"SavedModel, {work} at 8 connections, in FastAPI + tf's throughput"
        said = "not measured" if times is None else f"{times:.2f}"
        yield goal(name, f">= {SAVED_MODEL_TIMES:g}", said, met=times is not None and times >= SAVED_MODEL_TIMES)


def hot_load_goals(seen: Mapping[str, Any] | None) -> Iterator[dict[str, Any]]:
    if seen is None:
        return
    name, wanted = "hot load of a second version, added to the first's worst request", f"<= {HOT_LOAD_MS:g} ms"
    if "error" in seen:
        yield goal(name, wanted, f"not measured: {seen['error']}", met=False)
        return
    added = seen["added_ms"]
    said = f"{added:.1f} ms (worst {seen['loading_ms']:.1f} ms to {seen['before_ms']:.1f} ms without)"
    yield goal(name, wanted, said, met=added <= HOT_LOAD_MS)


def gpu_goals(seen: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for name, one in seen.get("models", {}).items():
        share = one["rows_per_s"] / one["raw_rows_per_s"]
        said = f"{share:.2f} ({one['rows_per_s']:.0f} of {one['raw_rows_per_s']:.0f} rows/s)"
        yield goal(
            f"{name} on the GPU, in the raw batched forward's", f">= {RAW_SHARE:g}", said, met=share >= RAW_SHARE
        )


# --- the page ---------------------------------------------------------------------------------------------------------
def as_markdown(found: Mapping[str, Any]) -> str:
    out, m, length = io.StringIO(), found["machine"], found["length"]
    out.write("# Serving: how fast, beside others\n\n")
    out.write(f"`python benchmarks/serving.py{' --quick' if found['quick'] else ''}` on {m['cores']} cores of ")
    out.write(f"{m['cpu']}, Python {m['python']}, {', '.join(f'{n} {v}' for n, v in found['versions'].items())}; ")
    out.write(f"load when it began {found['load']:.2f}. {length['rounds']} rounds of {length['seconds']:g} s a cell ")
    out.write(
        "by `wrk` on the same cores, all servers in turn and frozen between; medians. Ratios are medians of each "
    )
    out.write("round's. A cell with any failed answer is void.\n\n")
    if found["goals"]:
        out.write("| goal | wanted | measured | met |\n|---|---|---|---|\n")
    for g in found["goals"]:
        out.write(f"| {g['name']} | {g['goal']} | {g['measured']} | {'yes' if g['met'] else '**no**'} |\n")
    out.writelines(_work_section(work, found) for work in found["works"])
    out.write(_saved_model_section(found))
    out.write(_server_section(found))
    out.write(f"\nOn a GPU: {found['gpu'].get('skipped') or 'measured above'}.\n")
    return out.getvalue()


def _work_section(work: str, found: Mapping[str, Any]) -> str:
    measured = [m for m in found["measured"] if m["work"] == work]
    raw = found["raw"].get(work, {})
    lines = [f"\n## {work}: {found['works'][work]}\n"]
    if work == "w4":
        ms = found["decoder"]["forward_ms"]
        lines.append(
            "A forward takes " + ", ".join(f"{v:.1f} ms at batch {n}" for n, v in ms.items()) + ", one thread.\n"
        )
    lines.append(_cells(measured, found["length"]["connections"]))
    if raw:
        bare = max(raw, key=lambda name: raw[name])
        one = raw.get("batch 1, threads 1")
        lines.append(f"\nThe bare forward: {one:.0f} rows/s one by one, {raw[bare]:.0f} at its best ({bare}).")
    return "\n".join(lines) + "\n"


def _cells(measured: Sequence[Figures], connections: Sequence[int]) -> str:
    head = " | ".join(f"{c} conn: req/s | p50 ms | p99 ms" for c in connections)
    rows = [f"| server | {head} |", "|---|" + "---|" * 3 * len(connections)]
    rows += [f"| {m['server']} | {' | '.join(_cell(m, c) for c in connections)} |" for m in measured]
    return "\n".join(rows)


def _cell(figures: Figures, connections: int) -> str:
    cell = figures["cells"].get(str(connections))
    if cell is None:
        return "| | " if figures["cells"] else "not measured | | "
    if cell["errors"]:
        return f"void: {', '.join(f'{n} {what}' for what, n in cell['errors'].items())} | | "
    return f"{cell['rate']:.0f} | {cell['p50_ms']:.2f} | {cell['p99_ms']:.2f}"


def _saved_model_section(found: Mapping[str, Any]) -> str:
    if not found["saved_model"]:
        return ""
    works = dict.fromkeys(m["work"] for m in found["saved_model"])
    of = {work: [m for m in found["saved_model"] if m["work"] == work] for work in works}
    cells = "\n".join(f"{work}:\n\n{_cells(measured, [8])}\n" for work, measured in of.items())
    return f"\n## SavedModel: the same MLP in TensorFlow\n\n{cells}"


def _server_section(found: Mapping[str, Any]) -> str:
    lines = ["\n## The servers\n", "| server | set up | start, s | memory at w4: RSS, MB | counted once, MB |"]
    lines.append("|---|---|---|---|---|")
    seconds, memory = starts([*found["measured"], *found["saved_model"]]), _memory(found["measured"])
    for name, says in found["servers"].items():
        rss, once = memory.get(name, ("", ""))
        start = f"{seconds[name]:.2f}" if name in seconds else ""
        lines.append(f"| {name} | {says} | {start} | {rss} | {once} |")
    failed = [m for m in (*found["measured"], *found["saved_model"]) if m["error"]]
    lines += [f"\nNot measured: {m['server']} at {m['work']}: {m['error']}" for m in failed]
    return "\n".join(lines) + "\n"


def _memory(measured: Sequence[Figures]) -> dict[str, tuple[str, str]]:
    seen = [m for m in measured if m["work"] == "w4" and m["memory"]]
    return {m["server"]: (f"{m['memory']['rss_mb']:.0f}", f"{m['memory']['once_mb']:.0f}") for m in seen}
