"""Detached OpenSSH signatures over a manifest's raw bytes (SPEC §6; the SSHSIG format of OpenSSH's PROTOCOL.sshsig).

Takes and returns bytes; raises only ``errors.SignatureError``. A signature file has one form, the one that
``ssh-keygen -Y sign`` writes: whatever parses encodes to the same bytes again. ``cryptography`` is imported inside
functions, because most launches verify nothing and should not pay for it.
"""

import base64
import dataclasses
import hashlib

from intents import errors

NAMESPACE = "intent-manifest"
MAX_SIGNATURE = 4096  # bytes of a signature file; the longest sensible one, of a security key, has about 500
MAX_KEY_TEXT = 4096  # characters of a public key with its comment

# The key in tests/keys/, which everybody can sign with: trust code counts what it signed as unsigned.
REPOSITORY_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGYLR0FZ9R2a389Dnnh2w8dgYyJfjydfwuJW73Ml3SIJ"

_ED25519 = "ssh-ed25519"
_SK_ED25519 = "sk-ssh-ed25519@openssh.com"
# algorithm -> (strings in the key after the algorithm's name, bytes of flags and counter after a signature)
_LAYOUTS = {_ED25519: (1, 0), _SK_ED25519: (2, 5)}
_USER_PRESENT = 0x01  # PROTOCOL.u2f, "signature flags"
_HASHES = {"sha256": hashlib.sha256, "sha512": hashlib.sha512}
_PREAMBLE = b"SSHSIG"
_VERSION = (1).to_bytes(4, "big")
_BEGIN = b"-----BEGIN SSH SIGNATURE-----"
_END = b"-----END SSH SIGNATURE-----"
_LINE = 70  # base64 characters in a line, as ssh-keygen writes them


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """A key that may sign manifests, made by parsing only. ``blob``: its SSH wire form, which repeats ``algorithm``."""

    algorithm: str
    blob: bytes

    @property
    def fingerprint(self) -> str:
        """``SHA256:…`` as ``ssh-keygen -lf`` prints it."""
        return "SHA256:" + base64.b64encode(hashlib.sha256(self.blob).digest()).decode("ascii").rstrip("=")

    @property
    def text(self) -> str:
        """The key as a ``.pub`` or ``authorized_keys`` file writes it, without a comment."""
        return f"{self.algorithm} {base64.b64encode(self.blob).decode('ascii')}"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """A parsed signature of namespace ``intent-manifest``; nothing about it is verified yet.

    hash_algorithm: sha256 or sha512; raw: the 64 bytes of Ed25519; flags_and_counter: the five bytes a security key
    adds (one of flags, four of counter), empty for other keys.
    """

    key: PublicKey
    hash_algorithm: str
    raw: bytes
    flags_and_counter: bytes


def parse_public_key(text: str) -> PublicKey:
    """Read ``algorithm base64 [comment]``, one line. Raises SignatureError ``key-unsupported`` or ``key-malformed``."""
    line = text.removesuffix("\n")
    fields = line.split(" ", 2)
    if len(text) > MAX_KEY_TEXT or len(fields) < 2 or len(line.splitlines()) != 1:
        raise _key_malformed("it is not one line of algorithm, key and comment")
    algorithm, encoded = fields[:2]
    if algorithm not in _LAYOUTS:
        raise _key_unsupported(algorithm)
    try:
        key = _read_key(base64.b64decode(encoded, validate=True))
    except ValueError as error:
        raise _key_malformed("its base64 is damaged") from error
    if key.text != f"{algorithm} {encoded}":
        raise _key_malformed("its base64 or its algorithm is not what `ssh-keygen` writes")
    return key


def lineage(key: PublicKey) -> str:
    """16 lowercase hexadecimal characters that name the key in directories (SPEC §7); too short to compare keys by."""
    return hashlib.sha256(key.blob).hexdigest()[:16]


