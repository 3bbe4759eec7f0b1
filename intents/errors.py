"""Every way intents can say no: one exception per family, one kebab-case code per defect (SPEC §12).

Imports nothing, so that any module may raise. An error holds data; ``render`` makes the text a person reads.
"""

# code -> (exit status before the sandbox starts, what went wrong in general, what to do in general)
CATALOGUE = {
    "ManifestError": {
        "toml-syntax": (125, "The file is not TOML 1.0.", "Correct the line the message names."),
        "too-large": (125, "A manifest holds at most 64 KiB, 64 intents, 256 single requests, and 2048 bytes in a line.", "Ask for less."),
        "unknown-spec": (125, "This program understands `spec = 1` only.", "Update intents, or write `spec = 1`."),
        "unknown-key": (125, "A key that SPEC does not name.", "Remove it or correct its spelling."),
        "unknown-kind": (125, "A kind of intent that SPEC does not name.", "Use one of the kinds in docs/kinds.md."),
        "missing-key": (125, "A key that SPEC requires is absent.", "Add the key."),
        "bad-type": (125, "A value has the wrong TOML type.", "Write the type that docs/authoring.md shows."),
        "bad-value": (125, "A value is outside what the key allows.", "Use one of the values the message lists."),
        "bad-app-id": (125, "App ids are reverse-DNS names: three or more ASCII labels.", "Use a domain you control."),
        "reserved-app-id": (125, "The app id lies under or above a reserved name.", "Use a domain you control."),
        "bad-intent-id": (125, "Intent ids are `[a-z][a-z0-9-]*`, at most 32 characters.", "Rename the intent."),
        "bad-text": (125, "A text holds characters that could deceive, or is too long.", "Use plain printable text."),
        "bad-command": (125, "The command is not one absolute program path and its arguments.", "Write an array of strings."),
        "bad-place": (125, "The place is not one a manifest may name.", "Use `home/…`, `xdg-documents/…` or an absolute path."),
        "bad-host": (125, "Not a server and a port that an app may ask for.", "Write `www.example.org:443`, or see SPEC §5.1."),
        "bad-bus-name": (125, "Not a D-Bus name or rule that an app may ask for.", "See the grammar in SPEC §5.5."),
        "forbidden-bus-name": (125, "A D-Bus name whose grant would undo the sandbox.", "Ask for the one method you need."),
        "overlapping-intents": (125, "Two intents of one manifest ask for the same thing.", "Merge them into one."),
        "not-utf-8": (125, "The file is not UTF-8.", "Save it as UTF-8."),
    },
    "SignatureError": {
        "signature-missing": (126, "There is no signature beside the manifest.", "Sign it, or start it with `--unsigned`."),
        "signature-malformed": (126, "The signature file is not an OpenSSH signature.", "Sign again with `intent-author sign`."),
        "signature-mismatch": (126, "The signature does not belong to these bytes.", "Get the file again, or sign again."),
        "signature-unattended": (126, "The security key signed without a touch.", "Sign again, and touch the key."),
        "signature-namespace": (126, "The signature was made for another purpose.", "Sign with namespace `intent-manifest`."),
        "key-unsupported": (126, "Only ssh-ed25519 and sk-ssh-ed25519@openssh.com keys are understood.", "Sign with an Ed25519 key."),
        "key-malformed": (126, "The key cannot be read.", "Make one with `ssh-keygen -t ed25519`."),
        "passphrase-mismatch": (126, "The private key and the passphrase do not fit.", "Give the key's own passphrase."),
        "key-changed": (126, "The app is signed by another key than the one that is pinned.", "See `intent-ctl trust show`."),
        "serial-rollback": (126, "The manifest is older than one that already ran here.", "Install the newer one again."),
        "serial-equivocation": (126, "Two different manifests carry the same serial.", "Ask the author for a raised serial."),
        "unsigned": (126, "The manifest carries no signature that counts.", "Start it with `--unsigned`, or sign it."),
        "publisher-unknown": (126, "Nobody has yet agreed to trust this publisher.", "Start it once in a terminal."),
    },
    "RefusedError": {
        "required-intent-refused": (126, "The app cannot work without an intent that is not granted.", "Grant it, or leave the app."),
        "no-way-to-ask": (126, "A question is open and there is no terminal to ask it on.", "Answer it: `intent-ctl pending`."),
        "path-covers-reserved": (126, "The place holds the broker's own files.", "Grant a directory below it."),
        "path-refused": (126, "The place is one that no answer can grant.", "Grant a directory of your own."),
        "place-taken": (126, "A directory to keep stands where another intent leads.", "Tell the author of the manifest."),
        "bus-name-activatable": (126, "A call to the app's own name would start it outside the sandbox.", "Refuse the intent."),
        "refused-by-policy": (126, "The administrator's policy denies something that the app cannot work without.", "See `intent-ctl policy explain`."),
        "policy-changed": (126, "The administrator's policy changed while a question was open.", "Start the app again."),
        "handshake-abandoned": (126, "The question was closed without an answer.", "Start the app again."),
        "question-gone": (126, "The question is not open any more: somebody answered it, or it is not asked.", "See `intent-ctl show`."),
        "question-changed": (126, "What is asked now is not what was shown.", "Look again: `intent-ctl pending`."),
        "not-on-offer": (126, "An answer gives more than was asked, or otherwise than was offered.", "See `intent-ctl pending`."),
    },
    "HostError": {
        "bwrap-missing": (125, "bubblewrap is not installed.", "Install the package `bubblewrap`."),
        "bwrap-unsuitable": (125, "This bubblewrap lacks what the sandbox needs, or is setuid.", "See `intent-ctl doctor`."),
        "userns-forbidden": (125, "The kernel does not let you make user namespaces.", "See `intent-ctl doctor`."),
        "proxy-missing": (125, "xdg-dbus-proxy is not installed.", "Install the package `xdg-dbus-proxy`."),
        "decisions-changed": (125, "What the app may do was changed while it started.", "Start it again."),
        "companion-failed": (125, "A process that has to work beside the app did not start.", "See `intent-ctl doctor`."),
        "listen-taken": (125, "Another program is where the app was to be reached.", "End it: `ss -lntp` or `ss -lxp` shows it."),
        "listen-forbidden": (125, "The place where the app was to be reached is not yours to use.", "Take a port from 1024 on, or let systemd listen."),
        "listen-place": (125, "A Unix socket was to be made where others could replace it.", "Use a directory that only you can change."),
        "listen-not-passed": (125, "The app was to be reached by a socket that systemd did not pass.", "Start it by a unit that has a `.socket`."),
        "identity-failed": (125, "The file by which the desktop's portals recognise the app could not be written.", "See that `$XDG_RUNTIME_DIR` is yours."),
        "no-wayland": (125, "No Wayland compositor is reachable.", "Start it from a Wayland session."),
        "no-nested-x11": (125, "Nothing is installed that shows X11 windows apart from those of others.", "Install Xwayland or Xephyr."),
        "no-x11": (125, "No X11 display is reachable.", "Start it from an X11 session."),
        "no-bus": (125, "The D-Bus bus is not reachable.", "Start it from a desktop session."),
        "no-service": (125, "The service that an intent leads to does not answer.", "Start it, or refuse the intent."),
        "no-device": (125, "The device that an intent names is not here, or is not yours to use.", "Connect it."),
        "no-uplink": (125, "What carries the internet to a sandbox is not installed, or may not work here.", "Install the packages `passt` and `nftables`."),
        "no-port-limit": (125, "The kernel cannot hold an app to the ports that it asks for.", "Use a kernel with Landlock ABI 4 (Linux 6.7)."),
        "no-pty": (125, "The kernel gives out no pseudo-terminal.", "Mount /dev/pts, or redirect input and output."),
        "program-missing": (127, "The program that the manifest starts is not installed.", "Install it."),
        "program-unsuitable": (127, "The program, or what it is started by, cannot run on this machine.", "Install it for this machine."),
        "library-missing": (127, "A library that the program needs is not here, or not where its base shows it.", "Install it."),
        "place-missing": (125, "A granted place does not exist.", "Create it, or revoke the grant."),
        "path-changed": (125, "A granted place changed between the decision and the launch.", "Start the app again."),
        "launch-failed": (125, "The system refused something that a launch needs.", "Free space, descriptors or processes."),
        "unsafe-descriptor": (125, "An inherited descriptor would reach past the sandbox.", "Redirect it from a file or a pipe."),
        "no-runtime-directory": (125, "There is no runtime directory that ends with the login.", "Log in, or set XDG_RUNTIME_DIR."),
        "unsafe-account": (125, "The account or its home directory is not its own.", "Log in as the user, without sudo."),
        "unsafe-place": (125, "A file or directory of the broker could be changed by somebody else.", "Correct its owner and mode."),
        "settings-not-copied": (125, "Your settings could not be copied for an app.", "Answer anew: `intent-ctl forget`."),
        "overrides-damaged": (125, "The record of what was installed for a desktop or a shell is damaged.", "Move it away; launchers with the line `X-Intents-App` are ours."),
        "unwritable-place": (125, "A file or directory of the broker cannot be made.", "Free space, or correct permissions."),
        "probe-failed": (125, "What looks around inside a sandbox gave no answer.", "Start the app, and see what it says."),
        "seccomp-unsupported": (125, "There is no system call filter for this processor.", "Use an x86-64 or arm64 machine."),
    },
    "CatalogError": {
        "manifest-not-found": (127, "No manifest has that name or alias.", "See `intent-ctl list --all`."),
        "alias-ambiguous": (127, "Several installed apps answer to that alias.", "Start one of them by its id."),
        "unsafe-catalog": (125, "A catalog file could be changed by somebody else.", "Correct its owner and mode."),
        "unreadable": (125, "A file cannot be read.", "Correct its permissions."),
        "not-flatpak": (125, "The file is neither Flatpak's `metadata` nor a manifest of flatpak-builder.", "Give the permissions themselves: `intent-author import flatpak --id APP -- --share=network …`."),
    },
    "PolicyError": {
        "unsafe-policy": (125, "A file of the administrator's policy could be changed by somebody else, or cannot be read.", "As root, correct its owner and mode."),
        "bad-policy": (125, "A file of the administrator's policy does not say valid rules.", "As root, correct the line the message names; `intent-ctl policy check` checks it."),
    },
    "JournalError": {
        "journal-unsafe": (125, "The journal could be changed by somebody else.", "Correct its owner and mode."),
        "journal-corrupt": (125, "The journal is damaged: its hash chain does not hold.", "See docs/journal.md."),
        "journal-replaced": (125, "The journal is older than what was last written to it.", "See docs/journal.md."),
        "journal-missing": (125, "The journal is gone although decisions were stored in it.", "See docs/journal.md."),
        "journal-unwritable": (125, "The journal cannot be written.", "Free space, or correct permissions."),
        "journal-busy": (125, "Another program holds the journal.", "Try again."),
    },
    "DecisionError": {
        "unknown-intent": (1, "The app declares no such intent.", "See `intent-ctl show`."),
        "unknown-app": (1, "No such app has a decision or a manifest.", "See `intent-ctl list --all`."),
        "lifespan-unavailable": (1, "That lifespan is not offered here.", "Use another lifespan."),
        "bad-duration": (1, "A duration is a number and one of m, h, d.", "Write `8h`."),
        "not-probed": (1, "The sandbox holds nothing that could look around in it.", "See `intent-ctl explain`."),
        "not-running": (1, "No running instance of that app.", "See `intent-ctl ps`."),
        "not-stopped": (1, "The instance did not end.", "Use `intent-ctl stop --kill`."),
        "still-running": (1, "The app still runs.", "End it first: `intent-ctl stop`."),
        "not-confirmed": (1, "A critical intent is granted only when its id is typed twice.", "Add `--confirm INTENT`."),
        "not-an-export": (1, "The file is not what `intent-ctl export` writes.", "Write it anew with `intent-ctl export`."),
        "unknown-offer": (1, "That is none of the answers about an intent.", "See `intent-ctl choose`."),
        "nothing-lapsed": (1, "Nothing that the app was allowed has lapsed.", "See `intent-ctl show`."),
        "nothing-to-undo": (1, "There is no decision that could be undone.", "See `intent-ctl log`."),
        "undo-superseded": (1, "A newer decision is about the same, and counts.", "Undo the newer one first."),
        "already-served": (1, "The questions of this session are served by another process.", "Use that one, or end it."),
        "not-served": (1, "No process serves the questions of this session.", "Start `intent-ctl serve`."),
        "not-as-scripted": (1, "What is asked is not what the script expects.", "See docs/protocol.md."),
        "not-answered": (1, "A question needs an answer for each of its intents.", "See `intent-ctl pending`."),
        "no-launcher": (1, "Nothing on this machine starts the app from a desktop.", "Use `intent-ctl wrap` for the command."),
        "no-intent-run": (1, "The command that a launcher has to start is not there, or somebody else could change it.", "Install intents, and use its `intent-ctl`."),
        "not-wrappable": (1, "The name of the app's program is that of another one, or of one that starts others.", "Start it with `intent-run`."),
        "override-taken": (1, "Something that is not ours stands where a launcher or a command would.", "Move it away."),
        "override-changed": (1, "Somebody changed a launcher or a command that was installed.", "Take it back first: `intent-ctl unwrap --all`."),
        "locked-by-policy": (1, "The administrator's policy has locked the intent.", "See `intent-ctl policy explain`."),
        "wrong-publisher": (1, "The key or serial that was named is not the manifest's.", "See `intent-ctl trust show`."),
    },
    "MessageError": {
        "bad-message": (1, "What arrived is no message of the protocol.", "See docs/protocol.md."),
        "message-too-long": (1, "A message does not fit into one line.", "Ask for one question at a time."),
        "unknown-method": (1, "The protocol has no such method.", "See docs/protocol.md."),
        "connection-closed": (1, "The other side ended the connection.", "Start it again."),
    },
    "UsageError": {
        "usage": (2, "The command line is not understood.", "See `--help`."),
    },
}


