"""However a driver ends, its pool ends with it: soon, quietly, and whole."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from tests.pool.clusters import Driver, process, wait_gone

WORK = """
    import threading
    @px.remote
    def sleep():
        time.sleep(600)
    @px.remote(num_cpus=0)  # the others take all that there are
    def speak():
        print("said in a task")
    @px.remote(num_cpus=0)
    def python_path():
        return os.environ.get("PYTHONPATH")
    px.init(num_cpus=2)
    large = px.put(bytearray(1 << 21))
    refs = [sleep.remote() for _ in range(5)]
    future = refs[0].future()
    threading.Thread(target=lambda: px.get(refs[1]), daemon=True).start()
    say(cluster=cluster())
"""


@pytest.mark.parametrize(
    ("ending", "status", "complaint"),
    [
        ("pass", 0, ""),
        ("sys.exit(5)", 5, ""),
        ("raise RuntimeError('boom')", 1, "RuntimeError: boom\n"),
        ("os._exit(4)", 4, ""),
        ("px.shutdown()", 0, None),  # the thread above says that its cluster is gone
        ("px.shutdown(); px.shutdown(); px.get(speak.remote())", 0, None),
        ("os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM, ""),
    ],
)
def test_a_driver_that_ends_with_tasks_pending(
    ending: str, status: int, complaint: str | None
) -> None:
    with Driver(WORK + f"    {ending}\n") as driver:
        name = driver.hear()["cluster"]
        found, errors = driver.end(timeout_s=8)
        wait_gone(name)
    assert found == status
    if complaint is not None:
        assert errors.endswith(complaint)
        assert errors.count("Traceback") == bool(complaint)


def test_the_last_output_is_shown() -> None:
    script = WORK + "    px.get(speak.remote())\n"
    with Driver(script) as driver:
        driver.hear()
        assert driver.process.stdout is not None
        assert driver.process.stdout.read() == "said in a task\n"


def test_programs_that_tasks_start_have_the_drivers_environment() -> None:
    script = WORK + "    say(path=px.get(python_path.remote()))\n"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with Driver(script, env=environment) as driver:
        driver.hear()
        assert driver.hear() == {"path": environment["PYTHONPATH"]}


def test_an_interrupt_of_the_process_group_reaches_the_driver_alone() -> None:
    script = (
        WORK
        + """
    try:
        say(ready=True)
        px.get(refs[2])
    except KeyboardInterrupt:
        say(interrupted=True)
    say(well=px.get(python_path.remote()) is not None)
    """
    )
    with Driver(script, start_new_session=True) as driver:
        name = driver.hear()["cluster"]
        hub = process(name, "parallax-hub")
        assert driver.hear() == {"ready": True}
        os.killpg(driver.process.pid, signal.SIGINT)
        assert driver.hear() == {"interrupted": True}
        assert driver.hear() == {"well": True}
        assert hub.is_running()


def test_tasks_can_be_interrupted_below_nohup() -> None:
    script = """
    @px.remote
    def sleep(path):
        open(path, "w").close()
        time.sleep(600)
    import tempfile
    px.init(num_cpus=1)
    with tempfile.TemporaryDirectory() as folder:
        ref = sleep.remote(folder + "/begun")
        while not os.path.exists(folder + "/begun"):
            time.sleep(0.01)
        begun = time.monotonic()
        px.cancel(ref)
        try:
            px.get(ref)
        except px.errors.TaskCancelledError:
            say(engines=px.nodes()[0]["engines"][0]["engine"])
    """
    with Driver(script, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)) as driver:
        assert driver.hear() == {"engines": 1}  # it was interrupted, not killed
