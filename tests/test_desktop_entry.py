"""Desktop entries and service files: what is kept of them starts the sandbox and nothing else (SPEC §11.6)."""

import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intents import desktop_entry

PROGRAM = "/usr/bin/viewer"
LAUNCHER = "/opt/a b/intent-run"
EXEC = 'Exec="/opt/a b/intent-run" org.example.View'


def ours(*fixed: str, program: str = PROGRAM) -> desktop_entry.Ours:
    names = (program, os.path.basename(program))
    return desktop_entry.Ours(
        launcher=LAUNCHER, app_id="org.example.View", command=(program, *fixed), is_program=lambda word: word in names
    )


def entry(*lines: str) -> str:
    return "\n".join(("[Desktop Entry]", "Type=Application", *lines)) + "\n"


def started(line: str, *fixed: str, program: str = PROGRAM) -> str | None:
    """The Exec line that comes of one, without the part that is always the same."""
    found = desktop_entry.rewrite(entry(f"Exec={line}"), ours(*fixed, program=program))
    if found is None:
        return None
    (line,) = [line for line in found.text.split("\n") if line.startswith("Exec=")]
    assert line.startswith(EXEC)
    return line.removeprefix(EXEC).strip()


def test_an_entry_keeps_all_that_starts_nothing() -> None:
    text = entry(
        "# A remark", "Name=Viewer", "Name[de]=Betrachter", "Icon=viewer", "Exec=viewer --new %U", "MimeType=a/b;",
        "DBusActivatable=true", "X-GNOME-UsesNotifications=true", "Actions=new;other;", "",
        "[Desktop Action new]", "Name=New", "Exec=/usr/bin/viewer --window", "",
        "[Desktop Action other]", "Name=Other", "Exec=/usr/bin/other",
    )  # fmt: skip
    found = desktop_entry.rewrite(text, ours())
    assert found is not None
    assert found.text.split("\n") == [
        "[Desktop Entry]", "Type=Application", "# A remark", "Name=Viewer", "Name[de]=Betrachter", "Icon=viewer",
        f"{EXEC} --new %U", "MimeType=a/b;", "DBusActivatable=false", "X-GNOME-UsesNotifications=true", "Actions=new;",
        "TryExec=/usr/bin/viewer", "X-Intents-App=org.example.View", "",
        "[Desktop Action new]", "Name=New", f"{EXEC} --window", "",
    ]  # fmt: skip
    assert found.left_out == ("[Desktop Action other]",)


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("viewer %f", "%f"),
        ('"/usr/bin/viewer" "%F"', "%F"),
        ("viewer --at=%u", "--at=%u"),
        ("viewer %U %U", "%U"),
        ("viewer -a --bc=d:1,2 -- %u", "-a --bc=d:1,2 %u"),
        ("viewer %i -caption %c --at %k", "-caption --at"),
        ("viewer /etc/passwd file:///etc/passwd notes.txt ~ - --", ""),
        ("viewer @@ %f @@", "%f"),
        ("viewer @@u %u @@", "%u"),
        ("viewer --a=%c --b=%%f --c='d e' %d%f", ""),
        ("viewer '-a\\nExec=evil' '--b\tc' \"--c\\\\nExec=evil\"", ""),
        ("env A=b C='d e' viewer %f", "%f"),
        ("env -u A viewer", None),
        ("viewer2", None),
        ("/opt/viewer", None),
        ("sh -c 'viewer %f'", None),
        ("viewer 'unclosed", None),
        ("", None),
    ],
)
def test_of_a_command_line_only_options_and_one_code_are_kept(line: str, kept: str | None) -> None:
    assert started(line) == kept


def test_a_script_around_the_program_is_known_by_what_the_entry_tries() -> None:
    text = entry("Exec=sh -c 'viewer %f' x %f", "TryExec=viewer")
    found = desktop_entry.rewrite(text, ours())
    assert found is not None and f"{EXEC} %f" in found.text.split("\n")


def test_variables_of_the_manifest_are_no_program() -> None:
    assert desktop_entry.own_command(("/usr/bin/env", "A=b", "C=", PROGRAM, "-x")) == (PROGRAM, "-x")
    for command in (("/usr/bin/env", "A=b"), ("/usr/bin/env", "-u", "A", PROGRAM), (PROGRAM, "A=b"), ("/bin/env", "x")):
        assert desktop_entry.own_command(command) == command


def test_a_program_for_programs_is_the_app_with_its_own_words_alone() -> None:
    python = "/usr/bin/python3"
    assert started("python3 /usr/share/view/view.py %f", "/usr/share/view/view.py", program=python) == "%f"
    for line in ("python3 %f", "python3 /usr/share/other.py %f", "python3 -m other", "python3"):
        assert started(line, "/usr/share/view/view.py", program=python) is None
    assert started("python3 /usr/share/other.py", program=python) is None
    assert started("python3 -c other", program=python) is None
    assert started("viewer --plain", "--plain") == "" and started("viewer", "--plain") == ""
    assert started("viewer /usr/share/a %f", "/usr/share/b") is None


@pytest.mark.parametrize(
    "line",
    [
        "Icon[$e]=$(touch /evil)", "Name[$i]=x", "X-KDE-RootExec=evil", "X-DBUS-ServiceName=org.example.Evil",
        "X-KDE-SubstituteUID=true", "Exec[de]=evil", "URL=file:///evil", "X-Ubuntu-Command=evil", "SwallowExec=evil",
        "Name=a\rExec=evil", "Comment=a\u2028Exec=evil", "Comment=a\u0085Exec=evil", "[Evil]\nExec=evil",
        " Exec=evil", "Exec =evil", "Exec=evil", "X-Intents-App=org.example.Evil", "X-Flatpak=org.example.Evil",
        "Actions=a\n[Desktop Action a]\nExec=evil", "Actions=a\n[Desktop Action a]\nExec=viewer\nExec=evil",
        "[Desktop Entry]\nExec=evil", "[Desktop Action a/../b]\nExec=evil", "evil", "=evil",
    ],
)  # fmt: skip
def test_what_could_start_something_else_is_left_out(line: str) -> None:
    found = desktop_entry.rewrite(entry("Exec=viewer", line), ours())
    assert found is not None and "evil" not in found.text.lower() and "$" not in found.text
    assert found.left_out or "Actions" in line


