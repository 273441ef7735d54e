"""The log as a Merkle tree: its root, and the proofs that an event stands in it and that a shorter log is its beginning.

A leaf is the hash of an event. The proofs are checked, by other code, in `pipeline/verifier.py`.
Source: RFC 9162 sections 2.1.1, 2.1.3.1 and 2.1.4.1.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.errors import UsageError
from pipeline.verifier import leaf_hash, node_hash


class MerkleTree:
    """The tree over the hashes of a log's events (hexadecimal), the first at position 1. Nodes are kept: many questions cost one walk."""

    def __init__(self, events: Sequence[str]) -> None:
        self._leaves = [leaf_hash(event) for event in events]
        self._nodes: dict[tuple[int, int], bytes] = {}

    def root(self, size: int) -> str:
        """Return the root of the tree over the first events. Raises: UsageError when there are not so many."""
        self._check(1, size)
        return self._node(0, size).hex()

    def inclusion(self, position: int, size: int) -> list[str]:
        """Return the nodes that lead from the event at a position to the root over the first `size` events."""
        self._check(position, size)
        path: list[bytes] = []
        start, end, place = 0, size, position - 1
        while end - start > 1:
            middle = start + _split(end - start)
            if place < middle:
                path.append(self._node(middle, end))
                end = middle
            else:
                path.append(self._node(start, middle))
                start = middle
        return [node.hex() for node in reversed(path)]

    def consistency(self, size: int, later_size: int) -> list[str]:
        """Return the nodes that show that the first `size` events are the beginning of the first `later_size`; none when they are the same."""
        self._check(size, later_size)
        path: list[bytes] = []
        start, end, is_whole = 0, later_size, True
        while size != end:
            middle = start + _split(end - start)
            if size <= middle:
                path.append(self._node(middle, end))
                end = middle
            else:
                path.append(self._node(start, middle))
                start, is_whole = middle, False
        if not is_whole:
            path.append(self._node(start, end))
        return [node.hex() for node in reversed(path)]

    def _node(self, start: int, end: int) -> bytes:
        if end - start == 1:
            return self._leaves[start]
        if (start, end) not in self._nodes:
            middle = start + _split(end - start)
            self._nodes[start, end] = node_hash(self._node(start, middle), self._node(middle, end))
        return self._nodes[start, end]

    def _check(self, first: int, second: int) -> None:
        if not 1 <= first <= second <= len(self._leaves):
            raise UsageError(f"The log holds {len(self._leaves)} events; there is nothing to prove of {first} and {second}.")


def _split(count: int) -> int:
    """Return the greatest power of two below a number."""
    return 1 << (count - 1).bit_length() - 1
