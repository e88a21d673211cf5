"""A %%guard line and a policy say the same thing, both ways; every mistake gets a caret and a next step."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlguard_nb.errors import DirectiveError, PolicyError
from mlguard_nb.policy import (
    CachePolicy,
    CellOptions,
    GuardPolicy,
    MemoryPolicy,
    MonitorPolicy,
    NameRef,
    RetryPolicy,
    ValidatePolicy,
)
from mlguard_nb.policy.directive import format_line, parse
from mlguard_nb.policy.options import OPTIONS

NAMES = st.from_regex(r"[a-z][a-z_0-9]{0,8}", fullmatch=True).filter(lambda name: name.isidentifier())
REFS = NAMES.map(NameRef)
LIMITS = st.one_of(st.floats(0.01, 1.0), st.integers(1024, 2**45))
SECONDS = st.one_of(st.floats(0.001, 1e6), st.integers(1, 10**6).map(float))

RETRIES = st.builds(
    RetryPolicy,
    attempts=st.integers(1, 99),
    on=st.none() | st.lists(REFS, min_size=1, max_size=3, unique=True).map(tuple),
    wait_initial=st.floats(0.0, 10.0),
    wait_max=st.floats(10.0, 100.0),
    deadline=st.none() | SECONDS,
    timeout=st.none() | SECONDS,
    on_oom=st.sampled_from(["fail", "clear"]) | NAMES.map(lambda name: f"halve:{name}"),
)
MEMORIES = st.builds(
    MemoryPolicy,
    ram=LIMITS,
    gpu=st.none() | LIMITS,
    need=st.none() | st.integers(1, 2**45),
    on_pressure=st.sampled_from(["stop", "wait", "warn", "skip"]),
    wait_timeout=SECONDS,
    fallback=st.none() | REFS,
)
CACHES = st.builds(
    CachePolicy,
    ttl=st.none() | SECONDS,
    key=st.none() | st.lists(NAMES, min_size=1, max_size=3, unique=True).map(tuple),
    backend=st.sampled_from(["memory", "disk", "redis://127.0.0.1:6379/0"]),
)
VALIDATIONS = st.builds(
    ValidatePolicy, schemas=st.dictionaries(NAMES, REFS, max_size=3).map(lambda d: tuple(d.items()))
)
POLICIES = st.builds(
    GuardPolicy,
    name=st.none() | st.text(st.characters(codec="utf-8", exclude_characters="'\"\n"), min_size=1).filter(str.strip),
    retry=st.none() | RETRIES,
    memory=st.none() | MEMORIES,
    cache=st.none() | CACHES,
    validate=st.none() | VALIDATIONS,
    monitor=st.none() | st.just(MonitorPolicy()),
)


@given(POLICIES)
def test_a_line_reads_back_to_the_policy_it_was_written_from(policy: GuardPolicy) -> None:
    """parse(format_line(p)) == p."""
    assert parse(format_line(policy)).policy == policy


@given(
    st.builds(
        CellOptions,
        scope=st.sampled_from([None, "cell", "defs", "both"]),
        view=st.sampled_from(["live", "off"]),
        refresh=st.booleans(),
    )
)
def test_cell_options_travel_on_the_line_too(cell: CellOptions) -> None:
    policy = GuardPolicy(cache=CachePolicy())
    assert parse(format_line(policy, cell)).cell == cell


@given(st.text(max_size=60))
def test_any_text_parses_or_raises_directive_error(text: str) -> None:
    try:
        parse(text)
    except DirectiveError as error:
        start, end = error.span
        assert 0 <= start <= end <= len(text)


@given(
    st.lists(
        st.sampled_from([o.example for o in OPTIONS] + ["retry", "mem", "--wait 1s", "on=", "=3", "x" * 5]), max_size=5
    )
)
def test_any_mixture_of_known_words_parses_or_raises_directive_error(words: list[str]) -> None:
    try:
        parse(" ".join(words))
    except DirectiveError as error:
        assert error.message


def test_the_example_of_every_option_parses_with_what_it_requires() -> None:
    examples = {option.word: option.example for option in OPTIONS}
    for option in OPTIONS:
        needed = " ".join(examples[word] for word in option.requires[:1])
        if option.word == "need":
            needed = "mem=0.8"
        if option.word == "device":
            needed = "gpu=0.9"
        assert parse(f"{needed} {option.example}")


def test_all_words_of_the_issue_are_understood() -> None:
    policy = parse("retry=3 mem=0.8 gpu=0.9 cache=1h validate monitor name=train").policy
    assert policy == GuardPolicy(
        name="train",
        retry=RetryPolicy(attempts=3),
        memory=MemoryPolicy(ram=0.8, gpu=0.9),
        cache=CachePolicy(ttl=3600.0),
        validate=ValidatePolicy(),
        monitor=MonitorPolicy(),
    )


def test_dashes_and_blanks_mean_the_same() -> None:
    assert parse("--retry 5 --wait 1s..30s --mem 12GB").policy == parse("retry=5 wait=1s..30s mem=12GB").policy


def test_a_comment_ends_the_line() -> None:
    assert parse("retry=2  # because the API is flaky, mem=99").policy == GuardPolicy(retry=RetryPolicy(attempts=2))


def test_words_on_the_line_win_over_the_profile() -> None:
    policy = parse("train retry=7", profiles={"train": "retry=3 mem=0.5"}).policy
    assert policy == GuardPolicy(retry=RetryPolicy(attempts=7), memory=MemoryPolicy(ram=0.5))


@pytest.mark.parametrize(
    ("line", "word", "message", "hint"),
    [
        ("retyr=3", "retyr=3", "unknown option 'retyr'", "did you mean retry?"),
        ("mem=12", "mem=12", "12 has no unit", "mem=0.8"),
        ("mem=80%", "mem=80%", "write the share", ""),
        ("fallback=fit", "fallback=fit", "fallback needs mem= or gpu=", "add mem=0.8"),
        ("wait=1s", "wait=1s", "wait needs retry=", "add retry=3"),
        ("retry=0", "retry=0", "attempts must be a whole number of at least 1", ""),
        ("retry=3 retry=2", "retry=2", "given twice", "keep one"),
        ("cache=1x", "cache=1x", "not a duration", "cache=1h"),
        ("gpu", "gpu", "gpu needs a value", "gpu=0.9"),
        ("retry=3 oom=half", "oom=half", "not one of fail, clear, halve:NAME", ""),
        ("retry=", "retry=", "has no value", "retry=3"),
        ("retry wait=30s..1s", "wait=30s..1s", "wait_initial must be at most wait_max", ""),
        ("monitor=3", "monitor=3", "takes no value", "alone"),
        ("validate=x", "validate=x", "names no schema", ""),
        ("mem=0", "mem=0", "above 0 and at most 1", ""),
        ("trian", "trian", "unknown option or profile 'trian'", "did you mean train?"),
        ("broken", "broken", "profile 'broken'", ""),
        ("=3", "=3", "cannot read", "option=value"),
        ("mem=12GBX", "mem=12GBX", "not a unit of size", ""),
    ],
)
def test_each_mistake_is_shown_under_its_word(line: str, word: str, message: str, hint: str) -> None:
    with pytest.raises(DirectiveError) as caught:
        parse(line, profiles={"train": "retry=3", "broken": "retry=x"})
    error = caught.value
    assert line[slice(*error.span)] == word
    assert message in str(error)
    assert hint in error.hint
    shown, caret = str(error).splitlines()[-2:]
    assert shown[caret.index("^") : caret.rindex("^") + 1] == word


def test_what_a_line_cannot_say_is_an_error_not_a_loss() -> None:
    with pytest.raises(PolicyError, match="no word for retry.jitter"):
        format_line(GuardPolicy(retry=RetryPolicy(jitter="equal")))
    with pytest.raises(PolicyError, match="cannot write fallback="):
        format_line(GuardPolicy(memory=MemoryPolicy(fallback=lambda: None)))


def test_the_table_has_one_row_a_word_and_knows_what_it_requires() -> None:
    words = [option.word for option in OPTIONS]
    assert len(words) == len(set(words))
    for option in OPTIONS:
        assert set(option.requires) <= set(words)
        assert option.help and option.example.startswith(option.word)