def parse_signature(data: bytes) -> Signature:
    """Read a signature file.

    Raises SignatureError ``signature-malformed``, ``signature-namespace``, ``key-malformed`` or ``key-unsupported``.
    """
    if len(data) > MAX_SIGNATURE:
        raise _malformed(f"it is longer than {MAX_SIGNATURE} bytes")
    if not data.startswith(_BEGIN):
        raise _malformed(f"it does not begin with the line `{_BEGIN.decode()}`")
    try:
        blob = base64.b64decode(b"".join(data.splitlines()[1:-1]), validate=True)
    except ValueError as error:
        raise _malformed("its base64 is damaged") from error
    if not blob.startswith(_PREAMBLE + _VERSION):
        raise _malformed("it is not of SSHSIG version 1")
    try:
        (key_blob, namespace, reserved, hash_name, inner), _ = _strings(blob[len(_PREAMBLE + _VERSION) :], 5)
        (algorithm, raw), flags_and_counter = _strings(inner, 2)
    except ValueError as error:
        raise _malformed("a part of it is cut off") from error
    key = _read_key(key_blob)
    if namespace != NAMESPACE.encode():
        raise errors.SignatureError(
            "signature-namespace", f"the signature was made for {_shown(namespace)}, not for `{NAMESPACE}`"
        )
    if hash_name not in (b"sha256", b"sha512"):
        raise _malformed(f"it uses the hash {_shown(hash_name)}, not sha256 or sha512")
    if algorithm != key.algorithm.encode() or len(raw) != 64 or len(flags_and_counter) != _LAYOUTS[key.algorithm][1]:
        raise _malformed("its parts do not fit its key")
    if reserved:
        # ssh-keygen ignores these bytes; they are unknown instructions, and following none of them could be wrong.
        raise _malformed("its reserved field is not empty")
    signature = Signature(key=key, hash_algorithm=hash_name.decode(), raw=raw, flags_and_counter=flags_and_counter)
    if encode_signature(signature) != data:
        raise _malformed("its line ends, line lengths or last bytes are not as `ssh-keygen` writes them")
    return signature


def encode_signature(signature: Signature) -> bytes:
    """The signature file: base64 in lines of 70 characters between the two marker lines, each ended by a line feed."""
    inner = _string(signature.key.algorithm.encode()) + _string(signature.raw) + signature.flags_and_counter
    fields = (signature.key.blob, NAMESPACE.encode(), b"", signature.hash_algorithm.encode(), inner)
    encoded = base64.b64encode(_PREAMBLE + _VERSION + b"".join(map(_string, fields)))
    lines = (encoded[start : start + _LINE] for start in range(0, len(encoded), _LINE))
    return b"\n".join((_BEGIN, *lines, _END, b""))


def verify(body: bytes, signature_file: bytes) -> PublicKey:
    """The key that signed exactly ``body``; whether that key is trusted is another question (SPEC §7).

    Raises SignatureError: what ``parse_signature`` raises, ``signature-mismatch``, or ``signature-unattended`` for a
    security key that nobody touched. The counter is signed but not compared: SSH keys live on several machines, and
    replay is what the manifest's serial is for.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    signature = parse_signature(signature_file)
    if signature.flags_and_counter and not signature.flags_and_counter[0] & _USER_PRESENT:
        raise errors.SignatureError("signature-unattended", "the security key made the signature without a touch")
    point, *_ = _key_fields(signature.key)
    try:
        Ed25519PublicKey.from_public_bytes(point).verify(signature.raw, _signed_bytes(signature, body))
    except (InvalidSignature, ValueError) as error:
        raise errors.SignatureError(
            "signature-mismatch", f"the signature by {signature.key.fingerprint} does not belong to these bytes"
        ) from error
    return signature.key


def sign(body: bytes, private_key_file: bytes, passphrase: bytes | None) -> bytes:
    """The signature file for ``body``, byte for byte what ``ssh-keygen -Y sign -n intent-manifest`` writes.

    private_key_file: an OpenSSH private key of type ssh-ed25519; passphrase: None or empty where it has none.
    Raises SignatureError: ``passphrase-mismatch`` (absent, wrong or superfluous), ``key-malformed``, or
    ``key-unsupported``, also for security keys and for encrypted keys where the Python package bcrypt is absent.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_private_key

    try:
        private = load_ssh_private_key(private_key_file, passphrase or None)
    except UnsupportedAlgorithm as error:
        raise errors.SignatureError(
            "key-unsupported",
            f"the private key cannot be opened here ({error})",
            hint=f"Sign with `ssh-keygen -Y sign -n {NAMESPACE} -f KEY MANIFEST`.",
        ) from error
    except TypeError as error:
        state = "has no passphrase, but one was given" if passphrase else "is encrypted, but no passphrase was given"
        raise errors.SignatureError("passphrase-mismatch", f"the private key {state}") from error
    except ValueError as error:
        if passphrase:
            raise errors.SignatureError(
                "passphrase-mismatch", "the private key is damaged, or the passphrase is another key's"
            ) from error
        raise _key_malformed("it is not an OpenSSH private key") from error
    if not isinstance(private, Ed25519PrivateKey):
        raise _key_unsupported(type(private).__name__.removesuffix("PrivateKey"))
    blob = _string(_ED25519.encode()) + _string(private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))
    key = PublicKey(algorithm=_ED25519, blob=blob)
    blank = Signature(key=key, hash_algorithm="sha512", raw=b"", flags_and_counter=b"")
    return encode_signature(dataclasses.replace(blank, raw=private.sign(_signed_bytes(blank, body))))


