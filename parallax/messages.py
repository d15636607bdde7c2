"""The words that processes say to each other. `parallax.net.codec` puts them on a wire.

Events are past tense and travel to the hub; instructions are what the hub says back. Every
message is an array on the wire, tagged by a small int. Ids are ints (`parallax.ids`), durations
and times are seconds, sizes are bytes.

A value is one of three things: the pickled bytes themselves (small values), `Stored` (a name in
the shared-memory store), or `Failure` (why there is no value).
"""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

import msgspec
from msgspec import Meta

PROTOCOL = 1
"""The version of this vocabulary. A peer that speaks another one is refused."""

INLINE_LIMIT_BYTES = 64 * 1024
"""Values and arguments of up to so many bytes travel in messages, larger ones through the store."""

# Decoding refuses what is out of bounds, so that no table ever meets it.
Id: TypeAlias = Annotated[int, Meta(ge=0, le=1 << 62)]
"""Of a task, an object, a job or a template; 0 is none."""
Count: TypeAlias = Annotated[int, Meta(ge=0, le=1 << 62)]
Seconds: TypeAlias = Annotated[float, Meta(ge=0.0, le=1e18)]
Amount: TypeAlias = Annotated[float, Meta(ge=0.0, le=1e18)]
Pid: TypeAlias = Annotated[int, Meta(ge=0, le=(1 << 31) - 1)]
Seed: TypeAlias = Annotated[int, Meta(ge=-1, le=(1 << 63) - 1)]
"""-1 for none."""
Retries: TypeAlias = Annotated[int, Meta(ge=-1, le=1 << 31)]
"""-1 for as many as it takes."""
Affinity: TypeAlias = Annotated[int, Meta(ge=-1, le=1 << 31)]
"""A node's number; -1 for any."""
Bundle: TypeAlias = Annotated[int, Meta(ge=-1, le=1 << 24)]
"""Of a placement group: which of its bundles; -1 for any."""
Role: TypeAlias = Annotated[int, Meta(ge=0, le=2)]
"""Of a template: see the constants below."""
PLAIN, CONSTRUCTOR, CALL = range(3)
Grace: TypeAlias = Annotated[float, Meta(ge=-1.0, le=1e18)]
"""Seconds; -1 for without end."""
KeptName: TypeAlias = Annotated[str, Meta(min_length=1, max_length=200)]
Returns: TypeAlias = Annotated[int, Meta(ge=0, le=1 << 24)]
"""The hub makes a row for each."""


class _Word(msgspec.Struct, array_like=True, gc=False):
    """Base of values and of the rows inside messages."""


class _Message(msgspec.Struct, array_like=True, gc=False):
    """Base of all messages."""


# ---- values -------------------------------------------------------------------------------


class Stored(_Word, tag=1):
    """A value in the shared-memory store of one node."""

    name: str
    size_bytes: Count
    creator: Count
    node: Count = 0


class Failure(_Word, tag=2):
    """Why an object has no value. `kind` selects the error class (see `parallax.api.failures`)."""

    kind: str
    message: str
    data: bytes = b""
    origin: Id = 0


class Chunk(_Word, tag=3):
    """The arguments of several calls of one function: one return object an item."""

    items: list[bytes]


Value: TypeAlias = bytes | Stored | Failure
Arguments: TypeAlias = bytes | Stored | Chunk

# ---- what a client says -------------------------------------------------------------------


class Hello(_Message, tag=10):
    """The first message of every peer."""

    protocol: int
    version: str
    python: str
    role: str
    token: str
    pid: Pid
    host: str
    name: str = ""
    number: Count = 0
    """Of an engine: the number its node gave it. Of a node: unused."""
    resources: dict[str, Amount] = {}
    owner: bool = False
    """True for the client whose end is the end of the pool."""


class JobOpened(_Message, tag=11):
    """A piece of work that the user can name: one cell's run, one script, one `with px.job()`."""

    job: Id
    name: str
    cell: str = ""
    source: str = ""
    started_at: Seconds = 0.0
    namespace: str = ""
    """Where the job's tasks look for actors by name."""


