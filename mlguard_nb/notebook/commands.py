"""What the %guard line magic does: status, profiles, switches, memory, reports, schemas, chaos and export."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mlguard_nb.errors import PolicyError
from mlguard_nb.notebook.words import gib, spoken_seconds

if TYPE_CHECKING:
    from mlguard_nb.notebook.facts import DeviceFacts, RunFacts
    from mlguard_nb.notebook.session import Session
    from mlguard_nb.runtime.reference import Reference

__all__ = ["TABLE"]


_MOST_PROFILED = 64


def _say(text: str) -> None:
    print(text)  # noqa: T201 - a line magic answers on stdout


def status(session: Session, _rest: str) -> None:
    """What is switched on, the machine, and how the last cells ended."""
    from mlguard_nb.devices.readings import Unknown
    from mlguard_nb.notebook.meter import Meter
    from mlguard_nb.notebook.remembered import UNSEEN, own_notebook

    everywhere = (
        "cells with a %%guard line" if session.everywhere is None else f"every cell (%%guard {session.everywhere})"
    )
    _say(f"guards: {everywhere}")
    for name, line in sorted(session.profiles.items()):
        _say(f"profile {name}: {line}")
    reading = session.sampler().with_devices()
    meter = Meter(session.sampler(), None)
    for device in meter.devices():
        _say(f"{device.label}: {_use(device)}")
    gpus = reading.gpus
    if isinstance(gpus, Unknown):
        _say(f"GPU: not known ({gpus.reason})")
    if session.chaos is not None:
        _say(f"chaos: {session.faults}")
    if own_notebook(session.namespace) is None:
        _say(f"settings: {UNSEEN}")
    for facts in list(session.history)[-5:]:
        took = f" after {spoken_seconds(facts.elapsed)}" if facts.elapsed else ""
        _say(f"{_called(facts)}: {_ENDED[facts.phase]}{took}")


def set_profile(session: Session, rest: str) -> None:
    """`NAME options...`: what %%guard NAME stands for from now on, kept in this output so that the export sees it."""
    name, _, line = rest.partition(" ")
    session.set_profile(name, line)
    _tell_settings(session, f"%%guard {name} now means: {line.strip()}", set={"name": name, "line": line.strip()})


def switch_on(session: Session, rest: str) -> None:
    """Guard every cell, with these options."""
    session.guard_everywhere(rest)
    _tell_settings(session, f"every cell is guarded from now on: %%guard {rest}".rstrip())


def switch_off(session: Session, _rest: str) -> None:
    """Guard only cells with a line of their own."""
    session.everywhere = None
    _tell_settings(session, "only cells with a %%guard line are guarded")


def forget(session: Session, _rest: str) -> None:
    """Drop every profile, the line for every cell and the chaos, here and in the notebook's metadata."""
    session.profiles.clear()
    session.directives.clear()
    session.everywhere = None
    session.end_chaos()
    _tell_settings(session, "no profile, no line for every cell, no chaos")


def _tell_settings(session: Session, text: str, **found: Any) -> None:
    """Say `text`; the front end finds all settings beside it, and keeps them where it can."""
    from mlguard_nb.notebook.remembered import UNSEEN, own_notebook, settings

    now = settings(session)
    unseen = f"\n{UNSEEN}" if now and own_notebook(session.namespace) is None else ""
    session.keep({**found, "settings": now}, text + unseen)


def report(session: Session, _rest: str) -> None:
    """The cells of this session by peak and time, the largest peak first."""
    if not session.history:
        _say("no guarded cell has run yet")
        return

    def peak(facts: RunFacts) -> int:
        return next((device.peak_own or 0 for device in facts.devices if device.key == "ram"), 0)

    _say(f"{'cell':<24} {'ended':<20} {'time':>10} {'peak RAM':>10} {'attempts':>9}")
    for facts in sorted(session.history, key=peak, reverse=True):
        told = f"{gib(peak(facts))} GiB" if facts.devices else "–"
        _say(
            f"{_called(facts)[:24]:<24} {_ENDED[facts.phase]:<20} {spoken_seconds(facts.elapsed):>10} {told:>10} "
            f"{len(facts.attempts):>9}"
        )


