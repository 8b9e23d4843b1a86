"""Searches that are killed, interrupted and robbed of their workers, at moments that nobody chose."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest

from espalier.errors import Interrupted, RunFolderError
from espalier.evaluators.objectives import objective
from espalier.search.archive import Archive
from espalier.search.distributions import distributions
from espalier.search.interrupted_trials import Recovery, recover
from espalier.search.options import SearchOptions
from espalier.search.run_folder import open_run
from espalier.search.run_folder.trial_record import MAX_RETRIES, RETRIES, RETRY_OF, state_of
from espalier.search.run_search import search_problem
from espalier.spaces.policy import Policy
from espalier.testing.analytic import analytic_problem

CHANNELS = (16, 16, 32, 32)
SCRIPT = """
import sys
from pathlib import Path
from espalier.errors import Interrupted
from espalier.search.options import SearchOptions
from espalier.search.run_search import search_problem
from espalier.testing.analytic import analytic_problem
folder, trials, workers, seconds = sys.argv[1:]
options = SearchOptions(task="analytic", trials=int(trials), workers=int(workers), threads=1, seed=5)
problem = analytic_problem(16, 16, 32, 32, seconds=float(seconds))
print("ready", flush=True)
try:
    search_problem(problem, options, Path(folder), resume=True)
except Interrupted as error:
    print(error, file=sys.stderr)
    sys.exit(130)
"""


def start(folder, *, trials, workers=1, seconds=0.02):
    """Start a search in another process group and return when its imports are done."""
    arguments = [sys.executable, "-c", SCRIPT, str(folder), str(trials), str(workers), str(seconds)]
    process = subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def wait_for_trials(folder, count, *, seconds=60):
    """Wait until ``count`` trials are finished."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        log = folder / "log.jsonl"
        if log.exists() and log.read_text().count("trial finished") >= count:
            return
        time.sleep(0.02)
    raise TimeoutError(f"no {count} trials in {seconds} s")