class TemplateDefined(_Message, tag=12):
    """What many tasks share: their function and their options."""

    template: Id
    name: str
    function: bytes
    modules: bytes = b""
    captured: list[Id] = []
    demand: dict[str, Amount] = {}
    num_returns: Returns = 1
    streaming: bool = False
    backpressure: Count = 0
    max_retries: Retries = 3
    retry_exceptions: bool = False
    retry_types: bytes = b""
    timeout_s: Seconds = 0.0
    max_calls: Count = 0
    spread: bool = False
    affinity: Affinity = -1
    affinity_soft: bool = False
    role: Role = 0
    """What its tasks are: 0 plain tasks, 1 constructors of actors, 2 calls of an actor."""
    method: str = ""
    """Of a call: the method's name; empty when `function` is to be called with the instance."""
    concurrency_group: str = ""
    concurrency: Count = 1
    """Of a constructor: so many calls of the actor run at once."""
    concurrency_groups: dict[str, Count] = {}
    drops_result: bool = False
    """Of a call: what it returns is not wanted, and its one return object only tells that it has
    ended."""
    group: Id = 0
    """The placement group in which its tasks run, 0 for none."""
    bundle: Bundle = -1
    capture: bool = False
    """What its tasks submit runs in that group too."""
    cache: str = ""
    """The folder where results are kept; empty when they are not. The first argument of the tasks
    is then the recipe of the call's key (see `parallax.serial.call_key`)."""
    cache_limit: Count = 0
    durable: bool = False
    """Its tasks are to go on in the next pool of this name when this one was killed."""


class BlobDefined(_Message, tag=13):
    """Code, addressed by its content."""

    key: bytes
    data: bytes


class TaskSpec(_Word):
    """One call, or one chunk of a map. `id` is also the id of the first return object."""

    id: Id
    template: Id
    args: Arguments
    deps: list[Id] = []
    refs: list[Id] = []
    seed: Seed = -1


class TasksSubmitted(_Message, tag=14):
    job: Id
    parent: Id
    tasks: list[TaskSpec]


class ObjectPut(_Message, tag=15):
    id: Id
    value: Value
    contained: list[Id] = []


class RefsChanged(_Message, tag=16):
    """What this client came to hold, and what it holds no more."""

    added: list[Id]
    dropped: list[Id]


class ObjectsWanted(_Message, tag=17):
    """Answer with `ObjectsReady` as each of these gets its value."""

    ids: list[Id]


class CancelRequested(_Message, tag=18):
    """`grace_s >= 0`: an engine that has not obeyed by then is killed."""

    ids: list[Id]
    force: bool = False
    recursive: bool = True
    grace_s: Grace = -1.0


class ItemsConsumed(_Message, tag=19):
    """The reader of a streaming task has taken `count` items so far."""

    task: Id
    count: Count


class ObjectMissing(_Message, tag=20):
    """The store has no segment of this name any more."""

    id: Id
    name: str


class Asked(_Message, tag=21):
    request: Count
    what: str
    argument: Any = None


class ShutdownRequested(_Message, tag=22):
    reason: str = ""


class Left(_Message, tag=23):
    """This client goes, and is not coming back; the cluster stays."""


class FailedRetried(_Message, tag=24):
    """The client has submitted these failed tasks of a job anew: they count as retried."""

    job: Id
    tasks: list[Id]


class TemplatesDropped(_Message, tag=8):
    """No task of these templates will be submitted any more; each was defined by this client."""

    templates: list[int]
    blobs: list[bytes]
    """Keys of code that it needs no more, one for each time that it was defined."""


class ActorCreated(_Message, tag=25):
    """A new actor, by the call of its constructor.

    The id of that task is the actor's, and that of an object which stands for it: to hold that
    object is to have a handle. The object's value says that the actor has been constructed.
    """

    job: Id
    parent: Id
    spec: TaskSpec
    name: str = ""
    namespace: str = ""
    """Empty for that of the job."""
    detached: bool = False
    keeps_cpus: bool = False
    """What it asks for in CPUs is reserved while it lives, not only while it is constructed."""
    ordered: bool = True
    """It runs one call at a time, those of one caller in their order."""
    info: bytes = b""
    """What handles know of its class, for those who find it by its name."""


