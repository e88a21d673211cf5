"""The command of a package: options from the parameters, progress, logs, saved results, exit codes."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, Secret, SecretStr

from mlguard_nb.errors import CircuitOpen, GuardError, PolicyError
from mlguard_nb.pipeline import FromEnvironment, command_line, load_results, step, working_directory
from mlguard_nb.pipeline.options import RUN_OPTIONS
from mlguard_nb.telemetry import bus
from mlguard_nb.telemetry.events import RunEnded, StepEnded
from mlguard_nb.telemetry.measures import changes


class Params(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    n_trees: int = Field(default=50, description="trees, in 100 % of cases")
    rate: float = 0.5
    source: str = "12"
    fast: bool = False
    layers: list[int] = [1, 2]
    note: str | None = None


@step(cell=2, outputs=("made",))
def make(n_trees: int) -> list[int]:
    logging.getLogger("user").warning("careful")
    return [n_trees]


def run(params: Params | None = None, *, base_dir: str | Path | None = None) -> dict[str, Any]:
    params = params or Params()
    with working_directory(base_dir):
        return {"made": make(params.n_trees), "params": params.model_dump(), "folder": str(Path.cwd())}


main = command_line(run, Params, name="churn")


class Clashing(BaseModel):
    save: int = 1
    base_dir: str = ""
    help: int = 2
    quiet: bool = False
    cache: bool = True
    no_cache: bool = False
    self: int = 3


def test_a_parameter_named_like_an_option_of_the_command_gets_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every option of `run` keeps its meaning, and no two options are one."""

    def give(params: Clashing | None = None, *, base_dir: str | Path | None = None) -> dict[str, Any]:
        return (params or Clashing()).model_dump()

    words = (
        "run --param-save 5 --param-base-dir x --param-help 6 --param-quiet --no-cache --param-no-cache --self 7 --save"
    )
    assert command_line(give, Clashing, name="odd")([*words.split(), str(tmp_path / "out")]) == 0
    assert load_results(tmp_path / "out") == {
        "save": 5, "base_dir": "x", "help": 6, "quiet": True, "cache": False, "no_cache": True, "self": 7,
    }  # fmt: skip
    with pytest.raises(SystemExit):
        command_line(give, None, name="odd")(["run", "--help"])
    own = set(re.findall(r"^  (?:-h, )?--([a-z-]+)", capsys.readouterr().out, re.MULTILINE))
    assert own == RUN_OPTIONS