def test_what_is_no_entry_of_the_app_is_none() -> None:
    for text in ("", "Exec=viewer", "[Desktop Entry]\nExec=viewer\n", entry("Name=a"), "[Other]\nExec=viewer\n"):
        assert desktop_entry.rewrite(text, ours()) is None
    assert desktop_entry.rewrite("[Desktop Entry]\nType=Link\nExec=viewer\n", ours()) is None


def test_an_entry_that_only_a_bus_starts_gets_a_line_of_ours() -> None:
    text = entry("TryExec=viewer", "DBusActivatable=true", "MimeType=a/b;")
    found = desktop_entry.rewrite(text, ours())
    assert found is not None and f"{EXEC} %U" in found.text.split("\n")
    assert "DBusActivatable=false" in found.text


def test_of_a_service_file_the_name_stays() -> None:
    text = (
        "[D-BUS Service]\nName=org.example.View\nExec=/usr/bin/viewer --service /etc/passwd\nSystemdService=v.service\n"
    )
    found = desktop_entry.service(text, ours())
    assert found is not None
    name, new = found
    assert name == "org.example.View"
    line = "Exec='/opt/a b/intent-run' org.example.View --service"
    assert new.text == f"[D-BUS Service]\nName=org.example.View\n{line}\n"
    assert new.left_out == ("SystemdService", "/etc/passwd")
    for bad in ("Name=org.example.View\rExec=evil", "Name=a b", "Name=", "Name=view"):
        assert desktop_entry.service(text.replace("Name=org.example.View", bad), ours()) is None
    assert desktop_entry.service(text.replace("viewer", "other"), ours()) is None


def test_a_long_entry_comes_to_an_end() -> None:
    """With a comparison of each line with each other, it would take minutes."""
    lines = [f"X-Key{number}=value" for number in range(60_000)]
    found = desktop_entry.rewrite(entry("Exec=viewer", *lines), ours())
    assert found is not None and found.left_out == ()


def test_cve_2021_21381_no_word_of_an_entry_names_a_file() -> None:
    """There, words of an entry named files that the app was then given; here intent-run gives what arguments name."""
    named = (
        "/etc/passwd",
        "secret",
        "file:///etc/passwd",
        "FILE:/etc/passwd",
        "%k",
        "%c",
        "%i",
        "./secret",
        "@@",
        "a=b",
    )
    for word in named:
        for line in (f"viewer {word} %f", f"viewer -- {word}", f'viewer "{word}"', f"viewer -a {word}"):
            assert re.fullmatch(r"(-a ?)?(%f)?", started(line) or "") is not None, line


LINES = st.one_of(
    st.text(alphabet=st.characters(blacklist_categories=("Cs",)), max_size=30),
    st.sampled_from(
        (
            "Exec=viewer %f",
            "Exec=evil",
            "Type=Application",
            "[Desktop Entry]",
            "[Desktop Action a]",
            "Actions=a;b;",
            "\r",
        )
    ),
    st.builds(
        "{}{}={}".format,
        st.sampled_from(("Exec", "Name", "Icon", "X-A", "TryExec", "Actions", "DBusActivatable", "Path")),
        st.sampled_from(("", "[de]", "[$e]", " ", "\t")),
        st.text(alphabet=st.sampled_from("viewer %fFuUick\"'\\@-=/\r\n\t;[]$`"), max_size=30),
    ),
)


@given(st.lists(LINES, max_size=20).map(lambda lines: entry("Exec=viewer", *lines)))
def test_no_line_is_neither_theirs_nor_ours(text: str) -> None:
    found = desktop_entry.rewrite(text, ours())
    assert found is not None
    theirs = {line.strip(" \t\r") for line in text.split("\n")}
    fixed = {"DBusActivatable=false", "TryExec=/usr/bin/viewer", "X-Intents-App=org.example.View"}
    started_by = re.compile(re.escape(EXEC) + r"( --?[A-Za-z0-9][A-Za-z0-9_.,:=+/-]*(%[fu])?| %[fFuU])*")
    for line in found.text.split("\n"):
        key = line.partition("=")[0].strip(" \t")
        if key == "Exec":
            assert started_by.fullmatch(line), line
        elif key == "Actions":
            assert re.fullmatch(r"Actions=([A-Za-z0-9-]+;)+", line), line
        else:
            assert line in fixed or line in theirs, line
        assert not key.startswith("Exec[") and "\r" not in line
    assert found.text.count("\n[Desktop Entry]") == 0 and found.text.startswith("[Desktop Entry]\n")
    # Whoever reads what was written finds nothing more to leave out.
    again = desktop_entry.rewrite(found.text.replace(EXEC, "Exec=viewer"), ours())
    assert again is not None and set(again.left_out) <= {"X-Intents-App"}


@given(st.text(alphabet=st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=20))
def test_a_quoted_word_is_that_word_again(word: str) -> None:
    line = desktop_entry.quoted(word).replace("\\\\", "\\")  # as a value, then as a word
    inner = line[1:-1] if line.startswith('"') else line
    assert re.sub(r'\\(["`$\\])', r"\1", inner) == word