class IntentError(Exception):
    """Base of every error a user can meet; raise one of its families.

    code: a key of the family's part of ``CATALOGUE``; message: one sentence naming the user's own thing;
    subject: where (``file:line  key.path``), or empty; hint: the next step, or empty for the catalogue's general one.
    """

    def __init__(self, code: str, message: str, *, subject: str = "", hint: str = "") -> None:
        family = CATALOGUE.get(type(self).__name__, {})
        if code not in family:
            raise LookupError(f"{type(self).__name__} has no code {code!r}")
        super().__init__(message)
        self.code = code
        self.message = message
        self.subject = subject
        self.exit_status, self.title, general = family[code]
        self.hint = hint or general


class ManifestError(IntentError):
    """The manifest's bytes do not say a valid manifest (SPEC §3–§5)."""


class SignatureError(IntentError):
    """The signature, the key or the publisher's history does not hold (SPEC §6, §7)."""


class RefusedError(IntentError):
    """The user, a rule or the absence of anyone to ask says no (SPEC §8)."""


class HostError(IntentError):
    """This machine cannot do what the launch needs (SPEC §9)."""


class CatalogError(IntentError):
    """No usable manifest was found (SPEC §6.4)."""


class PolicyError(IntentError):
    """The administrator's policy cannot be taken for what it says (SPEC §8.8)."""


