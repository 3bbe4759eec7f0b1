"""Both sides of the fake internet as processes: fake_internet starts ``python -m tests.real.fake_servers DIRECTORY``.

The program becomes the user's machine, with services that only the machine itself should reach; its child is the
internet. Each notes what reaches it in DIRECTORY/log, and answers at DIRECTORY/<side>.sock once all that came is noted.
"""

import contextlib
import os
import pathlib
import resource
import select
import signal
import socket
import ssl
import struct
import sys
import threading
from collections.abc import Callable

from tests.real import fake_wiring, fake_zone

HOSTS = ("ALLOWED", "ALLOWED6", "WILD", "CDN", "OTHER", "ECB", "EVIL", "EVIL6", "CAPTIVE", "BLOCK", "BLOCK6")
SITES = tuple(getattr(fake_zone, name) for name in HOSTS)
INSIDE = (fake_zone.LAN, fake_zone.LAN6, fake_zone.INNER, fake_zone.METADATA)
PUBLIC_RESOLVERS = ("8.8.8.8", "1.1.1.1", "2001:4860:4860::8888")
PROXY = ("192.0.2.3", 3128)
WEB, TLS, DOT, HOLD, UDP = (80, 8080, 631), (443, 8443), 853, 7, (123, 443, 3478, 5000)
MINE, MY_UDP, ABSTRACT = 8888, 8890, "fake-host"
EVERYWHERE = ("198.51.100.0/24", "203.0.113.0/24", "10.0.0.0/8", "169.254.0.0/16", "8.8.8.0/24", "1.1.1.0/24")
EVERYWHERE6 = ("2001:db8:51::/48", "2001:db8:20::/48", "2001:db8:77::/48", "2001:4860::/32")
PIECE = 1 << 20


