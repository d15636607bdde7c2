"""What to do about the frequent things that cannot be pickled."""

from __future__ import annotations

DEFAULT = "Create it inside the task, or define how it is pickled with __reduce__."

_LOCK = (
    "A lock holds in one process only, and tasks share nothing that it could guard: create it "
    "inside the task, or do without."
)
_FILE = "Open the file inside the task, from its path."
_CONNECTION = "Connect inside the task."
_LIVES_HERE = "It lives in this process only: create it inside the task, or submit tasks instead."
_NOTEBOOK = "It belongs to the notebook's kernel: pass what you need of it as plain values."
_HANDLE = "It is a handle of this process: create it inside the task."
_QUEUE = "It joins threads of one process: return values from tasks instead."
_PENDING = "Wait for it here, and pass its result."

# By the full name of the type or of one of its bases, so that nothing is imported to look.
_BY_TYPE = {
    "_thread.lock": _LOCK,
    "_thread.RLock": _LOCK,
    "threading.Condition": _LOCK,
    "threading.Event": _LOCK,
    "threading.Semaphore": _LOCK,
    "threading.Barrier": _LOCK,
    "_thread._local": "Each thread has its own: create it inside the task.",
    "_thread._localdummy": "Each thread has its own: create it inside the task.",
    "_io._IOBase": _FILE,
    "mmap.mmap": _FILE,
    "h5py._hl.base.HLObject": _FILE,
    "_socket.socket": _CONNECTION,
    "ssl.SSLContext": _CONNECTION,
    "sqlite3.Connection": _CONNECTION,
    "sqlite3.Cursor": _CONNECTION,
    "psycopg2.extensions.connection": _CONNECTION,
    "psycopg2.extensions.cursor": _CONNECTION,
    "psycopg.Connection": _CONNECTION,
    "sqlalchemy.engine.base.Engine": _CONNECTION,
    "sqlalchemy.engine.base.Connection": _CONNECTION,
    "sqlalchemy.orm.session.Session": _CONNECTION,
    "pymongo.mongo_client.MongoClient": _CONNECTION,
    "pymongo.synchronous.mongo_client.MongoClient": _CONNECTION,
    "redis.client.Redis": _CONNECTION,
    "duckdb.duckdb.DuckDBPyConnection": _CONNECTION,
    "_duckdb.DuckDBPyConnection": _CONNECTION,
    "builtins.generator": "Pass a list of its items, or create it inside the task.",
    "builtins.async_generator": "Call the generator function inside the task.",
    "builtins.coroutine": "Pass the async function and its arguments, and call it inside the task.",
    "builtins.frame": "Pass the values that you need of it.",
    "builtins.traceback": "Pass its text: traceback.format_exception(error).",
    "builtins.module": "Put its code into a file that can be imported.",
    "builtins.PyCapsule": _HANDLE,
    "weakref.ReferenceType": "Pass the object that it refers to.",
    "weakref.ProxyType": "Pass the object that it refers to.",
    "weakref.CallableProxyType": "Pass the object that it refers to.",
    "_weakref.ReferenceType": "Pass the object that it refers to.",
    "parallax.refs.ObjectRefGenerator": "Pass its refs on, one by one.",
    "parallax.api.cluster.Session": "A task has a session of its own, on the same cluster.",
    "concurrent.futures._base.Executor": _LIVES_HERE,
    "multiprocessing.pool.Pool": _LIVES_HERE,
    "threading.Thread": _LIVES_HERE,
    "subprocess.Popen": _LIVES_HERE,
    "asyncio.events.AbstractEventLoop": _LIVES_HERE,
    "concurrent.futures._base.Future": _PENDING,
    "_asyncio.Future": _PENDING,
    "_asyncio.Task": _PENDING,
    "queue.Queue": _QUEUE,
    "_queue.SimpleQueue": _QUEUE,
    "asyncio.queues.Queue": _QUEUE,
    "_contextvars.Token": _HANDLE,
    "_contextvars.ContextVar": "Read it here, and pass its value.",
    "_ctypes._Pointer": _HANDLE,
    "_ctypes.CFuncPtr": _HANDLE,
    "_cffi_backend._CDataBase": _HANDLE,
    "select.epoll": _HANDLE,
    "torch.Stream": _HANDLE,
    "torch.cuda.streams.Stream": _HANDLE,
    "torch.cuda.streams.Event": _HANDLE,
    "torch._C.Generator": "Pass a seed, and make the generator inside the task.",
    "tqdm.std.tqdm": "Show progress from inside a task by parallax.track(...).",
}
_BY_PACKAGE = {
    "IPython": _NOTEBOOK,
    "ipykernel": _NOTEBOOK,
    "ipywidgets": _NOTEBOOK,
    "zmq": _CONNECTION,
    "pycuda": _HANDLE,
    "cupy_backends": _HANDLE,
}


def cure_for(value: object) -> str | None:
    """What to do about a value of this type; None when it is not a usual suspect."""
    for base in type(value).__mro__:
        if cure := _BY_TYPE.get(f"{base.__module__}.{base.__qualname__}"):
            return cure
    return _BY_PACKAGE.get(str(type(value).__module__).partition(".")[0])
