"""Which bundle of a placement group goes to which host: all of them, or none.

A search with backtracking: the hardest bundles first, each on the hosts that its group's strategy
prefers. What it finds is good and not always the best; it gives up after `MAX_BACKTRACKS` wrong
turns, which only contrived groups need.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

from parallax.core.resources import Demand, Stock

PACK, SPREAD, STRICT_PACK, STRICT_SPREAD = "PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD"
STRATEGIES = (PACK, SPREAD, STRICT_PACK, STRICT_SPREAD)
MAX_BACKTRACKS = 1000

Place: TypeAlias = tuple[Stock, list[int]]
"""Where a bundle goes, and which GPUs it gets there."""


def pack(
    demands: Sequence[Demand], strategy: str, stocks: Iterable[Stock], used: Iterable[Stock] = ()
) -> list[Place] | None:
    """Acquire room for all of these, or for none.

    Costs O(bundles x hosts) when the first choices are right.

    Args:
        stocks: where there may be room.
        used: those of them that have other bundles of the group already, once for each.

    Returns:
        For each demand where it is; None when there is no room, and then nothing was acquired.
    """
    hosts = sorted(stocks, key=lambda stock: -stock.available["CPU"])
    if not _adds_up(demands, hosts):
        return None
    counts = Counter(used)
    if strategy == PACK:
        found = _search(demands, STRICT_PACK, hosts, counts)
        if found is not None:
            return found
    return _search(demands, strategy, hosts, counts)


def _adds_up(demands: Sequence[Demand], hosts: Sequence[Stock]) -> bool:
    """Is there enough in all? If not there is no need to look closer."""
    asked = Counter[str]()
    for demand in demands:
        asked.update(demand.quantities)
    return all(
        sum(max(0, host.available.get(name, 0)) for host in hosts) >= amount
        for name, amount in asked.items()
    )


def _search(
    demands: Sequence[Demand], strategy: str, hosts: Sequence[Stock], counts: Counter[Stock]
) -> list[Place] | None:
    order = sorted(range(len(demands)), key=lambda i: _hardness(demands[i]), reverse=True)
    chosen: list[Place] = []
    choices = [_choices(strategy, hosts, counts)]
    wrong = 0
    while len(chosen) < len(demands):
        demand = demands[order[len(chosen)]]
        host = next((host for host in choices[-1] if host.fits(demand)), None)
        if host is not None:
            chosen.append((host, host.acquire(demand)))
            counts[host] += 1
            choices.append(_choices(strategy, hosts, counts))
            continue
        choices.pop()
        wrong += 1
        for _ in range(len(chosen) if wrong > MAX_BACKTRACKS else min(1, len(chosen))):
            host, gpus = chosen.pop()
            host.release(demands[order[len(chosen)]], gpus)
            counts[host] -= 1
        if not choices or wrong > MAX_BACKTRACKS:
            return None
    places = dict(zip(order, chosen, strict=True))
    return [places[index] for index in range(len(demands))]


def _hardness(demand: Demand) -> tuple[int, int, int]:
    rare = sum(name not in ("CPU", "memory") for name in demand.quantities)
    return rare, demand.cpus, sum(demand.quantities.values())


def _choices(strategy: str, hosts: Sequence[Stock], counts: Counter[Stock]) -> Iterator[Stock]:
    if strategy == STRICT_SPREAD:
        return (host for host in hosts if not counts[host])
    if strategy == SPREAD:
        return iter(sorted(hosts, key=counts.__getitem__))
    with_others = [host for host in hosts if counts[host]]
    if strategy == STRICT_PACK:
        return iter(with_others or hosts)
    return iter([*with_others, *(host for host in hosts if not counts[host])])
