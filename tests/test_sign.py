"""Signatures (SPEC §6) against the vectors, against the real ssh-keygen, and against bytes that nobody meant."""

import base64
import contextlib
import importlib.util
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intents import errors, sign
from tests.conftest import must_work
from tests.vectors import generate_signature as forge

HERE = Path(__file__).parent
VECTORS = HERE / "vectors" / "signature"
BODY = forge.BODY
MUTATIONS = 20_000
# No deadline: a loaded machine is not a defect. No database: the checkout may be another user's.
quiet = settings(deadline=None, database=None, max_examples=400)


def read_vector(path: Path) -> tuple[dict[str, str], bytes]:
    """The header of a vector and its payload."""
    head, payload = path.read_bytes().split(b"\n\n", 1)
    return dict(line.split(": ", 1) for line in head.decode().replace(":\n", ": \n").split("\n")), payload


def code_of(body: bytes, file: bytes) -> str:
    """``success``, or the code of the SignatureError; anything else escapes and fails the test."""
    try:
        sign.verify(body, file)
    except errors.SignatureError as error:
        return error.code
    return "success"


@pytest.mark.parametrize("path", sorted(VECTORS.glob("*valid/*")), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_vector(path: Path) -> None:
    header, payload = read_vector(path)
    body = base64.b64decode(header["body"])
    assert code_of(body, payload) == header["expect"]
    assert (header["expect"] == "success") == (path.parent.name == "valid")
    if header["expect"] == "success":
        assert sign.verify(body, payload).fingerprint == header["key"]
        assert sign.encode_signature(sign.parse_signature(payload)) == payload


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("armor_too_large", "longer than 4096 bytes"),
        ("armor_leading_text", "does not begin with the line `-----BEGIN SSH SIGNATURE-----`"),
        ("armor_crlf", "line ends"),
        ("armor_base64", "base64 is damaged"),
        ("armor_line_length", "line lengths"),
        ("magic", "not of SSHSIG version 1"),
        ("version_2", "not of SSHSIG version 1"),
        ("blob_truncated", "cut off"),
        ("reserved", "reserved field is not empty"),
        ("hash_sha1", "the hash 'sha1', not sha256 or sha512"),
        ("signature_algorithm", "parts do not fit its key"),
        ("namespace_file", "made for 'file', not for `intent-manifest`"),
        ("key_rsa", "of type 'ssh-rsa', not ssh-ed25519"),
        ("sk_web", "application is 'https://example.org'"),
    ],
)
def test_the_message_names_the_defect(name: str, why: str) -> None:
    """Several defects would also fall to the comparison with the canonical form, which could not say what is wrong."""
    _, payload = read_vector(VECTORS / "invalid" / name)
    with pytest.raises(errors.SignatureError) as caught:
        sign.verify(BODY, payload)
    assert why in caught.value.message


def test_vectors_are_what_the_generator_writes() -> None:
    stored = {str(path.relative_to(VECTORS)): path.read_bytes() for path in VECTORS.rglob("*") if path.is_file()}
    assert stored == forge.files()


def test_sign_writes_the_vector() -> None:
    _, payload = read_vector(VECTORS / "valid" / "ed25519_sha512")
    assert sign.sign(BODY, (HERE / "keys" / "repository").read_bytes(), None) == payload


def test_repository_key_is_the_published_one() -> None:
    published = (HERE / "keys" / "repository.pub").read_text()
    assert published == f"{sign.REPOSITORY_KEY} public and worthless\n"
    assert sign.parse_public_key(published).text == sign.REPOSITORY_KEY
    private = (HERE / "keys" / "repository").read_bytes()
    assert sign.verify(b"x", sign.sign(b"x", private, None)) == sign.parse_public_key(sign.REPOSITORY_KEY)


def test_lineage_names_a_key() -> None:
    # cut -d' ' -f2 tests/keys/NAME.pub | base64 -d | sha256sum | cut -c1-16
    for name, expected in (("repository", "8569f00e61fe5aba"), ("other", "7acd9631f7e108a4")):
        assert sign.lineage(sign.parse_public_key((HERE / "keys" / f"{name}.pub").read_text())) == expected


def test_importing_sign_does_not_import_cryptography() -> None:
    code = "import sys, intents.sign; sys.exit(any(name.startswith('cryptography') for name in sys.modules))"
    subprocess.run([sys.executable, "-c", code], cwd=HERE.parent, check=True)


# --- public keys


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "key-malformed"),
        ("ssh-ed25519", "key-malformed"),
        (f"{sign.REPOSITORY_KEY}\n{sign.REPOSITORY_KEY}\n", "key-malformed"),
        (f"{sign.REPOSITORY_KEY} a\rb\n", "key-malformed"),
        (f"{sign.REPOSITORY_KEY} {'c' * 5000}", "key-malformed"),
        (f"no-pty {sign.REPOSITORY_KEY}", "key-unsupported"),
        ("ssh-rsa AAAA", "key-unsupported"),
        ("\udc80 AAAA", "key-unsupported"),
        ("ssh-ed25519 \udc80", "key-malformed"),
        (f"{sign.REPOSITORY_KEY}=", "key-malformed"),
        (f"{sign.REPOSITORY_KEY[:-4]}", "key-malformed"),
        (sign.REPOSITORY_KEY.replace("AAAAC3", "AAAA*C3"), "key-malformed"),
        (f"sk-ssh-ed25519@openssh.com {sign.REPOSITORY_KEY.split()[1]}", "key-malformed"),
        ("ssh-ed25519 " + base64.b64encode(forge.string(b"ssh-rsa")).decode(), "key-unsupported"),
        ("sk-ssh-ed25519@openssh.com " + base64.b64encode(forge.token_public(b"http:")).decode(), "key-malformed"),
    ],
)
def test_public_key_is_refused(text: str, code: str) -> None:
    with pytest.raises(errors.SignatureError) as caught:
        sign.parse_public_key(text)
    assert caught.value.code == code
    assert caught.value.message.isprintable()


@quiet
@given(st.one_of(st.text(), st.text().map(lambda text: f"ssh-ed25519 {text}")))
def test_any_text_as_public_key(text: str) -> None:
    with contextlib.suppress(errors.SignatureError):
        assert text.startswith(sign.parse_public_key(text).text)


# --- private keys


@pytest.mark.parametrize("data", [b"", b"x", (HERE / "keys" / "repository").read_bytes()[:200]])
def test_not_a_private_key(data: bytes) -> None:
    with pytest.raises(errors.SignatureError) as caught:
        sign.sign(BODY, data, None)
    assert caught.value.code == "key-malformed"


def test_superfluous_passphrase() -> None:
    with pytest.raises(errors.SignatureError) as caught:
        sign.sign(BODY, (HERE / "keys" / "repository").read_bytes(), b"secret")
    assert caught.value.code == "passphrase-mismatch"


# --- ssh-keygen as the oracle


def ssh_keygen(*arguments: str | Path, body: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run the real ssh-keygen with ``body`` on its standard input."""
    program = shutil.which("ssh-keygen")
    must_work(program, "ssh-keygen (package openssh-client)")
    assert program
    return subprocess.run([program, *arguments], input=body, capture_output=True, check=False)


def openssh_accepts(folder: Path, key: str, file: bytes, body: bytes) -> bool:
    """Whether ``ssh-keygen -Y verify`` says that ``key`` signed ``body``."""
    (folder / "allowed").write_text(f'author namespaces="{sign.NAMESPACE}" {key}\n')
    (folder / "sig").write_bytes(file)
    result = ssh_keygen(
        *("-Y", "verify", "-f", folder / "allowed", "-I", "author", "-n", sign.NAMESPACE, "-s", folder / "sig"),
        body=body,
    )
    return result.returncode == 0


@pytest.fixture
def fresh_key(tmp_path: Path) -> Path:
    """A new ssh-ed25519 key without a passphrase."""
    made = ssh_keygen("-q", "-t", "ed25519", "-N", "", "-C", "fresh", "-f", tmp_path / "key")
    assert made.returncode == 0, made.stderr
    return tmp_path / "key"


@pytest.mark.parametrize("size", [0, 1, 1000, 65536])
@pytest.mark.parametrize("digest", ["sha256", "sha512"])
def test_we_accept_what_openssh_signs(fresh_key: Path, digest: str, size: int) -> None:
    body = random.Random(size).randbytes(size)
    options = ("-Y", "sign", "-n", sign.NAMESPACE, "-O", f"hashalg={digest}", "-f", fresh_key)
    made = ssh_keygen(*options, body=body)
    assert made.returncode == 0, made.stderr
    key = sign.verify(body, made.stdout)
    assert key == sign.parse_public_key(fresh_key.with_suffix(".pub").read_text())
    assert sign.encode_signature(sign.parse_signature(made.stdout)) == made.stdout
    assert ssh_keygen("-lf", fresh_key).stdout.split()[1].decode() == key.fingerprint
    if digest == "sha512":
        assert sign.sign(body, fresh_key.read_bytes(), None) == made.stdout


def test_openssh_accepts_what_we_sign(fresh_key: Path, tmp_path: Path) -> None:
    file = sign.sign(BODY, fresh_key.read_bytes(), None)
    key = sign.verify(BODY, file).text
    assert openssh_accepts(tmp_path, key, file, BODY)
    assert not openssh_accepts(tmp_path, key, file, BODY + b"\n")


@pytest.mark.parametrize("name", sorted(forge.valid()))
def test_openssh_accepts_every_valid_vector(name: str, tmp_path: Path) -> None:
    header, payload = read_vector(VECTORS / "valid" / name)
    body = base64.b64decode(header["body"])
    assert openssh_accepts(tmp_path, sign.verify(body, payload).text, payload, body)


def test_an_encrypted_key_needs_its_passphrase(tmp_path: Path) -> None:
    path = tmp_path / "locked"
    made = ssh_keygen("-q", "-t", "ed25519", "-a", "1", "-N", "open sesame", "-f", path)
    assert made.returncode == 0, made.stderr
    locked = path.read_bytes()
    with pytest.raises(errors.SignatureError) as caught:
        sign.sign(BODY, locked, None)
    assert caught.value.code == "passphrase-mismatch"
    if importlib.util.find_spec("bcrypt"):
        key = sign.verify(BODY, sign.sign(BODY, locked, b"open sesame"))
        assert key == sign.parse_public_key(path.with_suffix(".pub").read_text())
        with pytest.raises(errors.SignatureError) as caught:
            sign.sign(BODY, locked, b"open barley")
        assert caught.value.code == "passphrase-mismatch"
    else:
        with pytest.raises(errors.SignatureError) as caught:
            sign.sign(BODY, locked, b"open sesame")
        assert caught.value.code == "key-unsupported"
        assert "ssh-keygen -Y sign" in caught.value.hint


def test_an_rsa_key_cannot_sign(tmp_path: Path) -> None:
    made = ssh_keygen("-q", "-t", "rsa", "-b", "1024", "-N", "", "-f", tmp_path / "rsa")
    assert made.returncode == 0, made.stderr
    with pytest.raises(errors.SignatureError) as caught:
        sign.sign(BODY, (tmp_path / "rsa").read_bytes(), None)
    assert caught.value.code == "key-unsupported"


# --- bytes that nobody meant

ORIGINALS = (forge.good(), forge.good(digest="sha256"), forge.token_blob())


def mutated(data: bytes, chance: random.Random) -> bytes:
    """``data`` after one to three changes: flip, replace, insert, remove, repeat or cut."""
    result = bytearray(data)
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(result) + 1)
        span = chance.choice((1, 1, 1, 2, 4, 32))
        match chance.randrange(6):
            case 0 if at < len(result):
                result[at] ^= 1 << chance.randrange(8)
            case 1:
                result[at : at + span] = chance.randbytes(span)
            case 2:
                result[at:at] = chance.choice((b"\n", b"\r", b" ", b"=", b"\0", b"A", chance.randbytes(span)))
            case 3:
                del result[at : at + span]
            case 4:
                result[at:at] = result[at : at + span]
            case _ if chance.random() < 0.1:
                del result[at:]
    return bytes(result)


def test_no_mutation_is_accepted() -> None:
    chance = random.Random("signatures")
    reached: set[str] = set()
    for _ in range(MUTATIONS):
        original = chance.choice(ORIGINALS)
        wrapped = forge.armor(original)
        # Half of the changes happen below the base64: few changes of the text itself get past its decoding.
        file = mutated(wrapped, chance) if chance.random() < 0.5 else forge.armor(mutated(original, chance))
        code = code_of(BODY, file)
        reached.add(code)
        assert code != "success" or file == wrapped, file
    # Otherwise the loop would be as happy with a parser that refuses everything at its first line.
    assert reached >= {
        *("success", "signature-malformed", "signature-mismatch", "signature-namespace"),
        *("signature-unattended", "key-malformed", "key-unsupported"),
    }


@quiet
@given(st.binary(max_size=300), st.binary(max_size=600))
def test_any_bytes_as_signature(body: bytes, data: bytes) -> None:
    for file in (data, forge.armor(data), forge.armor(b"SSHSIG\0\0\0\1" + data)):
        assert code_of(body, file) != "success"


@st.composite
def blobs(draw: st.DrawFn) -> bytes:
    """SSHSIG structures of correct form and of any content."""
    key = draw(st.sampled_from((forge.public(), forge.token_public(), forge.token_public(b"ssh:x"))))
    name = key[4 : 4 + int.from_bytes(key[:4], "big")]
    tail = draw(st.binary(min_size=5, max_size=5)) if name == forge.SK_ED25519 else b""
    inner = forge.string(name) + forge.string(draw(st.binary(min_size=64, max_size=64))) + tail
    return forge.blob(key, inner, digest=draw(st.sampled_from((b"sha256", b"sha512"))))


@quiet
@given(blobs())
def test_what_parses_encodes_to_the_same_bytes(blob: bytes) -> None:
    file = forge.armor(blob)
    assert sign.encode_signature(sign.parse_signature(file)) == file
    assert code_of(BODY, file) in ("signature-mismatch", "signature-unattended")


@quiet
@given(st.sampled_from(ORIGINALS), st.randoms(use_true_random=False))
def test_whatever_parses_is_canonical(original: bytes, chance: random.Random) -> None:
    for file in (mutated(forge.armor(original), chance), forge.armor(mutated(original, chance))):
        with contextlib.suppress(errors.SignatureError):
            assert sign.encode_signature(sign.parse_signature(file)) == file


@quiet
@given(st.binary(max_size=400))
def test_signing_any_body(body: bytes) -> None:
    file = sign.sign(body, (HERE / "keys" / "other").read_bytes(), None)
    assert code_of(body, file) == "success"
    assert code_of(body + b"\0", file) == "signature-mismatch"
