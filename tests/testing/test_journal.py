"""The simulated journal: what is kept is there, in the order in which it was said."""

from __future__ import annotations

from parallax.testing import Cluster, Faults, Large, TaskContext, check_empty
from parallax.testing.programs import Steps


def make(task: TaskContext) -> Steps:
    yield 0.01
    return Large("x")


def test_a_kept_value_outlives_its_references() -> None:
    cluster = Cluster(checked=True)
    client = cluster.client
    ref = client.submit(make)
    kept = client.keep(ref, "a")
    recalled = client.recall("a")
    cluster.run()
    client.drop(ref)
    forgotten = client.forget("b")
    cluster.run()
    assert client.answers[kept] is None
    assert client.answers[recalled] == {"value": repr(Large("x"))}
    assert client.answers[forgotten] is None
    assert cluster.journal.rows == {"a": Large("x")}
    cluster.close()
    check_empty(cluster.hub.machine)


def test_what_is_lost_on_its_way_is_made_anew() -> None:
    cluster = Cluster(checked=True)
    ref = cluster.submit(make)
    cluster.run()
    cluster.lose(cluster.name_of(ref))
    cluster.client.keep(ref, "a")
    cluster.run()
    assert cluster.journal.rows == {"a": Large("x")}
    assert cluster.runs[ref.id] == 2


def test_a_disk_that_fails_is_told_of() -> None:
    cluster = Cluster(faults=Faults(disk_fails=1.0), checked=True)
    request = cluster.client.keep(cluster.submit(make), "a")
    cluster.run()
    assert "the disk is full" in repr(cluster.client.answers[request])
    assert cluster.journal.rows == {}


def test_named_detached_actors_of_a_named_pool_are_on_disk_until_they_are_dead() -> None:
    cluster = Cluster(named=True, checked=True)
    actor = cluster.client.actor(0.001, name="x", detached=True)
    cluster.run()
    cluster.run(0.1)
    assert [name for _, name in cluster.journal.recipes] == ["x"]
    cluster.client.kill_actor(actor)
    cluster.run(0.1)
    assert cluster.journal.recipes == {}
