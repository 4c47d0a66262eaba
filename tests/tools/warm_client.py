"""What a shell runs in place of Python for a process that begins warm; see `for_shells` in warm_python.py.

It hands its arguments and its standard streams over, then the signals that reach it, and ends as the process does. It
imports next to nothing.
"""

import _socket
import os
import select
import signal
import sys

if __name__ == "__main__":
    address, *arguments = sys.argv[1:]
    asked = ascii([arguments, dict(os.environ), os.getcwd()]).encode()  # noqa: PTH109  # pathlib is slow to load
    connection = _socket.socket(_socket.AF_UNIX)
    connection.connect(address)
    handed_on = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
    signal.pthread_sigmask(signal.SIG_BLOCK, handed_on)  # until there is a process that they can be handed on to
    streams = b"".join(number.to_bytes(4, sys.byteorder) for number in (0, 1, 2))
    connection.sendmsg([len(asked).to_bytes(4, "big")], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, streams)])
    connection.sendall(asked)
    connection.setblocking(False)
    signal.set_wakeup_fd(connection.fileno())  # a signal writes its number there at once, whatever this waits for
    for number in handed_on:
        signal.signal(number, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, handed_on)
    os.closerange(0, 3)  # whoever is at the other ends shall see when that process closes its own
    select.select([connection], [], [])
    status = int(connection.recv(16) or 99)
    if status < 0:
        signal.set_wakeup_fd(-1)
        if -status in handed_on:
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)