class CallsSubmitted(_Message, tag=26):
    """Calls of one actor. `first` numbers the first of them among those of this client to it."""

    job: Id
    parent: Id
    actor: Id
    first: Count
    calls: list[TaskSpec]


class KillRequested(_Message, tag=27):
    """End the actor now; with `restart` it may start anew as after a crash."""

    actor: Id
    restart: bool = False


class KeepRequested(_Message, tag=28):
    """Keep the object's value in the journal under this name, once there is one.

    `Answered` comes when that is on disk: the value, or that it will be kept when it is there.
    """

    request: Count
    id: Id
    name: KeptName


class RecallRequested(_Message, tag=29):
    """Answer with what is kept under this name, once there is a value; with all names if empty."""

    request: Count
    name: str = ""
    wait: bool = True
    """False: if its task has not ended, answer that."""


class ForgetRequested(_Message, tag=9):
    """Keep nothing under this name any more. `Answered` comes when that is on disk."""

    request: Count
    name: KeptName


class GroupCreated(_Message, tag=6):
    """A new placement group. Its id is also that of an object, ready when the group is."""

    job: Id
    id: Id
    bundles: list[dict[str, Amount]]
    strategy: str
    name: str = ""
    detached: bool = False
    """It does not end with the client that owns the job."""
    value: bytes = b""
    """Of that object."""


class GroupRemoved(_Message, tag=7):
    """End the group and what runs in it."""

    group: Id


# ---- what an engine says besides ----------------------------------------------------------


class Done(_Word):
    """The end of one attempt. Fewer values than the task has returns: the rest was not begun."""

    task: Id
    attempt: Count
    values: list[Value]
    contained: dict[Id, list[Id]] = {}
    started_at: Seconds = 0.0
    duration_s: Seconds = 0.0
    retriable: bool = False
    """The exception is one that `retry_exceptions` names."""
    retried: Count = 0
    """Of a call: how often it was run again since it raised, by the actor itself."""


class TasksFinished(_Message, tag=30):
    done: list[Done]


class TasksReturned(_Message, tag=31):
    """Taken back before they began; the answer to `TasksRecalled`, empty when it came too late."""

    ids: list[Id]
    recalled: bool = False


class TaskStalled(_Message, tag=32):
    """The task could not begin: these of its dependencies were gone from the store."""

    task: Id
    attempt: Count
    missing: list[Id]


class TaskBlocked(_Message, tag=33):
    """The task waits, for as long as it takes, until there are all of these objects (and more)."""

    task: Id
    objects: list[Id] = []


class TaskUnblocked(_Message, tag=34):
    task: Id


class ItemYielded(_Message, tag=35):
    """A streaming task produced item number `index`."""

    task: Id
    attempt: Count
    index: Count
    id: Id
    value: Value
    contained: list[Id] = []


class ItemsReturned(_Message, tag=38):
    """A chunk that runs for long keeps its first `kept` items and gives back the others."""

    task: int
    attempt: int
    kept: int


class Printed(_Message, tag=36):
    task: Id
    job: Id
    stream: str
    text: str


class ActorExited(_Message, tag=39):
    """The actor of this engine ends, because its own code wants so."""

    actor: Id


# ---- what a node says ---------------------------------------------------------------------


class EngineExited(_Message, tag=40):
    """`running` is the object id that the engine was computing when it died, 0 for none."""

    number: Count
    status: int
    running: Id
    detail: str = ""
    turns: list[Count] = []
    """Of an actor that runs several calls at once: the turn of the latest that began, first of
    those without a concurrency group, then of each group."""


class MemoryPressed(_Message, tag=41):
    available_bytes: Count
    total_bytes: Count


# ---- what the hub says --------------------------------------------------------------------


