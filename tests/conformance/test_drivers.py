"""What may happen to a driver: it forks, it is interrupted."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.scripts import run

each_session = pytest.mark.parametrize("address", [None, "inline"], ids=["pool", "inline"])


FORK = """
    import os, sys, traceback
    import parallax as px

    @px.remote
    def double(x):
        return 2 * x

    px.init({address}, num_cpus=1)
    ref = double.remote(1)
    assert px.get(ref) == 2
    child = os.fork()
    if child == 0:
        code = 1
        try:
            assert not px.is_initialized()
            try:
                px.get(ref)
            except px.errors.UsageError as error:
                assert "forked" in str(error), error
            # A session of its own works, and ends with it.
            with px.init({address}, num_cpus=1):
                assert px.get(double.remote(4)) == 8
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    # The parent goes on as if nothing had happened.
    print(os.waitstatus_to_exitcode(status), px.get(double.remote(ref)))
    """


@each_session
def test_a_fork_of_the_driver_starts_clean(address: str | None) -> None:
    assert run(FORK.format(address=repr(address))) == "0 4\n"


MULTIPROCESSING = """
    import multiprocessing
    import parallax as px

    def work(x):
        return x + 1

    if __name__ == "__main__":
        px.init(num_cpus=1)
        ref = px.put(1)
        with multiprocessing.get_context("fork").Pool(2) as pool:
            print(pool.map(work, range(4)))
        print(px.get(ref))
    """


def test_multiprocessing_beside_a_session() -> None:
    assert run(MULTIPROCESSING) == "[1, 2, 3, 4]\n1\n"


INTERRUPT = """
    import os, signal, threading
    import parallax as px
    from tests.conformance.gates import Gate

    gate = Gate({folder!r})

    @px.remote
    def stop():
        gate.pass_through()

    px.init(num_cpus=2)
    waited_for, other = stop.remote(), stop.remote()

    def interrupt():
        gate.wait_for(2)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    try:
        px.get(waited_for)
    except KeyboardInterrupt:
        print("interrupted")
    try:
        px.get(waited_for)
    except px.errors.TaskCancelledError:
        print("cancelled")
    print(px.get(px.remote(len).remote("abc")))
    gate.open()
    print(px.get(other))
    """


def test_an_interrupted_get_cancels_what_it_waited_for(tmp_path: Path) -> None:
    output = run(INTERRUPT.format(folder=str(tmp_path)))
    assert output.split() == ["interrupted", "cancelled", "3", "None"]