def _signed_bytes(signature: Signature, body: bytes) -> bytes:
    """What Ed25519 signs: PROTOCOL.sshsig §3, wrapped for security keys as in PROTOCOL.u2f, "SSH U2F signatures"."""
    digest = _HASHES[signature.hash_algorithm](body).digest()
    fields = (NAMESPACE.encode(), b"", signature.hash_algorithm.encode(), digest)
    data = _PREAMBLE + b"".join(map(_string, fields))
    _, *application = _key_fields(signature.key)
    if not application:
        return data
    return hashlib.sha256(application[0]).digest() + signature.flags_and_counter + hashlib.sha256(data).digest()


def _read_key(blob: bytes) -> PublicKey:
    """A key from its SSH wire form (RFC 8709 §4; PROTOCOL.u2f, "SSH U2F Key formats")."""
    try:
        (name,), rest = _strings(blob, 1)
        algorithm = name.decode("ascii", "replace")
        if algorithm not in _LAYOUTS:
            raise _key_unsupported(name)
        (point, *application), rest = _strings(rest, _LAYOUTS[algorithm][0])
    except ValueError as error:
        raise _key_malformed("a part of it is cut off") from error
    if rest or len(point) != 32:
        raise _key_malformed("its length is not that of an Ed25519 key")
    if application and not application[0].startswith(b"ssh:"):
        # ssh-keygen(1): the application must begin with "ssh:"; a web site's credential can never be taken for a key.
        raise _key_malformed(f"its application is {_shown(application[0])} and does not begin with `ssh:`")
    return PublicKey(algorithm=algorithm, blob=blob)


def _key_fields(key: PublicKey) -> list[bytes]:
    """The Ed25519 point and, for a security key, the application."""
    return _strings(key.blob, 1 + _LAYOUTS[key.algorithm][0])[0][1:]


def _string(data: bytes) -> bytes:
    """An SSH string: a big-endian length of four bytes and the bytes (RFC 4251 §5)."""
    return len(data).to_bytes(4, "big") + data


def _strings(data: bytes, count: int) -> tuple[list[bytes], bytes]:
    """The first ``count`` SSH strings of ``data`` and what follows them; ValueError where ``data`` ends too early."""
    found = []
    for _ in range(count):
        end = 4 + int.from_bytes(data[:4], "big")
        if len(data) < end:
            raise ValueError("cut off")
        found.append(data[4:end])
        data = data[end:]
    return found, data


def _shown(value: str | bytes) -> str:
    """Foreign text for a message: quoted, ASCII, and not longer than a line."""
    return ascii(value[:40]).removeprefix("b")


def _malformed(why: str) -> errors.SignatureError:
    return errors.SignatureError("signature-malformed", f"the signature cannot be used: {why}")


def _key_malformed(why: str) -> errors.SignatureError:
    return errors.SignatureError("key-malformed", f"the key cannot be used: {why}")


def _key_unsupported(found: str | bytes) -> errors.SignatureError:
    return errors.SignatureError(
        "key-unsupported", f"the key is of type {_shown(found)}, not {_ED25519} or {_SK_ED25519}"
    )