def test_parameters_become_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Texts stay texts, lists are JSON, flags have a no-form, the rest keeps its default."""
    status = main(
        [
            "run",
            "--n-trees",
            "7",
            "--layers",
            "[3]",
            "--fast",
            "--note",
            "x",
            "--base-dir",
            str(tmp_path),
            "--save",
            str(tmp_path / "out"),
        ]
    )
    assert status == 0
    results = load_results(tmp_path / "out")
    assert results["made"] == [7]
    assert results["params"] == {
        "n_trees": 7, "rate": 0.5, "source": "12", "fast": True, "layers": [3], "note": "x",
    }  # fmt: skip
    assert results["folder"] == str(tmp_path)
    assert (results["n_trees"], results["note"]) == (7, "x"), "serve may need a parameter of the run"
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "make" in captured.err
    assert "cell 2" in captured.err
    assert "done: 1 steps" in captured.err


def test_help_lists_every_parameter(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["run", "--help"])
    text = capsys.readouterr().out
    assert left.value.code == 0
    for expected in (
        "--n-trees",
        "trees, in 100 % of cases",
        "(default: 50)",
        "--no-fast",
        "--base-dir",
        "--json-logs",
    ):
        assert expected in text


class Secretive(BaseModel):
    api_key: SecretStr = Field(default_factory=FromEnvironment("CHURN_API_KEY"), description="of the service")
    password: SecretStr = Field(default_factory=FromEnvironment("CHURN_PASSWORD", "a default"))
    token: SecretStr | None = Field(default_factory=FromEnvironment("CHURN_TOKEN", None))
    login: Secret[dict] = Secret[dict]({"me": "hunter2hunter2"})


def ask(params: Secretive | None = None, *, base_dir: str | Path | None = None) -> dict[str, Any]:
    params = params or Secretive()
    hidden = [params.api_key.get_secret_value(), params.password.get_secret_value()]
    token = None if params.token is None else params.token.get_secret_value()
    return {"header": {"auth": [f"Bearer {hidden[0]}"]}, "size": len(hidden[0]), "rest": (token, hidden[1]), "n": "1"}


def test_a_secret_parameter_comes_from_the_environment_and_is_never_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Or from its option, digits too. Help and logs do not show it, and what holds it is not saved."""
    main = command_line(ask, Secretive, name="churn")
    assert main(["run"]) == 2
    assert "CHURN_API_KEY is not set in the environment" in capsys.readouterr().err
    monkeypatch.setenv("CHURN_API_KEY", "")
    with pytest.raises(PolicyError, match="CHURN_API_KEY"):
        Secretive()
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    monkeypatch.setenv("CHURN_API_KEY", "hunter2-of-the-environment")
    assert main(["run", "--save", str(tmp_path / "one")]) == 0
    assert (
        main(["run", "--api-key", "1234567", "--token", "7", "--login", '{"a": "b"}', "--save", str(tmp_path / "two")])
        == 0
    )
    captured = capsys.readouterr()
    assert "of the service (a secret, otherwise from CHURN_API_KEY" in " ".join(captured.out.split())
    assert "header was not saved: it holds a secret" in captured.err
    for secret in ("hunter2", "a default", "1234567"):
        assert secret not in captured.out + captured.err
        assert [file for file in tmp_path.rglob("*") if file.is_file() and secret.encode() in file.read_bytes()] == []
    assert load_results(tmp_path / "one") == {"token": None, "size": 26, "n": "1"}
    assert load_results(tmp_path / "two") == {"size": 7, "n": "1"}


def refuse(params: Secretive | None = None, *, base_dir: str | Path | None = None) -> dict[str, Any]:
    given = (params or Secretive()).api_key.get_secret_value()
    raise (GuardError if given.startswith("guard") else KeyError)(f"no login as {given}")


@pytest.mark.parametrize(
    ("secret", "said"), [("hunter2-abc", "KeyError: 'no login as "), ("guard-abc", "GuardError: no login as ")]
)
@pytest.mark.parametrize("option", ["--json-logs", "--quiet"])
def test_an_error_that_spells_a_secret_is_told_without_it(
    secret: str, said: str, option: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CHURN_API_KEY", secret)
    assert command_line(refuse, Secretive, name="churn")(["run", option]) == 1
    captured = capsys.readouterr()
    assert f"{said}[redacted]" in captured.err
    assert secret not in captured.out + captured.err


def test_a_lone_command_prints_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "run" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "--n-trees", "many"], "--n-trees"),
        (["run", "--n-trees", "many", "--rate", "x"], "--rate"),
        (["run", "--base-dir", "missing"], "missing is not a folder"),
        (["serve", "--from", "missing"], "churn serve:"),
    ],
)
def test_bad_usage_is_one_line_and_status_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if arguments[0] == "serve":
        (tmp_path / "churn").mkdir()
        (tmp_path / "churn" / "functions.py").write_text("")
        monkeypatch.syspath_prepend(str(tmp_path))
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_a_misspelt_command_or_option_is_answered(capsys: pytest.CaptureFixture[str]) -> None:
    for words, meant in ((["rnu"], "run"), (["run", "--n-tress", "3"], "--n-trees")):
        with pytest.raises(SystemExit) as left:
            main(words)
        assert left.value.code == 2
        assert capsys.readouterr().err.rstrip().endswith(f"did you mean {meant}?")


