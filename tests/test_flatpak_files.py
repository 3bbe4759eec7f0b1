"""Flatpak's files as tokens: what each form says, what is refused, and that no bytes are a surprise."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intents import errors
from intents.flatpak import files

APP = "org.example.App"
HEAD = f"[Application]\nname={APP}\ncommand=app\n"


def read(text: str) -> tuple[str, ...]:
    return files.read(text.encode(), file="it").tokens


@pytest.mark.parametrize(
    ("lines", "tokens"),
    [
        ("[Context]\nshared=network;ipc;", ["--share=network", "--share=ipc"]),
        ("[Context]\nsockets = !x11;wayland", ["--nosocket=x11", "--socket=wayland"]),
        ("[Context]\ndevices=all;!shm;\nfeatures=devel;", ["--device=all", "--nodevice=shm", "--allow=devel"]),
        ("[Context]\nfilesystems=!home;~/a\\;b:ro;", ["--nofilesystem=home", "--filesystem=~/a;b:ro"]),
        ("[Context]\nfilesystems=~/a\\\\:b", ["--filesystem=~/a\\:b"]),
        ("[Context]\npersistent=.;!a;", ["--persist=.", "--persist=!a"]),
        ("[Context]\nsockets=if:x11:!has-wayland;", ["--socket-if=x11:!has-wayland"]),
        ("[Context]\nunheard-of=1;", ["[Context] unheard-of=1;"]),
        ("[Session Bus Policy]\na.b=talk\na.c=own\na.d=see\na.e=none", [
            "--talk-name=a.b", "--own-name=a.c", "--see-name=a.d", "--no-talk-name=a.e"]),
        ("[System Bus Policy]\na.b=talk\na.e=none", ["--system-talk-name=a.b", "--system-no-talk-name=a.e"]),
        ("[System Bus Policy]\na.b=all", ["[System Bus Policy] a.b=all"]),
        ("[Environment]\nA=b=\\sc\\\\", ["--env=A=b= c\\"]),
        # What is not set is also written as empty, for old versions.
        ("[Context]\nunset-environment=TZ;\n[Environment]\nTZ=", ["--env=TZ=", "--unset-env=TZ"]),
        ("[USB Devices]\nenumerable-devices=all;\nhidden-devices=vnd:1;", ["--usb=all", "--nousb=vnd:1"]),
        ("[Policy Tracker3]\ndbus=a;b;", ["--add-policy=Tracker3.dbus=a", "--add-policy=Tracker3.dbus=b"]),
        ("[X-DConf]\nmigrate-path=/a/", ["--metadata=X-DConf=migrate-path=/a/"]),
        ("[Extension org.a.B]\ndirectory=b", ["--extension=org.a.B"]),
        ("[Unheard Of]\na=b", ["[Unheard Of] a=b"]),
        ("[Runtime]\na=b\n[ExtraData]\nname=c", []),
    ],
)  # fmt: skip
def test_metadata(lines: str, tokens: list[str]) -> None:
    assert files.read(f"# A comment.\n\n{HEAD}{lines}\n".encode(), file="it") == files.Source(
        app_id=APP, command="app", tokens=tuple(tokens)
    )


def test_a_manifest_in_json() -> None:
    said = '/* a */ {"app-id": "a.b.C", // "finish-args"\n "command": "x//y", "finish-args": ["--env=A=/*b*/"]}'
    assert files.read(said.encode(), file="it") == files.Source(
        app_id="a.b.C", command="x//y", tokens=("--env=A=/*b*/",)
    )
    assert read('{"id": "a.b.C"}') == ()
    assert files.read(b'{"finish-args": ["--share=ipc"]}', file="it") == files.Source(tokens=("--share=ipc",))


YAML = "id: a.b.C\nfinish-args:\n"


@pytest.mark.parametrize(
    ("lines", "tokens"),
    [
        ("  - --share=ipc\n  - --a=b#c # d\nmodules:\n  - --share=network", ["--share=ipc", "--a=b#c"]),
        ("- --share=ipc\n\n# a\n- '--a=it''s: b' # c\n- \"--d=e\"", ["--share=ipc", "--a=it's: b", "--d=e"]),
        ("", []),
    ],
)
def test_a_manifest_in_yaml(lines: str, tokens: list[str]) -> None:
    assert files.read((YAML + lines).encode(), file="it") == files.Source(app_id="a.b.C", tokens=tuple(tokens))


@pytest.mark.parametrize(
    "said",
    [
        "", "\x00", "id: 'a", "spec = 1", "- a", "{", "[]", "[Application", f"{HEAD}[Context]\nshared", "[Context]\n=a",
        '{"modules": []}', '{"id": 1}', '{"id": "a.b.C", "finish-args": "--share=ipc"}',
        '{"id": "a.b.C", "finish-args": [1]}', "id: a.b.C\nfinish-args: [--share=ipc]", "id: a.b.C\nfinish-args: &a\n",
        "modules:\n- a", f"{YAML}  - --a\n- --b", f"{YAML}  - --a\n    --b", f"{YAML}  - >\n    --b",
        f"{YAML}  - *a", f"{YAML}  - \"--a=\\x41\"", f"{YAML}  - --a: b", f"{YAML}  - - --a", f"{YAML}- --a\n{YAML}",
        f"{YAML}  --a", YAML + "- --a\n" * 1001, "[" * 100_000, '{"id":' * 100_000,
    ],
)  # fmt: skip
def test_what_is_not_sure_is_refused(said: str) -> None:
    with pytest.raises(errors.CatalogError) as caught:
        files.read(said.encode(), file="it")
    assert caught.value.code == "not-flatpak"
    assert "import flatpak --id" in caught.value.hint


def test_what_is_not_text_is_refused() -> None:
    with pytest.raises(errors.CatalogError):
        files.read(b"[Context]\nshared=\xff", file="it")


@settings(deadline=None, database=None)
@given(
    st.one_of(
        st.binary(max_size=60),
        st.lists(
            st.sampled_from([HEAD, YAML, "[Context]\n", "shared=", "\\", ";", "!", "- ", "  - ", "'", '"', "--a", "{",
                             "}", "\n", '"finish-args": [', "]", "/*", "*/", "//", ":", " #"]),
            max_size=12,
        ).map(lambda parts: "".join(parts).encode()),
    )
)  # fmt: skip
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    try:
        assert all(isinstance(token, str) for token in files.read(body, file="it").tokens)
    except errors.CatalogError as error:
        assert error.code == "not-flatpak"
