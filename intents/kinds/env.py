"""Kind ``env``: named variables of whoever starts the app (SPEC §5.6)."""

import re
from dataclasses import dataclass
from typing import ClassVar

from intents import errors, facts, model, paths, sandbox, scopes, text

KIND = "env"
DOC = """Be given named environment variables as they are when the app is started: `names = ["EDITOR"]`. Everything
else of the environment stays outside. Variables that the sandbox sets itself, or that load code, cannot be named."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_NEVER = re.compile(
    r"LD_.*|PATH|HOME|USER|LOGNAME|SHELL|DISPLAY|XAUTHORITY|WAYLAND_.*|DBUS_.*|XDG_RUNTIME_DIR|XDG_(CONFIG|DATA|STATE|CACHE)_.*"
    r"|AT_SPI_.*|SSH_AUTH_SOCK|PULSE_.*|PYTHON(PATH|HOME|STARTUP)|PERL5?LIB|PERL5OPT|RUBY(LIB|OPT)|NODE_OPTIONS|BASH_ENV|ENV|IFS"
    r"|GTK_(MODULES|PATH)|GIO_.*MODULES|QT_PLUGIN_PATH|GCONV_PATH|LOCPATH|NLSPATH|JAVA_TOOL_OPTIONS"
)
_SECRET = re.compile(r"TOKEN|SECRET|PASS|KEY|CREDENTIAL|AUTH", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Env(scopes.Words):
    """``names``: names of variables."""

    KIND: ClassVar[str] = KIND
    KEY: ClassVar[str] = "names"

    @classmethod
    def check(cls, word: str) -> None:
        if not _NAME.fullmatch(word):
            raise errors.ManifestError("bad-value", f"`{paths.printable(word[:80])}` is not the name of a variable")
        if _NEVER.fullmatch(word):
            raise errors.ManifestError("bad-value", f"`{word}` cannot be passed: the sandbox sets it, or it loads code")

    def risk(self, host: facts.HostFacts) -> model.Risk:
        return model.Risk.HIGH if any(_SECRET.search(word) for word in self.words) else model.Risk.LOW

    def phrase(self, host: facts.HostFacts) -> model.Phrase:
        title = (
            self.words[0]
            if len(self.words) == 1 and len(self.words[0]) <= 24
            else text.said("{count} variables", count=len(self.words))
        )
        secret = tuple(word for word in self.words if _SECRET.search(word))
        notes = (
            (text.said("{names}: the name says that it holds a secret.", names=scopes.listed(secret)),)
            if secret
            else ()
        )
        return model.Phrase(
            title=title,
            allows=text.said("It is told the value of {names}.", names=scopes.listed(self.words)),
            notes=notes,
        )

    def ops(self, host: facts.HostFacts, because: str) -> tuple[sandbox.Op, ...]:
        return tuple(sandbox.Pass(name=word, because=because) for word in self.words)
