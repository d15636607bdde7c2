"""Templates and the code they need, each kept for as long as somebody needs it and no longer.

A client keeps what it has defined while it is there, and tasks keep their templates; the rest is
left to reference counting, so that no table has to be swept.
"""

from __future__ import annotations

import math
from weakref import WeakValueDictionary

from parallax.core.fleet import Fleet
from parallax.core.ready import Shape
from parallax.core.records import Blob, PeerRecord, Template
from parallax.core.resources import Demand
from parallax.errors import ProtocolError
from parallax.messages import TemplateDefined

MAX_RETURNS = 1_000_000
"""Objects that one task may return."""


class TemplateTable:
    """What clients have defined."""

    def __init__(self, fleet: Fleet) -> None:
        self.rows: dict[int, Template] = {}
        """Those whose clients are there."""
        self.blobs: WeakValueDictionary[bytes, Blob] = WeakValueDictionary()
        self._shapes: WeakValueDictionary[tuple[object, ...], Shape] = WeakValueDictionary()
        self._fleet = fleet

    def define(self, owner: PeerRecord, spec: TemplateDefined) -> None:
        """Keep a template; one of that id that is there already stays.

        Raises:
            ProtocolError: an option is out of range.
        """
        if spec.template in self.rows:
            return
        if not 0 <= spec.num_returns <= MAX_RETURNS:
            raise ProtocolError(f"num_returns={spec.num_returns} is out of range")
        if not 0 <= spec.timeout_s < math.inf:
            raise ProtocolError(f"timeout_s={spec.timeout_s} is out of range")
        try:
            shape = self._shape(spec)
        except ValueError as error:
            raise ProtocolError(str(error)) from error
        keys = (spec.function, spec.modules)
        blobs = [self.blobs[key] for key in keys if key in self.blobs]
        self.rows[spec.template] = Template(spec, shape, blobs)
        owner.templates.append(spec.template)

    def define_blob(self, owner: PeerRecord, key: bytes, data: bytes) -> None:
        """Keep a piece of code for this client and the templates that it will define."""
        blob = self.blobs.get(key)
        if blob is None:
            blob = self.blobs[key] = Blob(key, data)
        owner.blobs[key] = blob

    def forget(self, owner: PeerRecord) -> None:
        """The client is gone; its templates live on in tasks that have not ended."""
        for template in owner.templates:
            del self.rows[template]
        owner.templates.clear()
        owner.blobs.clear()

    def nodes_changed(self) -> None:
        """Find out anew which shapes some node could run."""
        for shape in self._shapes.values():
            shape.feasible = self._feasible(shape)

    def _shape(self, spec: TemplateDefined) -> Shape:
        demand = Demand(spec.demand)
        key = (demand.items, spec.spread, spec.affinity, spec.affinity_soft)
        shape = self._shapes.get(key)
        if shape is None:
            shape = self._shapes[key] = Shape(
                demand, spread=spec.spread, affinity=spec.affinity, soft=spec.affinity_soft
            )
            shape.feasible = self._feasible(shape)
        return shape

    def _feasible(self, shape: Shape) -> bool:
        return any(self._fleet.allowed(shape, node) for node in self._fleet.nodes.values())
