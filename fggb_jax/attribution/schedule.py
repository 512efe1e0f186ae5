"""Which images to walk, and when, so that pairs come in their order and each image's walk serves
all its partners.

A pair (a, b) needs two maps: a's for the partner b and b's for the partner a. One walk over an
image's channels gives its maps for any number of partners, so a walk also makes the maps of pairs
that come later. These wait, within a bound; where there are too many, those that are needed
furthest in the future are not made yet (Belady's rule), and their image is walked again later.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice

Key = tuple[int, int]  # (image, partner): the map of the image for that partner


@dataclass(frozen=True)
class Walk:
    """One walk over the channels of an image.

    Attributes:
        image: its index.
        kept: the partners whose maps are made, each with the last pair that uses its map; after
            that pair it may go.
    """

    image: int
    kept: dict[int, int] = field(default_factory=dict)


def schedule(
    pairs: Sequence[tuple[int, int]], bound: int, at_once: int = 1
) -> list[tuple[Walk, ...]]:
    """The walks, in rounds of at most `at_once` different images.

    Args:
        pairs: (probe, gallery) indices of images, in the order in which they are to be finished.
        bound: maps that may exist at a time: one for each image and partner, and each image's own
            mean map Q; at least 4, what one pair needs.
        at_once: images walked at a time. A round looks no further ahead than `bound` admits.

    Example:
        >>> [walk] = schedule([(0, 0)], bound=4)[0]
        >>> walk
        Walk(image=0, kept={0: 0})
        >>> [[walk.image for walk in walks] for walks in schedule([(0, 1), (0, 2)], bound=8)]
        [[0], [1], [2]]
    """
    if bound < 4:
        raise ValueError(f"bound is {bound}; one pair needs 4 maps")
    plan = _Plan(pairs, bound)
    rounds = []
    for now in range(len(pairs)):
        while images := plan.missing(now, at_once):
            rounds.append(tuple(plan.walk(image, now) for image in images))
            plan.shrink(now)
        plan.finish(now)
    return rounds


def needs(pair: tuple[int, int]) -> tuple[Key, Key]:
    """The two maps of a pair; the same one of an image paired with itself."""
    a, b = pair
    return (a, b), (b, a)


class _Plan:
    """The maps that exist while the pairs are gone through."""

    def __init__(self, pairs: Sequence[tuple[int, int]], bound: int) -> None:
        self.pairs, self.bound = pairs, bound
        self.uses: dict[Key, list[int]] = defaultdict(list)  # the pairs that need a map
        self.partners: dict[int, list[tuple[int, int]]] = defaultdict(list)  # (pair, partner)
        for n, pair in enumerate(pairs):
            for key in dict.fromkeys(needs(pair)):
                self.uses[key].append(n)
                self.partners[key[0]].append((n, key[1]))
        self.held: dict[Key, Walk] = {}
        self.of_image: Counter[int] = Counter()  # maps held of each image
        self.furthest: list[tuple[int, Key]] = []  # a heap of (−next use, map)

    def next_use(self, key: Key, now: int) -> int | None:
        """The first pair from `now` on that needs the map."""
        uses = self.uses[key]
        i = bisect_left(uses, now)
        return uses[i] if i < len(uses) else None

    def missing(self, now: int, at_once: int) -> list[int]:
        """Images to walk for the pair `now`, and on the way those of pairs soon to come."""
        if all(key in self.held for key in needs(self.pairs[now])):
            return []
        ahead = islice(self.pairs, now, now + self.bound // 4)
        keys = (key for pair in ahead for key in needs(pair) if key not in self.held)
        images: dict[int, None] = {}
        for image, _ in keys:
            images[image] = None
            if len(images) == at_once:
                break
        return list(images)

    def walk(self, image: int, now: int) -> Walk:
        """Walk an image for its partners of now and later, the nearest ones first."""
        walk = Walk(image)
        listed = self.partners[image]
        first = bisect_left(listed, (now, -1))
        for n, partner in islice(listed, first, first + self.bound):
            if (key := (image, partner)) not in self.held:
                self.held[key] = walk
                self.of_image[image] += 1
                heapq.heappush(self.furthest, (-n, key))
        return walk

    def shrink(self, now: int) -> None:
        """Give up what is needed furthest in the future until the rest is within the bound."""
        while len(self.held) + len(self.of_image) > self.bound:
            minus, key = heapq.heappop(self.furthest)
            # Not a map that has gone meanwhile, or that has been used since it was noted.
            if key in self.held and self.next_use(key, now) == -minus:
                self._drop(key)

    def finish(self, now: int) -> None:
        """The pair is done; maps that no other pair needs go."""
        for key in dict.fromkeys(needs(self.pairs[now])):
            self.held[key].kept[key[1]] = now
            if (later := self.next_use(key, now + 1)) is None:
                self._drop(key)
            else:
                heapq.heappush(self.furthest, (-later, key))

    def _drop(self, key: Key) -> None:
        del self.held[key]
        self.of_image[key[0]] -= 1
        if not self.of_image[key[0]]:
            del self.of_image[key[0]]
