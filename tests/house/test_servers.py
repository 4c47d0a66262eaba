"""The local servers of the tests outlive what the tests do to them."""

from __future__ import annotations

import socket
import struct
import sys
import time
from urllib.parse import urlsplit

import pytest
import servers

RESET_WHEN_CLOSED = struct.pack("ii", 1, 0)


@pytest.mark.parametrize("name", ["kinesalite", "dynalite"])
def test_a_client_that_is_killed_within_a_request_does_not_end_the_server(name: str) -> None:
    with getattr(servers, name)() as url:
        where = urlsplit(url)
        for _ in range(3):
            with socket.create_connection((where.hostname, where.port)) as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_WHEN_CLOSED)
                client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 22\r\n\r\n{")
                time.sleep(0.05)  # the server is to have read the headers before the connection is cut

        if name == "kinesalite":
            assert servers.client("kinesis", url).list_streams()["StreamNames"] == []
        else:
            assert servers.client("dynamodb", url).list_tables()["TableNames"] == []


def test_a_server_that_ends_by_itself_says_why() -> None:
    def ask(command: list[str]) -> None:
        with servers.running(command, {}) as (process, _log):
            process.wait()
            raise ConnectionError

    with pytest.raises(ConnectionError) as caught:
        ask([sys.executable, "-c", "raise SystemExit('out of memory')"])
    assert "out of memory" in caught.value.__notes__[0]
