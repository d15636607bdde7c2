"""Templates and the code they need, each kept for as long as somebody needs it and no longer.

A client keeps what it has defined until it drops it or is gone; tasks keep their templates, and so
do the errors from which a failed one can be run again. The rest is left to reference counting, so
that no table has to be swept.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from weakref import WeakValueDictionary

from parallax.core.fleet import Fleet
from parallax.core.group_records import GroupRecord, removed_group
from parallax.core.outbox import Outbox
from parallax.core.ready import Shape
from parallax.core.records import Blob, EngineRecord, PeerRecord, Template
from parallax.core.resources import Demand
from parallax.errors import ProtocolError
from parallax.messages import BlobDefined, TemplateDefined, TemplatesForgotten

MAX_RETURNS = 1_000_000
"""Objects that one task may return."""


class TemplateTable:
    """What clients have defined."""

    def __init__(self, fleet: Fleet, outbox: Outbox) -> None:
        self.rows: WeakValueDictionary[int, Template] = WeakValueDictionary()
        self.blobs: WeakValueDictionary[bytes, Blob] = WeakValueDictionary()
        self.groups: Mapping[int, GroupRecord] = {}
        """Placement groups; set by their table."""
        self._shapes: WeakValueDictionary[tuple[object, ...], Shape] = WeakValueDictionary()
        self._fleet = fleet
        self._outbox = outbox

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
        template = self.rows[spec.template] = Template(spec, shape, blobs)
        owner.templates[spec.template] = template

    def define_blob(self, owner: PeerRecord, key: bytes, data: bytes) -> None:
        """Keep a piece of code for this client and the templates that it will define."""
        blob = self.blobs.get(key)
        if blob is None:
            blob = self.blobs[key] = Blob(key, data)
        owner.blobs.setdefault(key, []).append(blob)

    def drop(self, owner: PeerRecord, templates: list[int], blobs: list[bytes]) -> list[Template]:
        """The client needs these no more; returns the templates. What tasks need lives on.

        Raises:
            ProtocolError: it never had one of them.
        """
        unknown = [*(set(templates) - owner.templates.keys()), *(set(blobs) - owner.blobs.keys())]
        if unknown:
            raise ProtocolError(f"it drops code that it has not defined: {unknown}")
        dropped = [owner.templates.pop(template) for template in dict.fromkeys(templates)]
        for key in blobs:
            held = owner.blobs.get(key)
            if held is not None:
                held.pop()
                if not held:
                    del owner.blobs[key]
        self._unteach(dropped)
        return dropped

    def forget(self, owner: PeerRecord) -> list[Template]:
        """The client is gone; returns its templates, which live on in tasks that have not ended."""
        dropped = list(owner.templates.values())
        owner.templates.clear()
        owner.blobs.clear()
        self._unteach(dropped)
        return dropped

    def teach(self, engine: EngineRecord, template: Template) -> None:
        """The engine gets a task of this template for the first time: send its code before."""
        engine.templates.add(template.id)
        for blob in template.blobs:
            count = engine.blobs[blob.key] = engine.blobs.get(blob.key, 0) + 1
            if count == 1:
                self._outbox.send(engine.peer, BlobDefined(blob.key, blob.data))
        self._outbox.send(engine.peer, template.spec)

    def _unteach(self, templates: list[Template]) -> None:
        """Engines need these no more. Tasks of them that have not ended teach them anew."""
        for engine in self._fleet.engines.values():
            known = [template for template in templates if template.id in engine.templates]
            if not known:
                continue
            spare: list[bytes] = []
            for template in known:
                engine.templates.discard(template.id)
                for blob in template.blobs:
                    engine.blobs[blob.key] -= 1
                    if not engine.blobs[blob.key]:
                        del engine.blobs[blob.key]
                        spare.append(blob.key)
            ids = [template.id for template in known]
            self._outbox.send(engine.peer, TemplatesForgotten(ids, spare))

    def nodes_changed(self) -> None:
        """Find out anew which shapes some node, or bundle, could run."""
        for shape in self._shapes.values():
            shape.feasible = self._feasible(shape)

    def _shape(self, spec: TemplateDefined) -> Shape:
        demand = Demand(spec.demand)
        group = self._group(spec)
        place = (spec.spread, spec.affinity, spec.affinity_soft, group, spec.bundle)
        key = (demand.items, *place)
        shape = self._shapes.get(key)
        if shape is None:
            shape = self._shapes[key] = Shape(
                demand,
                spread=spec.spread,
                affinity=spec.affinity,
                soft=spec.affinity_soft,
                group=group,
                bundle=spec.bundle,
            )
            shape.feasible = self._feasible(shape)
        return shape

    def _group(self, spec: TemplateDefined) -> GroupRecord | None:
        if not spec.group:
            return None
        return self.groups.get(spec.group) or removed_group(spec.group)

    def _feasible(self, shape: Shape) -> bool:
        if shape.group is not None:
            return shape.group.could_run(shape)
        return any(self._fleet.allowed(shape, node) for node in self._fleet.nodes.values())