def fork_search(folder, trials, *, seconds):
    """Search in a forked process: it starts in no time, so that kills can be many and hit any moment."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            options = SearchOptions(task="analytic", trials=trials, seed=5, threads=1)
            search_problem(analytic_problem(*CHANNELS, seconds=seconds), options, folder, resume=True)
            code = 0
        finally:
            os._exit(code)
    return pid


def complete(trials):
    return {t.number: t.configuration.metrics for t in trials if t.state == "complete"}


def check_whole(run, trials):
    done = [t.configuration for t in run.trials if t.state == "complete"]
    assert len(done) == len({c.policy.key for c in done}) == trials
    assert {t.state for t in run.trials} <= {"complete", "duplicate", "abandoned"}
    weights = {int(p.stem) for p in (run.path / "weights").glob("[0-9]*.safetensors")}
    assert weights == {c.trial for c in run.search_front.configurations}
    for c in run.search_front.configurations:
        assert run.weights_path(c.trial).read_text() == repr(c.policy.key)
    assert run.front.configurations
    assert all("test_accuracy" in c.metrics for c in run.front.configurations)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_killing_the_coordinator_at_random_moments_loses_no_finished_trial(tmp_path, seed):
    folder, trials, generator, kills = tmp_path / "run", 60, random.Random(seed), 0
    known, in_vain = {}, 0
    for _ in range(12):
        pid = fork_search(folder, trials, seconds=0.05)
        if in_vain == 2:  # a trial that is running at four kills is given up, and a busy machine may be that slow
            wait_for_trials(folder, len(known) + 1)
        time.sleep(generator.uniform(0.0, 0.35))
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        kills += os.WIFSIGNALED(status)
        found = complete(records(folder))
        assert known.items() <= found.items()
        known, in_vain = found, in_vain + 1 if len(found) == len(known) else 0
    run = search_problem(
        analytic_problem(*CHANNELS),
        SearchOptions(task="analytic", trials=trials, seed=5, threads=1),
        folder,
        resume=True,
    )
    assert kills >= 3
    assert known.items() <= complete(run.trials).items()
    check_whole(run, trials)


def test_a_trial_that_was_running_is_tried_again_and_says_so(tmp_path):
    folder = tmp_path / "run"
    pid = fork_search(folder, 10, seconds=0.3)
    wait_for_trials(folder, 2)
    wait_for_running(folder, None)  # the log tells of the second before the third is begun
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    (killed,) = [t.number for t in open_run(folder).trials if t.state == "running"]
    options = SearchOptions(task="analytic", trials=10, seed=5, threads=1)
    run = search_problem(analytic_problem(*CHANNELS), options, folder, resume=True)
    abandoned = run.trials[killed]
    again = next(t for t in run.trials if t.retry_of == killed)
    assert abandoned.state == "abandoned"
    assert "killed" in str(abandoned.reason)
    assert again.state == "complete"
    assert str(again.origin) == str(abandoned.origin)
    check_whole(run, 10)


def test_a_trial_that_is_running_at_every_kill_is_given_up(tmp_path):
    folder = tmp_path / "run"
    before = None
    for _ in range(4):
        pid = fork_search(folder, 3, seconds=60)
        before = wait_for_running(folder, before)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    run = search_problem(
        analytic_problem(*CHANNELS), SearchOptions(task="analytic", trials=3, seed=5, threads=1), folder, resume=True
    )
    by_state = {state: [t for t in run.trials if t.state == state] for state in ("abandoned", "failed", "complete")}
    assert [len(trials) for trials in by_state.values()] == [3, 1, 2]
    assert str(by_state["failed"][0].origin) == "dense"
    assert "killed" in str(by_state["failed"][0].reason)


def test_a_trial_that_was_never_handed_out_is_not_given_up(tmp_path):
    (tmp_path / "policies").mkdir()
    study, space = optuna.create_study(directions=["maximize"]), analytic_problem(*CHANNELS).space
    archive = Archive(study, tmp_path, objectives=(objective("accuracy"),), constraints=())
    study.enqueue_trial(space.values(Policy.dense(space.graph)))
    for _ in range(2 * MAX_RETRIES):
        study.ask(distributions(space))  # and the search is killed before it hands the trial out
        assert recover(study, archive) == Recovery(adopted=0, retried=1, given_up=0)
    for number in range(MAX_RETRIES + 1):
        archive.begin(study.ask(distributions(space)), Policy.dense(space.graph))
        given_up = number == MAX_RETRIES
        assert recover(study, archive) == Recovery(adopted=0, retried=1 - given_up, given_up=given_up)
    states = [state_of(t) for t in study.trials]
    assert states == ["abandoned"] * (len(states) - 1) + ["failed"]


def test_a_last_try_that_was_never_handed_out_is_tried_again(tmp_path):
    for name in ("policies", "weights"):
        (tmp_path / name).mkdir()
    study, space = optuna.create_study(directions=["maximize"]), analytic_problem(*CHANNELS).space
    archive = Archive(study, tmp_path, objectives=(objective("accuracy"),), constraints=())
    params = space.values(Policy.dense(space.graph))
    study.enqueue_trial(params, user_attrs={RETRIES: MAX_RETRIES, RETRY_OF: 0})
    study.ask(distributions(space))
    assert recover(study, archive).retried == 1
    assert state_of(study.trials[0]) == "abandoned"
    assert study.trials[1].user_attrs[RETRIES] == MAX_RETRIES
    archive.load(space)
    assert archive.outcome(Policy.dense(space.graph)) is None


def wait_for_running(folder, before, *, seconds=30):
    """Wait until a trial other than ``before`` is being evaluated, and return it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if (found := running(folder)) not in (None, before):
            return found
        time.sleep(0.02)
    raise TimeoutError(f"no trial but {before} in {seconds} s")


def running(folder):
    """Return the trial that is being evaluated."""
    found = [
        t.number for t in records(folder) if t.state == "running" and (folder / f"policies/{t.number}.json").exists()
    ]
    return found[0] if found else None


