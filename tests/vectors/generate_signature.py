"""Writes tests/vectors/signature/: one file per defect, by an SSHSIG writer of its own that can write what is wrong.

Each file: ``expect:`` (success or an error code), ``spec:``, ``comment:``, ``body:`` (base64 of the signed bytes), for
valid ones ``key:`` (the fingerprint), a blank line, then the signature file's bytes. Run as
``python -m tests.vectors.generate_signature``; equal input gives equal bytes, because Ed25519 uses no randomness.
"""

import base64
import hashlib
import itertools
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_ssh_private_key

HERE = Path(__file__).parent
BODY = b'spec = 1\n\n[app]\nid = "org.example.Vector"\n'
GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493  # L of RFC 8032 §5.1

ED25519 = b"ssh-ed25519"
SK_ED25519 = b"sk-ssh-ed25519@openssh.com"


def load(name: str) -> Ed25519PrivateKey:
    """The private key tests/keys/``name``."""
    key = load_ssh_private_key((HERE.parent / "keys" / name).read_bytes(), None)
    assert isinstance(key, Ed25519PrivateKey)
    return key


REPOSITORY = load("repository")
# Stands in for the secret inside a security key; as worthless as the keys in tests/keys.
TOKEN = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"public and worthless").digest())


def string(data: bytes) -> bytes:
    """An SSH string (RFC 4251 §5)."""
    return len(data).to_bytes(4, "big") + data


def armor(blob: bytes, width: int = 70) -> bytes:
    """The signature file around ``blob``."""
    encoded = base64.b64encode(blob)
    lines = [encoded[at : at + width] for at in range(0, len(encoded), width)]
    return b"\n".join((b"-----BEGIN SSH SIGNATURE-----", *lines, b"-----END SSH SIGNATURE-----", b""))


def dearmor(data: bytes) -> bytes:
    """The blob inside a signature file that ``armor`` wrote."""
    return base64.b64decode(b"".join(data.split(b"\n")[1:-2]))


def to_sign(body: bytes, namespace: bytes = b"intent-manifest", digest: str = "sha512") -> bytes:
    """The bytes that a key signs for ``body``."""
    fields = (namespace, b"", digest.encode(), hashlib.new(digest, body).digest())
    return b"SSHSIG" + b"".join(map(string, fields))


def blob(
    key: bytes,
    inner: bytes,
    *,
    magic: bytes = b"SSHSIG",
    version: int = 1,
    namespace: bytes = b"intent-manifest",
    reserved: bytes = b"",
    digest: bytes = b"sha512",
) -> bytes:
    """An SSHSIG structure of any content."""
    return magic + version.to_bytes(4, "big") + b"".join(map(string, (key, namespace, reserved, digest, inner)))


def public(key: Ed25519PrivateKey = REPOSITORY) -> bytes:
    """The wire form of an ssh-ed25519 key."""
    return string(ED25519) + string(key.public_key().public_bytes_raw())


def signed(data: bytes, key: Ed25519PrivateKey = REPOSITORY) -> bytes:
    """An ssh-ed25519 signature of ``data``."""
    return string(ED25519) + string(key.sign(data))


def good(body: bytes = BODY, digest: str = "sha512") -> bytes:
    """A correct blob of the repository's key."""
    return blob(public(), signed(to_sign(body, digest=digest)), digest=digest.encode())


def token_public(application: bytes = b"ssh:") -> bytes:
    """The wire form of the security key's public key."""
    return string(SK_ED25519) + string(TOKEN.public_key().public_bytes_raw()) + string(application)


def token_blob(
    application: bytes = b"ssh:",
    flags: int = 1,
    counter: int = 7,
    *,
    sent: bytes | None = None,
    named: bytes | None = None,
    body: bytes = BODY,
) -> bytes:
    """A blob over ``body`` as a security key makes it.

    Afterwards ``sent`` replaces flags and counter, ``named`` the application.
    """
    state = bytes([flags]) + counter.to_bytes(4, "big")
    message = hashlib.sha256(application).digest() + state + hashlib.sha256(to_sign(body)).digest()
    inner = string(SK_ED25519) + string(TOKEN.sign(message)) + (state if sent is None else sent)
    return blob(token_public(application if named is None else named), inner)


def full_line_token() -> bytes:
    """A blob whose base64 fills its last line exactly: the line ends once, not twice."""
    sizes = (token_blob(b"ssh:" + b"x" * count) for count in itertools.count())
    return next(candidate for candidate in sizes if len(base64.b64encode(candidate)) % 70 == 0)


def flipped(data: bytes, at: int) -> bytes:
    """``data`` with the lowest bit of one byte changed."""
    at %= len(data)
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def malleable() -> bytes:
    """A correct signature with L added to its second half: equal modulo L, so only a range check refuses it."""
    raw = REPOSITORY.sign(to_sign(BODY))
    shifted = int.from_bytes(raw[32:], "little") + GROUP_ORDER
    return blob(public(), string(ED25519) + string(raw[:32] + shifted.to_bytes(32, "little")))


def valid() -> dict[str, tuple[str, bytes, bytes, bytes]]:
    """name -> (comment, body, signature file, key blob)."""
    return {
        "ed25519_sha512": ("what `ssh-keygen -Y sign` writes", BODY, armor(good()), public()),
        "ed25519_sha256": ("the other hash of PROTOCOL.sshsig", BODY, armor(good(digest="sha256")), public()),
        "ed25519_empty_body": ("no bytes are bytes too", b"", armor(good(b"")), public()),
        "sk_touched": ("a security key, touched", BODY, armor(token_blob()), token_public()),
        "sk_verified": (
            "a security key, touched and unlocked, with an application and a high counter",
            BODY,
            armor(token_blob(b"ssh:release", flags=5, counter=2**32 - 1)),
            token_public(b"ssh:release"),
        ),
        "armor_full_last_line": (
            "the last base64 line is exactly 70 characters long",
            BODY,
            armor(full_line_token()),
            full_line_token()[14 : 14 + int.from_bytes(full_line_token()[10:14], "big")],
        ),
    }


def bad_armor() -> dict[str, tuple[str, str, bytes]]:
    """name -> (code, comment, signature file): the blob is correct, its wrapping is not."""
    file = armor(good())
    begin, first, *rest = file.splitlines(keepends=True)
    malformed = "signature-malformed"
    return {
        "empty": (malformed, "no bytes", b""),
        "armor_truncated": (malformed, "the last two lines are absent", begin + first + b"".join(rest[:-2])),
        "armor_no_end": (malformed, "the last line is absent", begin + first + b"".join(rest[:-1])),
        "armor_only": (malformed, "markers around nothing", begin + rest[-1]),
        "armor_base64": (malformed, "a character outside the alphabet", begin + b"*" + first[1:] + b"".join(rest)),
        "armor_pad_bits": (malformed, "unused bits of the last character are set", pad_bits_set()),
        "armor_line_length": (malformed, "lines of 76 characters, as PEM has", armor(good(), 76)),
        "armor_one_line": (malformed, "one line of base64", armor(good(), 4096)),
        "armor_crlf": (malformed, "lines end with carriage return and line feed", file.replace(b"\n", b"\r\n")),
        "armor_no_final_newline": (malformed, "the last line is not ended", file[:-1]),
        "armor_blank_line": (malformed, "an empty line before the last", begin + first + b"\n" + b"".join(rest)),
        "armor_leading_text": (malformed, "text before the first line", b"Signed:\n" + file),
        "armor_trailing_text": (malformed, "text after the last line", file + b"more\n"),
        "armor_two": (malformed, "two signatures in one file", file + file),
        "armor_other_marker": (malformed, "the markers of PGP", file.replace(b"SSH", b"PGP")),
        "armor_other_end": (malformed, "the last line names something else", file[:-20] + b"SIGNATUR------\n"),
        "armor_too_large": (malformed, "more than 4096 bytes", armor(good() + bytes(4096))),
    }


def pad_bits_set() -> bytes:
    """A signature file that decodes to a correct blob, although its last base64 character is not canonical."""
    file = armor(good(digest="sha256"))
    head, tail = file.split(b"=", 1)
    assert head[-1:] in b"AEIMQUYcgkosw048", "the blob's length leaves unused bits"
    return head[:-1] + bytes([head[-1] + 1]) + b"=" + tail


def bad_blob() -> dict[str, tuple[str, str, bytes]]:
    """name -> (code, comment, signature file): the wrapping is correct, the structure is not."""
    inner = signed(to_sign(BODY))
    raw = REPOSITORY.sign(to_sign(BODY))
    rsa = string(b"ssh-rsa") + string(b"\1\0\1") + string(b"\0" + hashlib.sha256(b"modulus").digest() * 8)
    malformed = "signature-malformed"
    cases = {
        "blob_empty": (malformed, "only the preamble", b"SSHSIG"),
        "blob_truncated": (malformed, "the last byte is absent", good()[:-1]),
        "blob_trailing": (malformed, "a byte follows the signature", good() + b"\0"),
        "blob_length": (malformed, "a length reaches past the end", good()[:10] + b"\xff\xff\xff\xff" + good()[14:]),
        "magic": (malformed, "another preamble", blob(public(), inner, magic=b"SSHSIH")),
        "version_2": (malformed, "a version that is not known", blob(public(), inner, version=2)),
        "reserved": (malformed, "the reserved field is in use", blob(public(), inner, reserved=b"x")),
        "namespace_file": (
            "signature-namespace",
            "correct, but made for `file`",
            blob(public(), signed(to_sign(BODY, b"file")), namespace=b"file"),
        ),
        "namespace_empty": (
            "signature-namespace",
            "correct, but made for no purpose",
            blob(public(), signed(to_sign(BODY, b"")), namespace=b""),
        ),
        "hash_sha1": (
            malformed,
            "correct, but with a hash that PROTOCOL.sshsig does not allow",
            blob(public(), signed(to_sign(BODY, digest="sha1")), digest=b"sha1"),
        ),
        "hash_sha384": (
            malformed,
            "correct, but with a hash that PROTOCOL.sshsig does not name",
            blob(public(), signed(to_sign(BODY, digest="sha384")), digest=b"sha384"),
        ),
        "key_rsa": ("key-unsupported", "an RSA key", blob(rsa, string(b"rsa-sha2-512") + string(bytes(256)))),
        "key_no_name": ("key-malformed", "an empty key", blob(b"", inner)),
        "key_short": ("key-malformed", "31 bytes of key", blob(string(ED25519) + string(bytes(31)), inner)),
        "key_trailing": ("key-malformed", "a byte follows the key", blob(public() + b"\0", inner)),
        "signature_short": (malformed, "63 bytes", blob(public(), string(ED25519) + string(raw[:-1]))),
        "signature_trailing": (malformed, "flags after a plain signature", blob(public(), inner + b"\1\0\0\0\7")),
        "signature_algorithm": (malformed, "not the key's own", blob(public(), string(SK_ED25519) + string(raw))),
    }
    return {name: (code, comment, armor(data)) for name, (code, comment, data) in cases.items()}