def failing(error: BaseException) -> Any:
    def run(*, base_dir: Any = None) -> dict[str, Any]:
        raise error

    return command_line(run, name="broken")


def test_a_failed_run_is_status_1_with_the_reason_last(capsys: pytest.CaptureFixture[str]) -> None:
    """The user's own error with its traceback; an error of ours as one sentence."""
    assert failing(ValueError("no rows"))(["run"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("Traceback")
    assert lines[-1] == "failed: ValueError: no rows"
    assert failing(CircuitOpen("api", 3.0))(["run"]) == 1
    assert "circuit 'api' is open" in capsys.readouterr().err
    assert failing(KeyboardInterrupt())(["run"]) == 130


def test_a_file_that_is_not_found_asks_for_the_base_dir(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package that is run from the wrong folder says which option names the right one, below frames of the user."""
    monkeypatch.chdir(tmp_path)

    def run(*, base_dir: Any = None) -> dict[str, Any]:
        return {"rows": open("data/rows.csv").read()}

    assert command_line(run, name="broken")(["run"]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    hint = f"relative paths start at {tmp_path}: name another folder with --base-dir DIR (--traceback shows where)"
    assert error.endswith(f"{hint}\n")
    assert command_line(run, name="broken")(["run", "--traceback"]) == 1
    error = capsys.readouterr().err
    assert error.endswith(f"{hint}\n")
    assert "test_command.py" in error
    assert 'command.py", line' not in error.replace("test_command.py", "")


def test_json_logs_are_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Steps, the notebook's own log records, and the end of the run."""
    assert main(["run", "--json-logs"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [event["event"] for event in events] == ["step_started", "log", "step_finished", "run_finished"]
    assert events[1]["message"] == "careful"
    assert events[2]["cells"] == [2]
    assert events[3]["results"] == 3


def test_json_logs_tell_errors_without_their_credentials(capsys: pytest.CaptureFixture[str]) -> None:
    def run(*, base_dir: Any = None) -> dict[str, int]:
        raise OSError("no answer from https://me:hunter2@store")

    assert command_line(run, name="leaky")(["run", "--json-logs"]) == 1
    told = capsys.readouterr().err
    assert json.loads(told.splitlines()[-1])["event"] == "run_failed"
    assert "hunter2" not in told


def test_an_async_pipeline_is_awaited() -> None:
    async def run(*, base_dir: Any = None) -> dict[str, int]:
        return {"a": 1}

    assert command_line(run, name="later")(["run"]) == 0


def test_ray_that_is_not_installed_says_what_installs_it(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        import ray  # noqa: F401
    except ImportError:
        assert main(["run", "--engine", "ray"]) == 2
        assert "mlguard-nb[ray]" in capsys.readouterr().err
    else:
        pytest.skip("ray is installed here")


@pytest.mark.parametrize(
    ("error", "outcome"), [(None, "ok"), (ValueError("no"), "error"), (KeyboardInterrupt(), "cancelled")]
)
def test_a_run_and_its_steps_are_told_to_the_sinks(
    error: BaseException | None, outcome: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """How they ended and how long they took, for the metrics; the JSON log has its own lines for that."""

    @step
    def fit() -> None:
        if error is not None:
            raise error

    def fails(base_dir: str | Path | None = None) -> dict[str, Any]:
        fit()
        return {}

    heard: list[Any] = []
    end = bus.subscribe(heard.append)
    try:
        command_line(fails, name="churn")(["run", "--json-logs"])
    finally:
        end()
    told = [(type(event), event.function, event.outcome) for event in heard if isinstance(event, (StepEnded, RunEnded))]
    assert told == [(StepEnded, "fit", outcome), (RunEnded, "churn", outcome)]
    assert "step_ended" not in capsys.readouterr().err
    assert {change.metric for event in heard for change in changes(event)} == {
        "mlguard_steps_total", "mlguard_step_seconds", "mlguard_runs_total", "mlguard_run_seconds",
    }  # fmt: skip