def records(folder):
    """Return the trials of a run that may not have come as far as having any."""
    with contextlib.suppress(RunFolderError):
        return open_run(folder).trials
    return ()


def test_killing_a_search_with_two_workers_ends_them_and_loses_nothing(tmp_path):
    folder = tmp_path / "run"
    process = start(folder, trials=40, workers=2, seconds=0.05)
    wait_for_trials(folder, 8)
    workers = children(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    known = complete(open_run(folder).trials)
    assert len(known) >= 8
    end = time.monotonic() + 20
    while any(alive(pid) for pid in workers) and time.monotonic() < end:
        time.sleep(0.1)
    assert not [pid for pid in workers if alive(pid)]
    run = search_problem(
        analytic_problem(*CHANNELS), SearchOptions(task="analytic", trials=40, seed=5, workers=1), folder, resume=True
    )
    assert known.items() <= complete(run.trials).items()
    check_whole(run, 40)


def test_ctrl_c_with_two_workers_keeps_the_run_and_says_so(tmp_path):
    folder = tmp_path / "run"
    process = start(folder, trials=500, workers=2, seconds=0.05)
    wait_for_trials(folder, 6)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: every process of the group gets it
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert "--resume" in errors
    run = open_run(folder)
    assert run.events[-1]["event"] == "interrupted"
    assert (folder / "front.json").exists()
    assert not [t for t in run.trials if t.state == "running"]
    abandoned = [t for t in run.trials if t.state == "abandoned"]
    assert abandoned
    assert all(t.reason == "interrupted" for t in abandoned)
    total = len(complete(run.trials)) + 3
    again = search_problem(
        analytic_problem(*CHANNELS),
        SearchOptions(task="analytic", trials=total, seed=5, workers=1),
        folder,
        resume=True,
    )
    assert complete(run.trials).items() <= complete(again.trials).items()
    assert {t.retry_of for t in again.trials} >= {t.number for t in abandoned}
    check_whole(again, total)


def test_an_interrupt_while_this_process_evaluates_is_raised_as_interrupted(tmp_path):
    before = signal.getsignal(signal.SIGINT)
    timer = subprocess.Popen([sys.executable, "-c", f"import time, os; time.sleep(1); os.kill({os.getpid()}, 2)"])
    options = SearchOptions(task="analytic", trials=1000, threads=1)
    with pytest.raises(Interrupted, match="--resume"):
        search_problem(analytic_problem(*CHANNELS, seconds=0.3), options, tmp_path / "run")
    timer.wait()
    assert signal.getsignal(signal.SIGINT) is before
    assert open_run(tmp_path / "run").events[-1]["event"] == "interrupted"


def test_sigterm_ends_as_ctrl_c_does(tmp_path):
    folder = tmp_path / "run"
    pid = fork_search(folder, 500, seconds=0.05)
    wait_for_trials(folder, 3)
    os.kill(pid, signal.SIGTERM)
    assert os.waitpid(pid, 0)[1] != signal.SIGTERM, "it ended by itself"
    assert open_run(folder).events[-1]["event"] == "interrupted"


def test_killing_workers_again_and_again_fails_no_trial(tmp_path):
    folder = tmp_path / "run"
    process = start(folder, trials=30, workers=2, seconds=0.05)
    for count in (4, 12):
        wait_for_trials(folder, count)
        os.kill(random.Random(count).choice(evaluating(process.pid)), signal.SIGKILL)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    check_whole(open_run(folder), 30)


def evaluating(parent):
    """Return the worker processes of ``parent``, without loky's own resource tracker."""
    return [pid for pid in children(parent) if b"resource_tracker" not in cmdline(pid)]


def children(parent):
    return [int(p.name) for p in Path("/proc").glob("[0-9]*") if status(p.name)[1:2] == [str(parent)]]


def cmdline(pid):
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def alive(pid):
    return status(pid)[:1] not in ([], ["Z"])


def status(pid):
    """Return state, parent and what follows; nothing for a process that is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []
