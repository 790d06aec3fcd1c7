"""Where in a scene ships lie: on open water, in company, side by side, along quays.

The scene's land and berths enter; ships leave. How many lie together follows the competition's
count per image, thinned out for tiles smaller than the competition's.
Source: ships per image in the competition's training set (27,104 of 42,556 hold one).
"""

from dataclasses import replace

import numpy as np

from pipeline.data.rendering.fields import between, draw, heading
from pipeline.data.rendering.fleet import Ship, mask_of, ship_sized, window
from pipeline.data.rendering.land import Berth

COUNTS_768: dict[float, float] = {
    0: 1,
    0.64: 1,
    0.78: 2,
    0.86: 3,
    0.9: 4.5,
    0.95: 7,
    0.99: 14,
    1: 22,
}
ROW: dict[float, float] = {0: 1, 0.5: 1, 0.8: 3, 0.95: 7, 1: 10}
"""Ships along one quay."""
SHARED = 0.12
"""Masks may lose at most this share of their area to one another when ships are placed."""


def place_ships(
    rng: np.random.Generator,
    land: np.ndarray,
    berths: list[Berth],
    *,
    tile_px: int,
    max_ship_px: float,
    crowding: float,
) -> list[Ship]:
    """Place ships on the water of a scene.

    Args:
        rng: Source of every choice.
        land: Bool (H, W), True where no ship can be.
        berths: Quays to lie along.
        tile_px: Side of a tile, px.
        max_ship_px: Longest ship, px.
        crowding: Groups of ships per tile's area of the scene; the first is near its middle.
    """
    height, width = land.shape
    ships: list[Ship] = []
    taken = land.copy()
    for berth in berths:
        if rng.random() < 0.35:
            for ship in _moored(rng, berth, max_ship_px):
                _settle(ship, ships, taken)
    groups = max(0 if ships else 1, int(crowding * height * width / tile_px**2 + rng.random()))
    for group in range(groups):
        reach = 0.3 if group == 0 else 0.5
        y, x = _free_place(rng, taken, reach)
        more = draw(rng, COUNTS_768) - 1
        count = 1 + int(more * min(1.0, tile_px / 768) + float(rng.random()))
        raft = count > 1 and rng.random() < 0.36
        lead = ship_sized(rng, int(rng.integers(4096)), max_ship_px, at_rest=raft)
        lead = replace(lead, y=y, x=x)
        company = _raft(rng, lead, count) if raft else _company(rng, lead, count, tile_px)
        for ship in [lead, *company]:
            _settle(ship, ships, taken)
    return ships


def _free_place(rng: np.random.Generator, taken: np.ndarray, reach: float) -> tuple[float, float]:
    y = x = 0.0
    for _ in range(20):
        y = taken.shape[0] * (0.5 + between(rng, -reach, reach))
        x = taken.shape[1] * (0.5 + between(rng, -reach, reach))
        if not taken[int(y), int(x)]:
            break
    return y, x


def _settle(ship: Ship, ships: list[Ship], taken: np.ndarray) -> None:
    """Add the ship where its mask has room, and mark the room as taken."""
    box = window(ship, 0, taken.shape)
    if box[0].start >= box[0].stop or box[1].start >= box[1].stop:
        return
    inside = mask_of(ship, box)
    area = int(inside.sum())
    if area and int((taken[box] & inside).sum()) <= SHARED * area:
        taken[box] |= inside
        ships.append(ship)


def _raft(rng: np.random.Generator, lead: Ship, count: int) -> list[Ship]:
    """Ships of one make, side by side, often touching."""
    cos, sin = heading(lead.angle)
    members, edge = [], lead.width_px / 2
    for _ in range(min(count, 12) - 1):
        length = lead.length_px * between(rng, 0.85, 1.0)
        turn = lead.angle + int(between(rng, -25, 25)) + (2048 if rng.random() < 0.2 else 0)
        ship = ship_sized(rng, turn, lead.length_px, length, at_rest=True)
        off = edge + ship.width_px / 2 + between(rng, -1.2, 1.0)
        edge = off + ship.width_px / 2
        slide = between(rng, -0.2, 0.2) * length
        y, x = lead.y + cos * off + sin * slide, lead.x - sin * off + cos * slide
        members.append(replace(ship, y=y, x=x))
    return members


def _company(rng: np.random.Generator, lead: Ship, count: int, tile_px: int) -> list[Ship]:
    """Ships in the same waters, anchored on one heading or each on its own course."""
    anchored = rng.random() < 0.5
    members = []
    for _ in range(count - 1):
        y = lead.y + between(rng, -0.45, 0.45) * tile_px
        x = lead.x + between(rng, -0.45, 0.45) * tile_px
        angle = lead.angle + int(between(rng, -200, 200)) if anchored else int(rng.integers(4096))
        length = lead.length_px * between(rng, 0.5, 1.0) if rng.random() < 0.5 else None
        cap = max(lead.length_px, 40.0)
        ship = ship_sized(rng, angle, cap, length, at_rest=anchored)
        members.append(replace(ship, y=y, x=x))
    return members


def _moored(rng: np.random.Generator, berth: Berth, max_px: float) -> list[Ship]:
    """A row of ships along a quay, or of boats with their bows to it."""
    cos, sin = heading(berth.angle)
    bows_in = rng.random() < 0.3
    usual = between(rng, 12, 34) if bows_in else min(max_px, between(rng, 30, 220))
    ships: list[Ship] = []
    at = between(rng, 0, 0.3) * berth.length_px
    count = draw(rng, ROW)
    while len(ships) < count and at < berth.length_px:
        length = usual * between(rng, 0.75, 1.1)
        turn = berth.angle + (1024 if bows_in else 0) + (2048 if rng.random() < 0.5 else 0)
        turn += int(between(rng, -12, 12))
        ship = ship_sized(rng, turn, max_px, length, at_rest=True)
        along, off = (ship.width_px, ship.length_px) if bows_in else (ship.length_px, ship.width_px)
        off = off / 2 + between(rng, 0.5, 2.5)
        middle = at + along / 2
        y, x = berth.y + sin * middle + cos * off, berth.x + cos * middle - sin * off
        ships.append(replace(ship, y=y, x=x))
        at += along + (between(rng, -0.8, 1.2) if rng.random() < 0.45 else between(rng, 2, 40))
        if rng.random() < 0.15:
            at += between(rng, 20, 120)
    return ships