def bad_meaning() -> dict[str, tuple[str, str, bytes]]:
    """name -> (code, comment, signature file): well-formed, but not a signature of ``BODY`` that counts."""
    mismatch = "signature-mismatch"
    inner = signed(to_sign(BODY))
    cases = {
        "body_bit": (mismatch, "one bit of the body was changed", good(flipped(BODY, 0))),
        "body_newline": (mismatch, "the body lost its final line feed", good(BODY[:-1])),
        "signature_bit_r": (mismatch, "one bit of R was changed", flipped(good(), -64)),
        "signature_bit_s": (mismatch, "one bit of S was changed", flipped(good(), -32)),
        "signature_malleable": (mismatch, "S + L, which equals S modulo L (RFC 8032 §5.1.7)", malleable()),
        "signature_zero": (mismatch, "64 zero bytes", blob(public(), string(ED25519) + string(bytes(64)))),
        "key_other": (mismatch, "made by another key than it names", blob(public(load("other")), inner)),
        "hash_swapped": (mismatch, "made with sha512, says sha256", blob(public(), inner, digest=b"sha256")),
        "namespace_relabelled": (
            mismatch,
            "made for `file`, says `intent-manifest`",
            blob(public(), signed(to_sign(BODY, b"file"))),
        ),
        "sk_untouched": ("signature-unattended", "correct, but nobody touched the key", token_blob(flags=0)),
        "sk_only_unlocked": ("signature-unattended", "unlocked, but not touched", token_blob(flags=4)),
        "sk_touch_forged": (mismatch, "the touch was added later", token_blob(flags=0, sent=b"\1\0\0\0\7")),
        "sk_counter": (mismatch, "the counter was changed", token_blob(sent=b"\1\0\0\0\6")),
        "sk_no_counter": ("signature-malformed", "four bytes of flags and counter", token_blob(sent=b"\1\0\0\0")),
        "sk_web": ("key-malformed", "the credential of a web site", token_blob(b"https://example.org")),
        "sk_application": (
            mismatch,
            "made for another application than it names",
            token_blob(named=b"ssh:release"),
        ),
        "sk_plain": (
            mismatch,
            "a security key's secret, used without a security key",
            blob(token_public(), string(SK_ED25519) + string(TOKEN.sign(to_sign(BODY))) + b"\1\0\0\0\7"),
        ),
    }
    return {name: (code, comment, armor(data)) for name, (code, comment, data) in cases.items()}


def files() -> dict[str, bytes]:
    """Every vector: path below tests/vectors/signature -> bytes."""
    found = {}
    for name, (comment, body, file, key) in valid().items():
        fingerprint = "SHA256:" + base64.b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")
        found[f"valid/{name}"] = vector("success", comment, body, file, f"key: {fingerprint}\n")
    for name, (code, comment, file) in {**bad_armor(), **bad_blob(), **bad_meaning()}.items():
        found[f"invalid/{name}"] = vector(code, comment, BODY, file)
    return found


def vector(expect: str, comment: str, body: bytes, file: bytes, more: str = "") -> bytes:
    """One vector file."""
    encoded = base64.b64encode(body).decode()
    return f"expect: {expect}\nspec: §6\ncomment: {comment}\nbody: {encoded}\n{more}\n".encode() + file


def main() -> None:
    """Write all vectors, and remove what is no longer one."""
    wanted = files()
    for folder in ("valid", "invalid"):
        (HERE / "signature" / folder).mkdir(parents=True, exist_ok=True)
        for path in (HERE / "signature" / folder).iterdir():
            if f"{folder}/{path.name}" not in wanted:
                path.unlink()
    for name, data in wanted.items():
        (HERE / "signature" / name).write_bytes(data)


if __name__ == "__main__":
    main()
