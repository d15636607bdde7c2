"""Parallax: interactive parallel computing for Jupyter.

    import parallax as px

    @px.remote
    def square(x):
        return x * x

    px.get(square.map(range(8)))

Importing it starts nothing; the first task starts an engine pool. Everything may be called from any
thread, and inside tasks too, which share the session of their cluster.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from parallax.version import VERSION as __version__

if TYPE_CHECKING:
    from parallax import errors, sync
    from parallax.api.actor_handle import ActorHandle
    from parallax.api.actor_pool import ActorPool
    from parallax.api.actors import (
        ActorClass,
        exit_actor,
        get_actor,
        kill,
        list_named_actors,
        method,
    )
    from parallax.api.cluster import (
        RuntimeContext,
        Session,
        available_resources,
        cluster_resources,
        get_runtime_context,
        init,
        is_initialized,
        nodes,
        shutdown,
        timeline,
    )
    from parallax.api.jobs import Job, job, job_of, jobs
    from parallax.api.keeping import Kept, forget, keep, recall
    from parallax.api.placement import (
        PlacementGroup,
        placement_group,
        placement_group_table,
        remove_placement_group,
    )
    from parallax.api.pools import Pool, pools
    from parallax.api.remote import RemoteFunction, remote
    from parallax.api.verbs import as_completed, cancel, get, map_unordered, put, wait
    from parallax.options import NodeAffinity
    from parallax.placement_options import PlacementGroupSchedulingStrategy
    from parallax.refs import ObjectRef, ObjectRefGenerator

_HOMES = {
    "api.actor_handle": ["ActorHandle"],
    "api.actor_pool": ["ActorPool"],
    "api.actors": [
        "ActorClass",
        "exit_actor",
        "get_actor",
        "kill",
        "list_named_actors",
        "method",
    ],
    "api.cluster": [
        "RuntimeContext",
        "Session",
        "available_resources",
        "cluster_resources",
        "get_runtime_context",
        "init",
        "is_initialized",
        "nodes",
        "shutdown",
        "timeline",
    ],
    "api.jobs": ["Job", "job", "job_of", "jobs"],
    "api.keeping": ["Kept", "forget", "keep", "recall"],
    "api.placement": [
        "PlacementGroup",
        "placement_group",
        "placement_group_table",
        "remove_placement_group",
    ],
    "api.pools": ["Pool", "pools"],
    "api.remote": ["RemoteFunction", "remote"],
    "api.verbs": ["as_completed", "cancel", "get", "map_unordered", "put", "wait"],
    "options": ["NodeAffinity"],
    "placement_options": ["PlacementGroupSchedulingStrategy"],
    "refs": ["ObjectRef", "ObjectRefGenerator"],
}
"""Where the public names live. They are imported when they are first asked for: so a pool, whose
processes import this package too, starts sooner, and `import parallax` takes a millisecond."""

_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "ActorClass",
    "ActorHandle",
    "ActorPool",
    "Job",
    "Kept",
    "NodeAffinity",
    "ObjectRef",
    "ObjectRefGenerator",
    "PlacementGroup",
    "PlacementGroupSchedulingStrategy",
    "Pool",
    "RemoteFunction",
    "RuntimeContext",
    "Session",
    "__version__",
    "as_completed",
    "available_resources",
    "cancel",
    "cluster_resources",
    "errors",
    "exit_actor",
    "forget",
    "get",
    "get_actor",
    "get_runtime_context",
    "init",
    "is_initialized",
    "job",
    "job_of",
    "jobs",
    "keep",
    "kill",
    "list_named_actors",
    "map_unordered",
    "method",
    "nodes",
    "placement_group",
    "placement_group_table",
    "pools",
    "put",
    "recall",
    "remote",
    "remove_placement_group",
    "shutdown",
    "sync",
    "timeline",
    "wait",
]


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is not None:
        value = getattr(import_module(f"{__name__}.{home}"), name)
    elif name in ("errors", "sync"):
        value = import_module(f"{__name__}.{name}")
    elif name in ("load_ipython_extension", "unload_ipython_extension"):
        value = getattr(import_module(f"{__name__}.notebook"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
