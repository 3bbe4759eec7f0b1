"""What a program inside a sandbox does to its network in bulk. As fake_attempts: its text is handed to an interpreter.

Standard input: a line of words each time, answered by a line: how many of what was asked came out right, then numbers.
"""

import hashlib
import os
import pathlib
import resource
import select
import socket
import struct
import sys
import threading

EACH = 800  # connections of one process
PATIENCE = 60.0
PIECE = 1 << 20


def _workers(count: int, what: str, *words: str) -> int:
    """So many in processes of their own, all at once: how many came out right."""
    held, results = [], []
    for first in range(0, count, EACH):
        reading, writing = os.pipe()
        free, wait = os.pipe()
        child = os.fork()
        if not child:
            try:
                os.close(wait)
                os.close(reading)
                globals()[what](min(EACH, count - first), writing, free, *words)
            finally:
                os._exit(0)
        for handle in (free, writing):
            os.close(handle)
        held.append((child, wait))
        results.append(reading)
    total = 0
    for reading in results:  # all are connected before any lets go
        total += int(os.read(reading, 64) or b"0")
        os.close(reading)
    for child, wait in held:
        os.write(wait, b".")  # a worker that was started later holds this end as well
        os.close(wait)
        os.waitpid(child, 0)
    return total


def _open(count: int, host: str, port: str) -> "list[socket.socket]":
    made = []
    for _ in range(count):
        try:
            made.append(socket.create_connection((host, int(port)), PATIENCE))
        except OSError:
            break
    return made


def _talk(count: int, told: int, free: int, host: str, port: str) -> None:
    """Connect, all at once; say something on each, and hear it again."""
    streams = _open(count, host, port)
    good = 0
    for number, stream in enumerate(streams):
        stream.sendall(f"{os.getpid()} {number}\n".encode().ljust(64))
    for number, stream in enumerate(streams):
        stream.settimeout(PATIENCE)
        try:
            good += stream.recv(64, socket.MSG_WAITALL).rstrip() == f"{os.getpid()} {number}".encode()
        except OSError:
            continue
    os.write(told, str(good).encode())
    os.read(free, 1)
    for stream in streams:
        stream.close()


def _silent(count: int, told: int, free: int, host: str, port: str) -> None:
    """Connect, all at once, and say nothing."""
    streams = _open(count, host, port)
    os.write(told, str(len(streams)).encode())
    os.read(free, 1)
    for stream in streams:
        stream.close()


def connections(count: str, host: str, port: str) -> str:
    return str(_workers(int(count), "_talk", host, port))


def silent(count: str, host: str, port: str) -> str:
    """So many that say nothing; what one that speaks then gets, and what one gets when they are gone."""
    reading, writing = os.pipe()
    free, wait = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(wait)
            made = [_spawn(min(EACH, int(count) - first), host, port) for first in range(0, int(count), EACH)]
            os.write(writing, str(sum(each[0] for each in made)).encode())
            os.read(free, 1)
            for _, pid, handle in made:
                os.write(handle, b".")
                os.close(handle)
                os.waitpid(pid, 0)
        finally:
            os._exit(0)
    for handle in (free, writing):
        os.close(handle)
    opened = os.read(reading, 64).decode()
    os.close(reading)
    during = _once(host, port, 2.0)
    os.close(wait)
    os.waitpid(child, 0)
    return f"{opened} {during} {_once(host, port, PATIENCE)}"


def _spawn(count: int, host: str, port: str) -> "tuple[int, int, int]":
    reading, writing = os.pipe()
    free, wait = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(wait)
            _silent(count, writing, free, host, port)
        finally:
            os._exit(0)
    for handle in (free, writing):
        os.close(handle)
    opened = int(os.read(reading, 64) or b"0")
    os.close(reading)
    return opened, child, wait


def _once(host: str, port: str, patience: float) -> int:
    try:
        with socket.create_connection((host, int(port)), patience) as stream:
            stream.sendall(b"x" * 64)
            return int(stream.recv(64, socket.MSG_WAITALL) == b"x" * 64)
    except OSError:
        return 0


def fetch(size: str, streams: str, host: str, port: str) -> str:
    """So many bytes down over each of so many connections: the bytes that came."""
    came = [0] * int(streams)

    def one(at: int) -> None:
        with socket.create_connection((host, int(port)), PATIENCE) as stream:
            stream.sendall(f"GET /bytes/{size} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            buffer = bytearray(PIECE)
            with stream.makefile("rb", buffering=0) as reader:
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    head += reader.read(1)
                while came[at] < int(size) and (more := stream.recv_into(buffer)):
                    came[at] += more

    workers = [threading.Thread(target=one, args=(at,)) for at in range(int(streams))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return str(sum(came))


def echo(size: str, host: str, port: str) -> str:
    """So many bytes there and back, other ones each time: whether they were the same."""
    sent, got = hashlib.sha256(), hashlib.sha256()
    with socket.create_connection((host, int(port)), PATIENCE) as stream:

        def speak() -> None:
            left = int(size)
            while left:
                piece = os.urandom(min(65536, left))
                sent.update(piece)
                stream.sendall(piece)
                left -= len(piece)

        worker = threading.Thread(target=speak)
        worker.start()
        left = int(size)
        while left and (piece := stream.recv(65536)):
            got.update(piece)
            left -= len(piece)
        worker.join()
    return str(int(not left and sent.digest() == got.digest()))


def queries(count: str, name: str) -> str:
    """So many questions, 32 under way at a time: how many were answered."""
    labels = b"".join(bytes((len(label),)) + label.encode() for label in name.split("."))
    answered = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stream:
        stream.connect(("127.0.0.53", 53))
        for first in range(0, int(count), 32):
            numbers = {n % 65536 for n in range(first, min(first + 32, int(count)))}
            for number in numbers:
                kind = (1, 28)[number % 2]
                head = struct.pack(">HHHHHH", number, 0x100, 1, 0, 0, 0)
                stream.send(head + labels + b"\0" + struct.pack(">HH", kind, 1))
            while numbers:
                if not select.select([stream], [], [], PATIENCE)[0]:
                    return str(answered)
                numbers.discard(struct.unpack(">H", stream.recv(4096)[:2])[0])
                answered += 1
    return str(answered)


def main() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    for line in iter(sys.stdin.readline, ""):
        words = line.split()
        try:
            said = globals()[words[0]](*words[1:])
        except OSError as error:
            said = f"- {error}"
        print(said, flush=True)


def text() -> str:
    """This file, for ``python3 -c``."""
    return pathlib.Path(__file__).read_text()


if __name__ == "__main__":
    main()
