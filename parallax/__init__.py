"""Parallax: interactive parallel computing for Jupyter.

    import parallax as px

    @px.remote
    def square(x):
        return x * x

    px.get(square.map(range(8)))

Importing it starts nothing; the first task starts an engine pool.
"""

from parallax import errors
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
from parallax.api.pools import Pool, pools
from parallax.api.remote import RemoteFunction, remote
from parallax.api.verbs import as_completed, cancel, get, map_unordered, put, wait
from parallax.options import NodeAffinity
from parallax.refs import ObjectRef, ObjectRefGenerator
from parallax.version import VERSION as __version__

__all__ = [
    "Job",
    "NodeAffinity",
    "ObjectRef",
    "ObjectRefGenerator",
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
    "get",
    "get_runtime_context",
    "init",
    "is_initialized",
    "job",
    "job_of",
    "jobs",
    "map_unordered",
    "nodes",
    "pools",
    "put",
    "remote",
    "shutdown",
    "timeline",
    "wait",
]