class Welcome(_Message, tag=50):
    number: Count
    cluster: str
    node: Count
    store: str
    spill: str
    store_limit_bytes: Count
    resources: dict[str, Amount]
    token: str = ""


class Refused(_Message, tag=51):
    kind: str
    message: str


class InlineLimited(_Message, tag=74):
    """Values and arguments of more bytes than this go to the store from now on."""

    limit_bytes: Count


class ObjectsReady(_Message, tag=52):
    items: list[tuple[Id, Value]]


class SegmentsFreed(_Message, tag=53):
    names: list[str]


class Answered(_Message, tag=54):
    request: Count
    answer: Any = None
    error: str = ""


class Said(_Message, tag=55):
    """Output of a task, for the client that submitted it."""

    job: Id
    task: Id
    engine: Count
    name: str
    stream: str
    text: str


class Noted(_Message, tag=56):
    """Something the user should read once."""

    text: str


class ItemReady(_Message, tag=57):
    """Item `index` of a streaming task is object `id`; id 0 is the end, after `index` items."""

    task: Id
    index: Count
    id: Id


class Assignment(_Word):
    id: Id
    attempt: Count
    template: Id
    args: Arguments
    job: Id
    deps: list[Id] = []
    values: list[Value] = []
    seed: Seed = -1
    gpus: list[Id] = []
    skipped: list[Id] = []
    turn: Count = 0
    """Of a call to an actor that runs several at once: which it is of those that its engine got in
    its concurrency group, from 1 on; they begin in this order."""


class TasksAssigned(_Message, tag=60):
    tasks: list[Assignment]


class TasksRecalled(_Message, tag=61):
    ids: list[Id]


class TaskInterrupted(_Message, tag=62):
    """Stop this attempt if it runs, drop it if it waits. `object_id` narrows it to one map item."""

    task: Id
    attempt: Count
    reason: str
    object_id: Id = 0


class TemplatesForgotten(_Message, tag=65):
    """The engine gets no more tasks of these, unless it is told of them anew."""

    templates: list[int]
    blobs: list[bytes]


class ActorStopped(_Message, tag=63):
    """The actor of this engine has no calls left and nobody who could make one: end."""

    actor: Id


class EnginesWanted(_Message, tag=70):
    numbers: list[Id]


class EngineUnwanted(_Message, tag=71):
    number: Count


class ItemUnwanted(_Message, tag=73):
    """Kill this engine if what it computes at this instant is this object, and else let it be."""

    number: Count
    object_id: Id


class Stopped(_Message, tag=72):
    """The cluster, or this peer's part in it, is over."""

    reason: str


class Ping(_Message, tag=80):
    """Nothing but a sign that the connection is there."""


ToHub: TypeAlias = (
    Hello
    | JobOpened
    | TemplateDefined
    | BlobDefined
    | TasksSubmitted
    | ObjectPut
    | RefsChanged
    | ObjectsWanted
    | CancelRequested
    | ItemsConsumed
    | ObjectMissing
    | Asked
    | ShutdownRequested
    | Left
    | FailedRetried
    | TemplatesDropped
    | ActorCreated
    | CallsSubmitted
    | KillRequested
    | GroupCreated
    | GroupRemoved
    | ActorExited
    | KeepRequested
    | RecallRequested
    | ForgetRequested
    | TasksFinished
    | TasksReturned
    | TaskStalled
    | TaskBlocked
    | TaskUnblocked
    | ItemsReturned
    | ItemYielded
    | Printed
    | EngineExited
    | MemoryPressed
    | Ping
)

FromHub: TypeAlias = (
    Welcome
    | Refused
    | ObjectsReady
    | SegmentsFreed
    | Answered
    | Said
    | Noted
    | ItemReady
    | InlineLimited
    | TemplateDefined
    | BlobDefined
    | TemplatesForgotten
    | ItemsConsumed
    | TasksAssigned
    | TasksRecalled
    | TaskInterrupted
    | ActorStopped
    | EnginesWanted
    | EngineUnwanted
    | ItemUnwanted
    | Stopped
    | Ping
)

Message: TypeAlias = ToHub | FromHub
