"""The listening socket, and a server that closes the connections of slow clients; uvicorn would wait forever."""

import asyncio
import os
import signal
import socket
from dataclasses import replace
from typing import Any, cast

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from siamese.errors import UserError
from siamese.service.bodies import Room
from siamese.service.limits import Limits
from siamese.service.logs import LOG
from siamese.system.stopping import Stopped

try:
    import resource
except ImportError:  # Windows, which has no such limit
    resource = None  # type: ignore[assignment]

QUEUE = 2_048  # connections that the system holds until they are accepted
AT_ONCE = 64  # connections that are accepted in one go
# Descriptors for other files, and for four times AT_ONCE: asyncio has accepted that many before it closes the first.
OTHERS = 64 + 4 * AT_ONCE


class OneWrite:
    """A transport that sends the head of an answer with what follows, in one system call instead of two."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport, self._head = transport, b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Write data, or keep the head of an answer until more is written, be it nothing."""
        if data.startswith(b"HTTP/1.1 ") and not data.startswith(b"HTTP/1.1 1"):  # such as 100 Continue
            self._head = data
        else:
            data, self._head = self._head + data, b""
            self._transport.write(data)

    def close(self) -> None:
        """Write what was kept, and close."""
        self.write(b"")
        self._transport.close()


class Connection(H11Protocol):
    """An HTTP/1.1 connection that limits the time to receive a request's head and to send an answer.

    `read_body` limits the time for a request's body, and uvicorn closes connections that are idle between requests.
    """

    limits: Limits
    room: Room
    _unsent = 0  # bytes of an answer that the client has yet to receive
    _head: asyncio.TimerHandle  # runs while a request's head is awaited
    _departure: asyncio.TimerHandle | None = None  # runs while written bytes are still unsent

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=0)  # so that any unsent byte calls `pause_writing`
        self.transport = cast(asyncio.Transport, OneWrite(transport))
        self._await_head()
        if len(self.connections) > self.limits.connections:
            self._close_with(b"503 Service Unavailable\r\nRetry-After: 1")

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._head.cancel()
        elif self._head.cancelled():
            self._await_head()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._departure = self.loop.call_later(self.limits.departure, self.transport.abort)
        self._unsent = self.transport.get_write_buffer_size()
        self.room.left -= self._unsent

    def resume_writing(self) -> None:
        super().resume_writing()
        self._cancel_departure()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head.cancel()
        self._cancel_departure()
        super().connection_lost(exc)

    def _cancel_departure(self) -> None:
        self.room.left, self._unsent = self.room.left + self._unsent, 0
        if self._departure is not None:
            self._departure.cancel()

    def _await_head(self) -> None:
        self._head = self.loop.call_later(self.limits.arrival, self._head_is_late)

    def _head_is_late(self) -> None:
        if self.conn.trailing_data[0]:
            self._close_with(b"408 Request Timeout")
        else:
            self.transport.close()

    def _close_with(self, status: bytes) -> None:
        self.transport.write(b"HTTP/1.1 " + status + b"\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        self.transport.close()


class Server(uvicorn.Server):
    """A server that accepts `backlog` connections in one go, and lets QUEUE wait; asyncio has one number for both."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for one in sockets or ():
            one.listen(QUEUE)


def make_server(app: FastAPI, limits: Limits, alone: bool = True) -> uvicorn.Server:
    """Return an HTTP/1.1 server that logs only its errors, since the application logs the requests itself.

    Args:
        app: the application.
        limits: on connections.
        alone: whether no other process accepts connections on the same socket; each leaves some to the others.

    Raises:
        UserError: the limit on open files leaves no connection.
    """
    limits = replace(limits, connections=_connections(limits.connections))
    protocol = type("LimitedConnection", (Connection,), {"limits": limits, "room": app.state.room})
    server = Server(
        uvicorn.Config(
            app, http=protocol, ws="none", lifespan="off", access_log=False, log_config=None, log_level="error",
            server_header=False, proxy_headers=False, timeout_graceful_shutdown=limits.shutdown,
            backlog=AT_ONCE if alone else 1,
        )
    )  # fmt: skip
    app.state.stopping = lambda: server.should_exit
    return server


def run_until_stopped(server: uvicorn.Server, app: FastAPI, listening: socket.socket) -> None:
    """Answer requests until SIGTERM, SIGHUP or Ctrl-C, or `server.should_exit`; then finish those in flight.

    Raises:
        KeyboardInterrupt: a signal has stopped it.
    """
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) not in (signal.SIG_IGN, None):
        # uvicorn handles SIGTERM, but not the end of the terminal.
        signal.signal(signal.SIGHUP, lambda number, frame: signal.raise_signal(signal.SIGTERM))
    try:
        server.run(sockets=[listening])
    except KeyboardInterrupt as stop:  # uvicorn raises the signal again once the requests in flight are answered
        if [workers for workers in app.state.workers if not workers.close()]:
            # A thread has exceeded its time limit. Its writes are atomic, so it is safe to kill.
            os._exit(stop.code if isinstance(stop, Stopped) else 130)
        raise


def _connections(wanted: int) -> int:
    """Return how many of these connections the limit on open files allows, raised as far as the system lets it be."""
    if resource is None:
        return wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= soft < wanted + OTHERS:  # -1 is no limit
        soft = wanted + OTHERS if hard < 0 else min(wanted + OTHERS, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    allowed = wanted if soft < 0 else min(wanted, soft - OTHERS)
    if allowed < 1:
        raise UserError(f"open files are limited to {soft}; serve needs {OTHERS + 1} or more: raise `ulimit -n`")
    if allowed < wanted:
        LOG.warning("open files are limited to %d: at most %d connections instead of %d", soft, allowed, wanted)
    return allowed


def listen(host: str, port: int) -> socket.socket:
    """Return a TCP socket that listens at this address.

    Raises:
        UserError: the address is in use, does not exist, or belongs to another machine.
    """
    if not 0 <= port <= 65_535:  # getaddrinfo would reduce it modulo 65,536
        raise UserError(f"--port {port}: expected a number from 0 to 65535")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP, flags=socket.AI_PASSIVE
        )[0]
        # `socket.create_server` leaves out the protocol, and asyncio then keeps Nagle's algorithm on, which delays the
        # second part of an answer by 40 ms.
        listening = socket.socket(family, kind, protocol)
        try:
            if os.name == "posix":  # on Windows the option lets others take the port
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(QUEUE)
        except BaseException:
            listening.close()
            raise
    except (OSError, UnicodeError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        raise UserError(f"--host {host} --port {port}: {reason}") from None
    return listening
