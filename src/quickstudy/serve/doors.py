"""How several processes that share one listening socket come to about as many connections each.

asyncio takes all that wait at once, so that of connections that are opened together, as those of one client are, the
process that wakes first has every one, and the others nothing to do.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

_STEP, _LONGEST = 0.001, 8  # seconds that a process waits for each connection that it has, and for how many at most
_REST = 1.0  # seconds until it is tried again, where there are no more files to be had


class Loop(asyncio.SelectorEventLoop):
    """An event loop whose servers leave connections to processes that have fewer."""

    async def create_server(self, protocol_factory: Any, *args: Any, **how: Any) -> Any:
        if (sock := how.get("sock")) is None:
            return await super().create_server(protocol_factory, *args, **how)
        return Door(self, protocol_factory, sock, how.get("ssl"))


class Door:
    """Takes connections from a socket that listens already, of which others take some."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, protocol: Callable[[], asyncio.Protocol], sock: socket.socket, ssl: Any
    ) -> None:
        self._loop, self._protocol, self._sock, self._ssl = loop, protocol, sock, ssl
        self._open: set[asyncio.BaseTransport] = set()
        self._begun: set[asyncio.Task[None]] = set()
        sock.setblocking(False)
        self._taking = loop.create_task(self._take())

    async def _take(self) -> None:
        """Wait the longer, the more connections there are, and then take up to as many: where others are as busy, that
        doubles them, so that many are there soon."""
        while True:
            await self._waiting()
            self._open = {one for one in self._open if not one.is_closing()}
            count = len(self._open) + len(self._begun)
            await asyncio.sleep(_STEP * min(count, _LONGEST))
            for _ in range(max(1, count)):
                try:
                    connection, _ = self._sock.accept()
                except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                    break  # another was faster, or the client has gone
                except OSError:
                    await asyncio.sleep(_REST)
                    break
                connection.setblocking(False)
                task = self._loop.create_task(self._begin(connection))
                self._begun.add(task)
                task.add_done_callback(self._begun.discard)

    async def _waiting(self) -> None:
        """Until there is a connection to be taken."""
        there: asyncio.Future[None] = self._loop.create_future()

        def told() -> None:
            if not there.done():
                there.set_result(None)

        self._loop.add_reader(self._sock, told)
        await there
        self._loop.remove_reader(self._sock)

    async def _begin(self, connection: socket.socket) -> None:
        try:
            transport, _ = await self._loop.connect_accepted_socket(self._protocol, connection, ssl=self._ssl)
        except OSError:  # the client has gone, or speaks no TLS
            connection.close()
        else:
            self._open.add(transport)

    def close(self) -> None:
        self._loop.remove_reader(self._sock)  # now: it is closed next, and others have it open
        self._taking.cancel()

    async def wait_closed(self) -> None:
        await asyncio.wait([self._taking, *self._begun])