def family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def bound(host: str, port: int, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
    """A socket at an address that belongs to us by a route alone (IP_FREEBIND, IPV6_FREEBIND)."""
    stream = socket.socket(family(host), kind)
    stream.setsockopt(*((socket.IPPROTO_IPV6, 78) if ":" in host else (socket.IPPROTO_IP, 15)), 1)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    stream.bind((host, port))
    return stream


def shown(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Side:
    """One of the two: what it listens on, the loop that notes and answers, and a thread for each connection."""

    def __init__(self, directory: str, side: str) -> None:
        self.directory, self.side, self.lock = directory, side, threading.Lock()
        self.log = os.open(f"{directory}/log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self.poll = select.epoll()
        self.ready: dict[int, Callable[[], object]] = {}
        self.kept: list[object] = []
        self.zeros = os.memfd_create("zeros")
        os.truncate(self.zeros, PIECE)
        self.ask = socket.socket(socket.AF_UNIX)
        self.ask.bind(f"{directory}/{side}.sock")
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(f"{directory}/server.pem")
        self.tls.sni_callback = self._named
        self.files = os.open("/dev/null", os.O_RDONLY)

    def note(self, *words: object) -> None:
        os.write(self.log, (" ".join(map(str, (self.side, *words))) + "\n").encode())

    def _named(self, wrapped: ssl.SSLObject | ssl.SSLSocket, name: str | None, _context: object) -> None:
        with self.lock:
            self.note("sni", getattr(wrapped, "place", "?"), name or "-")
        wrapped.asked = name  # type: ignore[union-attr]

    def on(self, stream: socket.socket, act: Callable[[], object]) -> None:
        self.kept.append(stream)
        self.ready[stream.fileno()] = act
        self.poll.register(stream, select.EPOLLIN)

    def tcp(self, host: str, port: int, serve: Callable[[socket.socket, str], object]) -> None:
        """Listen, note each connection, and serve it in a thread."""
        stream = bound(host, port)
        stream.listen(4096)
        place = shown(host, port)

        def accept() -> None:
            peer, address = stream.accept()
            self.note("tcp", place, "from", address[0])
            threading.Thread(target=self._serve, args=(serve, peer, place), daemon=True).start()

        self.on(stream, accept)

    def unix(self, name: str) -> None:
        stream = socket.socket(socket.AF_UNIX)
        stream.bind(name)
        stream.listen(64)

        def accept() -> None:
            peer, _ = stream.accept()
            self.note("unix", name.replace("\0", "@"))
            threading.Thread(target=self._serve, args=(self.web, peer, name.replace("\0", "@")), daemon=True).start()

        self.on(stream, accept)

    def _serve(self, serve: Callable[[socket.socket, str], object], peer: socket.socket, place: str) -> None:
        with contextlib.suppress(OSError, ValueError, IndexError), peer:
            serve(peer, place)

    def hold(self, host: str, port: int) -> None:
        """Accept, and keep what came without a thread until the other side closes."""
        stream = bound(host, port)
        stream.listen(4096)
        held: dict[int, socket.socket] = {}

        def accept() -> None:
            peer, _ = stream.accept()
            held[peer.fileno()] = peer

            def gone() -> None:
                with contextlib.suppress(OSError):
                    if data := peer.recv(65536):
                        peer.send(data)
                        return
                number = peer.fileno()
                self.poll.unregister(peer)
                del self.ready[number], held[number]
                peer.close()

            self.ready[peer.fileno()] = gone
            self.poll.register(peer, select.EPOLLIN)

        self.on(stream, accept)

    def udp(self, host: str, port: int, answer: Callable[[bytes, str], bytes | None]) -> None:
        stream = bound(host, port, socket.SOCK_DGRAM)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        stream.setblocking(False)
        place = shown(host, port)

        def come() -> None:
            data, address = stream.recvfrom(65536)
            if made := answer(data, place):
                with contextlib.suppress(OSError):
                    stream.sendto(made, address)

        self.on(stream, come)

    def watch(self) -> None:
        """Note each packet that comes in by a cable, whether anybody is there for it or not."""
        stream = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        stream.setblocking(False)
        seen = {0x0800: lambda data: (4 * (data[0] & 15), data[9], socket.AF_INET, data[16:20])}
        seen[0x86DD] = lambda data: (40, data[6], socket.AF_INET6, data[24:40])

        def come() -> None:
            data, (name, protocol, direction, *_) = stream.recvfrom(128)
            if name == "lo" or direction == socket.PACKET_OUTGOING or protocol not in seen or len(data) < 20:
                return
            size, kind, version, packed = seen[protocol](data)
            target, rest = socket.inet_ntop(version, packed), data[size:]
            if (kind == socket.IPPROTO_TCP and rest[13] & 0x12 == 2) or kind == socket.IPPROTO_UDP:
                word = "syn" if kind == socket.IPPROTO_TCP else "datagram"
                self.note(word, shown(target, struct.unpack_from(">H", rest, 2)[0]))
            elif kind not in (socket.IPPROTO_TCP, 0, 58, 2):  # neighbours and groups speak by themselves
                self.note("packet", kind, target)

        self.on(stream, come)

    # What the servers say

    def web(self, peer: socket.socket, place: str, sni: str = "-") -> None:
        """HTTP with kept connections: who is there, ``/bytes/N``, pages of the test's own, and what is put away."""
        reader = peer.makefile("rb")
        while line := reader.readline(8192):
            method, path, _ = line.decode("latin-1").split(" ", 2)
            fields = {}
            while (line := reader.readline(8192)).strip():
                key, _, value = line.decode("latin-1").partition(":")
                fields[key.lower()] = value.strip()
            host = fields.get("host", "-")
            self.note("http", place, method, host, path)
            for _ in range(0, size := int(fields.get("content-length", "0")), PIECE):
                size -= len(reader.read(min(PIECE, size)))
            count = int(path[7:]) if path.startswith("/bytes/") else None
            page = pathlib.Path(f"{self.directory}/pages/{host.split(':')[0]}{path.split('?')[0]}")
            body = f"i am {place} asked {host} sni {sni}\n".encode()
            if ".." not in path and page.is_file():
                body = page.read_bytes()
            said = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(body) if count is None else count)
            peer.sendall(said + (body if count is None and method != "HEAD" else b""))
            if count is None:
                continue
            if isinstance(peer, ssl.SSLSocket):
                for _ in range(0, count, PIECE):
                    peer.sendall(bytes(min(PIECE, count)))
                    count -= min(PIECE, count)
            else:
                while count:
                    count -= os.sendfile(peer.fileno(), self.zeros, 0, min(PIECE, count))
        reader.close()

    def secure(self, peer: socket.socket, place: str, serve: Callable[..., object] | None = None) -> None:
        wrapped = self.tls.wrap_socket(peer, server_side=True, do_handshake_on_connect=False)
        wrapped.place = place  # type: ignore[attr-defined]
        with wrapped:
            wrapped.do_handshake()
            (serve or self.web)(wrapped, place, getattr(wrapped, "asked", None) or "-")

    def banner(self, peer: socket.socket, place: str) -> None:
        """As much of SSH as shows who came."""
        peer.sendall(b"SSH-2.0-Fake_1\r\n")
        self.note("ssh", place, peer.recv(256).split(b"\n")[0].decode("latin-1").strip())

    def names(self, resolver: fake_zone.Resolver, host: str) -> None:
        """A resolver at port 53, over datagrams and streams."""

        def datagram(data: bytes, place: str) -> bytes | None:
            asked, made = resolver.answer(data, stream=False)
            self.note("dns", place, asked)
            return made

        def stream(peer: socket.socket, place: str, _sni: str = "-") -> None:
            with peer.makefile("rb") as reader:
                while head := reader.read(2):
                    asked, made = resolver.answer(reader.read(struct.unpack(">H", head)[0]), stream=True)
                    self.note("dns-stream", place, asked)
                    if made:
                        peer.sendall(struct.pack(">H", len(made)) + made)

        self.udp(host, 53, datagram)
        self.tcp(host, 53, stream)
        if host in PUBLIC_RESOLVERS:
            self.tcp(host, DOT, lambda peer, place: self.secure(peer, place, stream))

    def echo(self, data: bytes, place: str) -> bytes:
        self.note("udp", place, data[:24].hex())
        if place.endswith(":123"):  # NTP: a server's answer in the shape of RFC 5905
            return bytes((0x24, 1, 0, 0)) + bytes(20) + data[40:48] + data[40:48] + data[40:48]
        return f"i am {place} ".encode() + data

    def proxy(self, peer: socket.socket, place: str) -> None:
        """An HTTP proxy that knows CONNECT, and finds names as the resolver does."""
        reader = peer.makefile("rb", buffering=0)
        head = b""
        while not head.endswith(b"\r\n\r\n") and (byte := reader.read(1)):
            head += byte
        reader.close()
        method, target, _ = head.decode("latin-1").split(" ", 2)
        user = next((line for line in head.decode("latin-1").split("\r\n") if line.startswith("Proxy-Auth")), "-")
        self.note("proxy", method, target, user.replace(" ", "_"))
        host, _, port = target.rpartition(":")
        led = fake_zone.ZONE.get(host, (0, (host.strip("[]"),)))[1][0]
        with socket.create_connection((led, int(port)), 10) as far:
            far.settimeout(None)
            peer.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=pump, args=(far, peer), daemon=True)
            back.start()
            pump(peer, far)
            back.join()

    # The loop

    def run(self) -> None:
        self.ask.listen()
        self.on(self.ask, self._asked)
        self.ready[0] = lambda: os._exit(0)  # standard input: the test has ended
        self.poll.register(0, select.EPOLLIN | select.EPOLLHUP)
        while True:
            self._round(None)

    def _round(self, timeout: float | None) -> bool:
        events = [fd for fd, _ in self.poll.poll(timeout) if timeout is None or fd != self.ask.fileno()]
        for fd in events:
            with contextlib.suppress(OSError, KeyError):
                self.ready[fd]()
        return bool(events)

    def _asked(self) -> None:
        with self.ask.accept()[0] as peer:
            while self._round(0):
                pass
            peer.sendall(b"noted")


def pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


def internet(directory: str) -> None:
    """Everything that is not the user's machine."""
    for text in (*EVERYWHERE, *EVERYWHERE6):
        fake_wiring.local(text)
    side = Side(directory, "internet")
    for host in (*SITES, *INSIDE):
        for port in WEB:
            side.tcp(host, port, side.web)
        for port in TLS:
            side.tcp(host, port, side.secure)
        for port in UDP:
            side.udp(host, port, side.echo)
        side.hold(host, HOLD)
    side.tcp(fake_zone.SSH, 22, side.banner)
    side.tcp(*PROXY, side.proxy)
    zone = fake_zone.Resolver()
    for host in (fake_zone.RESOLVER, *PUBLIC_RESOLVERS):
        side.names(zone, host)
    side.names(fake_zone.Resolver(captive=True), fake_zone.CAPTIVE_RESOLVER)
    if not os.path.exists(f"{directory}/unwatched"):
        side.watch()
    side.run()


def machine(directory: str) -> None:
    """What listens on the user's own machine, for itself."""
    side = Side(directory, "machine")
    for host in ("127.0.0.1", "::1", fake_zone.ME, fake_zone.ME6, fake_zone.ME_LAN):
        side.tcp(host, MINE, side.web)
        side.udp(host, MY_UDP, side.echo)
    side.unix(f"\0{ABSTRACT}")
    side.unix(f"{directory}/path.sock")
    side.run()


def main(directory: str) -> None:
    """Make both sides and the cables between them. Does not return."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    threading.stack_size(256 << 10)
    fake_wiring.private()
    signal.signal(signal.SIGCHLD, lambda *_: os._exit(1))  # nothing without the other side
    apart, wired = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        fake_wiring.unshare(fake_wiring.NEWNET)
        os.write(apart[1], b"x")
        os.read(wired[0], 1)
        fake_wiring.up("lo")
        fake_wiring.join("gw0", "192.0.2.1/24", "192.0.2.3/24", "192.0.2.53/24", "2001:db8:1::1/64", "fe80::1/64")
        fake_wiring.join("lan0", f"{fake_zone.LAN}/24", f"{fake_zone.LAN6}/64", "fe80::1/64")
        internet(directory)
    os.read(apart[0], 1)
    pathlib.Path(directory, "internet.pid").write_text(str(child))
    fake_wiring.up("lo")
    for name, peer in (("eth0", "gw0"), ("eth1", "lan0")):
        fake_wiring.cable(name, peer, child)
    fake_wiring.join("eth0", f"{fake_zone.ME}/24", f"{fake_zone.ME6}/64", "fe80::2/64")
    fake_wiring.join("eth1", f"{fake_zone.ME_LAN}/24", "fd77::2/64", "fe80::2/64")
    os.write(wired[1], b"x")
    for gateway in (fake_zone.RESOLVER, "2001:db8:1::1"):
        fake_wiring.default(gateway)
    for name in ("resolv.conf", "hosts", "nsswitch.conf"):
        fake_wiring.put(f"{directory}/etc/{name}", f"/etc/{name}")
    fake_wiring.put(f"{directory}/etc/certs", "/etc/ssl/certs")
    for daemon in ("/run/nscd", "/run/systemd/resolve"):  # resolvers of the real machine
        if os.path.isdir(daemon) and not os.path.islink(daemon):
            fake_wiring.mount("tmpfs", daemon, 0, "tmpfs")
    machine(directory)


if __name__ == "__main__":
    main(sys.argv[1])