_ENDED = {
    "ok": "finished", "failed": "failed", "refused": "memory was short", "rejected": "input rejected",
    "interrupted": "interrupted", "cached": "restored from cache", "skipped": "skipped", "degraded": "fallback ran",
    "defs": "functions guarded",
}  # fmt: skip


def _use(device: DeviceFacts) -> str:
    """ "3.1 of 16.0 GiB in use, 0.1 GiB of it by this notebook; the limit is the container's"."""
    if device.used is None:
        return f"not known ({device.reason})"
    own = "" if device.own is None else f", {gib(device.own)} GiB of it by this notebook"
    limits = {"container limit": "; the limit is the container's", "machine": "; the limit is the machine's memory"}
    return f"{gib(device.used)} of {gib(device.limit)} GiB in use{own}{limits.get(device.binds or '', '')}"


def _called(facts: RunFacts) -> str:
    return facts.name or (f"%%guard {facts.line}" if facts.line else "a guarded cell")


def free(session: Session, rest: str) -> None:
    """Without words: what holds memory. With names, `tracebacks` or `pools`: give their memory back."""
    from mlguard_nb.notebook import holdings

    names = rest.replace(",", " ").split()
    if not names:
        for line in holdings.listing(session.namespace):
            _say(line)
        return
    freed = holdings.free(session.namespace, names)
    _say(f"freed {', '.join(names)}: {gib(freed)} GiB given back" if freed is not None else f"freed {', '.join(names)}")


def schema(session: Session, rest: str) -> None:
    """Learn the schema of a live value; it is kept in this output, so that the notebook and the export have it."""
    import json

    from mlguard_nb.notebook.cell_inputs import Learned
    from mlguard_nb.policy.as_json import to_json
    from mlguard_nb.policy.render import source_of
    from mlguard_nb.policy.values import GuardPolicy, ValidatePolicy
    from mlguard_nb.runtime.learning import learn, remember

    words = rest.split()
    name = words[words.index("--name") + 1] if "--name" in words[:-1] else (words[0] if words else "")
    if not words or not name.isidentifier():
        raise PolicyError("name a variable, such as: %guard schema X --name Features")
    if words[0] not in session.namespace:
        raise PolicyError(f"there is no {words[0]!r} here")
    value = session.namespace[words[0]]
    learned = learn(value)
    profile, told = _profile(value)
    remember(name, learned)
    session.schemas[name] = Learned(words[0], learned, profile)
    if name != words[0]:
        session.namespace[name] = learned
    plain = to_json(GuardPolicy(validate=ValidatePolicy(schemas=((name, learned),))))["validate"]["schemas"][0][1]
    rows = len(value) if hasattr(value, "__len__") else None
    reference = None if profile is None else json.loads(profile.to_json())
    session.keep(
        {"schema": {"name": name, "of": words[0], "rows": rows, "schema": plain, "reference": reference}},
        f"{name} = {source_of(learned)}\n{told}",
    )


def _profile(value: Any) -> tuple[Reference | None, str]:
    """The profile of the numbers in `value`, and what to say of it. A notebook has no room for hundreds of columns."""
    from mlguard_nb.runtime.reference import Reference, numeric_columns

    try:
        columns = sum(1 for _ in numeric_columns(value))
        if columns > _MOST_PROFILED:
            return None, f"no profile for drift: {columns} numeric columns, and at most {_MOST_PROFILED} are kept"
        profile = Reference.fit(value)
    except PolicyError as error:
        return None, f"no profile for drift: {error}"
    names = ", ".join(name for name, _ in profile.columns)
    return profile, f"profile for drift: {names}" if columns > 1 else "profile for drift learned"


def chaos(session: Session, rest: str) -> None:
    """Inject faults until `chaos off`."""
    if rest == "off":
        session.end_chaos()
        _tell_settings(session, "chaos is off")
    else:
        session.start_chaos(rest)
        _tell_settings(session, f"chaos is on: {rest}; end it with %guard chaos off")


def export(session: Session, rest: str) -> None:
    """Write the saved notebook as a package, by the converter's own command."""
    from mlguard_nb.notebook.exporting import export_saved

    export_saved(session, rest, _say)


TABLE: dict[str, Callable[[Session, str], None]] = {
    "status": status, "set": set_profile, "on": switch_on, "off": switch_off, "free": free, "report": report,
    "schema": schema, "chaos": chaos, "forget": forget, "export": export,
}  # fmt: skip
