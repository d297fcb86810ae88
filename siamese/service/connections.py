"""The socket and the server, whose connections end when their client keeps it waiting; uvicorn would wait for ever."""

import asyncio
import os
import socket
from typing import Any

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from siamese.errors import UserError
from siamese.service.limits import Limits


class Connection(H11Protocol):
    """An HTTP/1.1 connection with a limit on the time for a request's head, and for taking the answer.

    The time for a request's body is for `read_body`; an idle connection between requests is closed by uvicorn.
    """

    limits: Limits

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._head: asyncio.TimerHandle | None = None  # while a request's head is awaited
        self._departure: asyncio.TimerHandle | None = None  # while the client has not taken all that was written

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=0)  # so `pause_writing` tells of any byte that is not taken at once
        self._head = self.loop.call_later(self.limits.arrival, self._head_is_late)
        if len(self.connections) > self.limits.connections:
            self._close_with(b"503 Service Unavailable\r\nRetry-After: 1")

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._cancel_head()
        elif self._head is None:
            self._head = self.loop.call_later(self.limits.arrival, self._head_is_late)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._departure = self.loop.call_later(self.limits.departure, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._cancel_departure()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_head()
        self._cancel_departure()
        super().connection_lost(exc)

    def _cancel_head(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _cancel_departure(self) -> None:
        if self._departure is not None:
            self._departure.cancel()
            self._departure = None

    def _head_is_late(self) -> None:
        if self.conn.trailing_data[0]:
            self._close_with(b"408 Request Timeout")
        else:
            self.transport.close()

    def _close_with(self, status: bytes) -> None:
        self.transport.write(b"HTTP/1.1 " + status + b"\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        self.transport.close()


def make_server(app: FastAPI, limits: Limits) -> uvicorn.Server:
    """A server of HTTP/1.1 alone, which logs what breaks, and leaves the requests to the application's own log."""
    protocol = type("LimitedConnection", (Connection,), {"limits": limits})
    return uvicorn.Server(
        uvicorn.Config(
            app, http=protocol, ws="none", lifespan="off", access_log=False, log_config=None, log_level="error",
            server_header=False, proxy_headers=False, timeout_graceful_shutdown=limits.ending,
        )
    )  # fmt: skip


def listen(host: str, port: int) -> socket.socket:
    """A socket at this address.

    Raises:
        UserError: the address is in use, not this machine's, or none.
    """
    if not 0 <= port <= 65_535:  # getaddrinfo would take the remainder
        raise UserError(f"--port {port}: expected a number from 0 to 65535")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP, flags=socket.AI_PASSIVE
        )[0]
        # With its protocol, which `socket.create_server` leaves out: only then asyncio turns off Nagle's algorithm,
        # which delays the second part of an answer by 40 ms.
        listening = socket.socket(family, kind, protocol)
        try:
            if os.name == "posix":  # Windows understands something else by it
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(2_048)
        except BaseException:
            listening.close()
            raise
    except (OSError, UnicodeError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        raise UserError(f"--host {host} --port {port}: {reason}") from None
    return listening
