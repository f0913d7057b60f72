"""What Snakemake's terminal is told of a run: by hand, from events as Snakemake logs them."""

import io
import logging

import pytest

from remdm.workflow.status import Status


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def run():
    """A run of one training and three plots on two cores; `say` logs an event after some seconds."""
    clock, stream = Clock(), io.StringIO()
    status = Status({"ppo": 100.0, "film": 20.0}, cores=2, stream=stream, clock=clock)
    logger = logging.Logger("test", logging.INFO)
    logger.addHandler(status)

    def say(event, seconds=0.0, **about):
        clock.now += seconds
        logger.info("", extra={"event": event, **about})
        return stream.getvalue().splitlines()

    say("run_info", stats={"ppo": 1, "film": 2, "curves": 1, "total": 4})
    return status, say


def job(number, rule, threads=1, **wildcards):
    return {"jobid": number, "rule_name": rule, "wildcards": wildcards, "threads": threads}


def test_nothing_is_said_of_a_plan_that_does_not_run(run):
    _, say = run
    assert say("job_info", **job(0, "ppo")) == []
    assert say("job_finished", 1.0, job_id=0) == []


def test_lines_by_hand(run):
    status, say = run
    status.begin()
    say("job_info", **job(0, "ppo", threads=2, name="ppo_rnn"))
    # 100 s of the whole machine for ppo and 2 * 20 s for films; of curves nothing is known.
    assert status.line() == (
        "status: 0 of 4 jobs done in 0.0 min; running: ppo ppo_rnn (0 s); about 2.3 min left; "
        "jobs of unknown duration: 1"
    )
    # It took 34 s where 100 were thought, so films will take (34 + 120) / (100 + 120) = 0.7 of 2 * 20 s.
    assert say("job_finished", 34.0, job_id=0) == [
        "status: 1 of 4 jobs done in 0.6 min; about 28 s left; jobs of unknown duration: 1"
    ]
    say("job_info", **job(1, "film", name="random"))
    say("job_info", **job(2, "curves", stage="ppo"))
    # Both had one core of two: curves took 2 s of the whole machine, and so much of the film is over.
    assert say("job_finished", 4.0, job_id=2)[-1] == (
        "status: 2 of 4 jobs done in 0.6 min; running: film random (4 s); about 26 s left"
    )
    # 6 s of the whole machine for a film, and one is left.
    assert say("job_finished", 8.0, job_id=1)[-1] == "status: 3 of 4 jobs done in 0.8 min; about 6 s left"
    say("job_info", **job(3, "film"))
    assert len(say("job_finished", 1.0, job_id=3)) == 3  # Snakemake itself says that all is done


def test_a_failed_job_is_left_to_do(run):
    status, say = run
    status.begin()
    say("job_info", **job(0, "ppo", threads=2))
    say("job_error", 30.0, jobid=0)
    assert "0 of 4 jobs done" in status.line()
    assert status.line().endswith("about 2.3 min left; jobs of unknown duration: 1")
    assert "running" not in status.line()
    say("job_info", **job(0, "ppo", threads=2))
    say("job_finished", 100.0, job_id=0)
    assert "1 of 4 jobs done" in status.line()
