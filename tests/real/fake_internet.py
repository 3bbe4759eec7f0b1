"""An internet of the test's own, as root or not, and a user's machine that is joined to nothing else.

    with fake_internet.internet() as net:                # seconds are not spent: about 0.2 s
        net.run("curl", "-s", "http://www.allowed.test")  # a program on the user's machine, outside every sandbox
        with net.world() as home:                        # a world (tests.real.world) whose intent-run runs on it
            home.install(...), home.decide(...), home.start(...)
        mark = net.mark()
        ...
        assert not net.since(mark, "syn", "datagram")    # what reached the far side; see the words in fake_servers
        net.resolver("192.0.2.53")                       # another resolver, as when a VPN comes up (the captive one)

Names and addresses are in fake_zone, services and their ports in fake_servers. ``net.ca`` is the certificate that the
machine trusts (all of /etc/ssl/certs there). ``net.page(host, path, data)`` is what a web server says. ``watch=False``
for load: packets are then not noted one by one. ``net.argv(words)`` is the command line that starts words on the
machine, ``net.argv(words, side="internet")`` at the far side.
"""

import contextlib
import datetime
import ipaddress
import os
import pathlib
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.conftest import must_work
from tests.real import fake_servers, fake_zone, peers, world

HERE = pathlib.Path(__file__).parent
ETC = {
    "resolv.conf": f"nameserver {fake_zone.RESOLVER}\noptions timeout:1 attempts:2\n",
    "hosts": "127.0.0.1 localhost\n::1 localhost\n198.51.100.99 secret-of-the-host.test\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}


def certificates(directory: pathlib.Path) -> None:
    """A root certificate, and one of its making for every name and address there is, with its key."""
    now = datetime.datetime.now(datetime.UTC)
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    issuer = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Fake Internet Root")])
    names = [*fake_zone.NAMES, "*.wild.test", "*.europa.eu", "*.imf.org", "*.coinbase.com", "localhost"]
    sites = [*fake_servers.SITES, *fake_servers.INSIDE, *fake_servers.PUBLIC_RESOLVERS]
    alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
    alternatives += [x509.IPAddress(ipaddress.ip_address(site)) for site in sites]

    def made(subject: x509.Name, public: ec.EllipticCurvePublicKey, extension: x509.ExtensionType) -> x509.Certificate:
        builder = x509.CertificateBuilder().issuer_name(issuer).subject_name(subject).public_key(public)
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - datetime.timedelta(days=1))
        builder = builder.not_valid_after(now + datetime.timedelta(days=30))
        ours = x509.SubjectKeyIdentifier.from_public_key(public)
        theirs = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
        builder = builder.add_extension(ours, False).add_extension(theirs, False)
        builder = builder.add_extension(extension, isinstance(extension, x509.BasicConstraints))
        return builder.sign(ca_key, hashes.SHA256())

    form = serialization.Encoding.PEM
    root = made(issuer, ca_key.public_key(), x509.BasicConstraints(True, None)).public_bytes(form)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "every.server.test")])
    leaf = made(name, key.public_key(), x509.SubjectAlternativeName(alternatives)).public_bytes(form)
    plain = serialization.NoEncryption()
    secret = key.private_bytes(form, serialization.PrivateFormat.PKCS8, plain)
    (directory / "server.pem").write_bytes(leaf + secret)
    (directory / "etc" / "certs").mkdir(parents=True)
    (directory / "etc" / "certs" / "ca-certificates.crt").write_bytes(root)


class World(world.World):
    """A world whose intent-run runs on the fake machine."""

    def __init__(self, base: pathlib.Path, net: "Internet") -> None:
        super().__init__(base)
        self.net = net

    def argv(self, *words: str | bytes, removed: str = "") -> list[str | bytes]:
        return [*self.net.prefix(), *super().argv(*words, removed=removed)]


class Internet:
    """Both sides, as ``internet`` gives them."""

    def __init__(self, directory: pathlib.Path, process: subprocess.Popen[bytes]) -> None:
        self.directory, self.process = directory, process
        self.ca = directory / "etc" / "certs" / "ca-certificates.crt"

    def prefix(self, side: str = "machine") -> list[str | bytes]:
        far = self.directory / "internet.pid"
        pid = str(self.process.pid) if side == "machine" else far.read_text()
        return ["/usr/bin/python3", "-ISE", str(HERE / "fake_wiring.py"), pid]

    def argv(self, words: Sequence[str | bytes], side: str = "machine") -> list[str | bytes]:
        return [*self.prefix(side), *words]

    def run(self, *words: str, side: str = "machine", timeout: float = world.LIMIT) -> subprocess.CompletedProcess[str]:
        """Run a program to its end, as the same user, in no sandbox."""
        argv = self.argv(words, side)
        return subprocess.run(
            argv, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=timeout, check=False
        )

    @contextlib.contextmanager
    def world(self) -> Iterator[World]:
        """As ``world.world()``."""
        with world.world(make=lambda base: World(base, self)) as made:
            assert isinstance(made, World)
            yield made

    def _noted(self, side: str) -> bool:
        assert self.process.poll() is None, "the fake internet has ended"
        with socket.socket(socket.AF_UNIX) as stream, contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
            stream.settimeout(peers.PATIENCE)
            stream.connect(str(self.directory / f"{side}.sock"))
            return stream.recv(16) == b"noted"
        return False

    def settle(self) -> None:
        """Wait until everything that has come to either side is in the log."""
        for side in ("internet", "machine"):
            peers.eventually(lambda side=side: self._noted(side), f"the {side} side")  # type: ignore[misc]

    def log(self) -> list[str]:
        """All that came to either side: lines of words, the side first."""
        self.settle()
        return (self.directory / "log").read_text().splitlines()

    def mark(self) -> int:
        """How much has come so far, for ``since``."""
        return len(self.log())

    def since(self, mark: int, *words: str) -> list[str]:
        """What came after ``mark``; with words, only events of these (the second word of a line)."""
        return [line for line in self.log()[mark:] if not words or line.split(" ")[1] in words]

    def page(self, host: str, path: str, data: bytes) -> None:
        """What the web server says when it is asked for ``path`` of ``host``."""
        place = pathlib.Path(f"{self.directory}/pages/{host}{path}")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)

    def resolver(self, address: str) -> None:
        """Use another resolver on the machine, from now on."""
        text = f"nameserver {address}\noptions timeout:1 attempts:2\n"
        (self.directory / "etc" / "resolv.conf").write_text(text)  # the file itself is mounted: not a new one


@contextlib.contextmanager
def internet(*, watch: bool = True) -> Iterator[Internet]:
    """The machine and its internet, for as long as the block. Fails where user namespaces are not to be had."""
    must_work(shutil.which("curl"), "curl")
    above = pwd.getpwuid(os.geteuid()).pw_dir
    directory = pathlib.Path(os.path.realpath(tempfile.mkdtemp(prefix=".intents-net-", dir=above)))
    process = None
    try:
        certificates(directory)
        for name, text in ETC.items():
            (directory / "etc" / name).write_text(text)
        if not watch:
            (directory / "unwatched").touch()
        words = [sys.executable, "-m", "tests.real.fake_servers", str(directory)]
        with open(directory / "errors", "wb") as errors:
            process = subprocess.Popen(words, cwd=world.ROOT, stdin=subprocess.PIPE, stderr=errors)
        net = Internet(directory, process)
        try:
            net.settle()
        except AssertionError as error:
            raise AssertionError((directory / "errors").read_text()) from error
        yield net
    finally:
        if process:
            process.terminate()
            process.communicate()
        shutil.rmtree(directory, ignore_errors=True)