class JournalError(IntentError):
    """The journal cannot be trusted or written (SPEC §8.5)."""


class DecisionError(IntentError):
    """A command of the user does not fit what is declared or stored (SPEC §8)."""


class MessageError(IntentError):
    """What another process says is not the protocol (SPEC §11.5)."""


class UsageError(IntentError):
    """The command line is not understood."""


def named(code: str, message: str, hint: str) -> IntentError:
    """The error with that code, as another process told it; ``bad-message`` for a code that there is not."""
    for family in IntentError.__subclasses__():
        if code in CATALOGUE[family.__name__]:
            return family(code, message, hint=hint)
    return MessageError("bad-message", "the other side tells an error that nobody knows")


def render(error: IntentError, program: str) -> str:
    """The error as two to three lines for standard error: what, where, next step. No final newline."""
    lines = [f"{program}: {error.message} [{error.code}]"]
    if error.subject:
        lines.append(f"  {error.subject}")
    lines.append(f"  next: {error.hint}")
    return "\n".join(lines)


def as_data(error: IntentError) -> dict[str, str | int]:
    """The error as a JSON object: code, message, subject, hint, exit_status."""
    return {
        "code": error.code,
        "message": error.message,
        "subject": error.subject,
        "hint": error.hint,
        "exit_status": error.exit_status,
    }
