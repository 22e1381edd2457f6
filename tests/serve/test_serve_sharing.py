"""Processes that share a socket come to about as many connections each."""

from __future__ import annotations

import asyncio
import socket

import pytest

from quickstudy.serve.doors import Door


class _Counted(asyncio.Protocol):
    def __init__(self, mine: list[asyncio.Transport]) -> None:
        self.mine = mine

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.mine.append(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self.mine.pop()

    def data_received(self, data: bytes) -> None:
        self.mine[-1].write(data)


@pytest.mark.parametrize("count", [2, 4, 9, 100])
def test_connections_that_are_opened_together_are_shared(count: int) -> None:
    async def run() -> list[int]:
        loop = asyncio.get_running_loop()
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            sock.listen(200)
            lists: list[list[asyncio.Transport]] = [[], []]
            others = sock.dup()
            doors = [Door(loop, lambda i=i: _Counted(lists[i]), one, None) for i, one in enumerate((sock, others))]
            writers = [await asyncio.open_connection("127.0.0.1", sock.getsockname()[1]) for _ in range(count)]
            while sum(map(len, lists)) < count:
                await asyncio.sleep(0.001)
            found = [len(one) for one in lists]
            doors[0].close()  # what comes from now on goes to the other
            await doors[0].wait_closed()
            late = await asyncio.open_connection("127.0.0.1", sock.getsockname()[1])
            late[1].write(b"here")
            assert await late[0].readexactly(4) == b"here"
            assert [len(one) for one in lists] == [found[0], found[1] + 1]
            for _, writer in [*writers, late]:
                writer.close()
            doors[1].close()
            await doors[1].wait_closed()
            others.close()
        return found

    found = asyncio.run(asyncio.wait_for(run(), 20))
    assert max(found) - min(found) <= max(1, count // 3)
