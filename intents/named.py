"""Files that the user names on the command line: which may be given, and which only to be read (SPEC §9.7).

Takes host facts and gives rules as data. The executor applies them at each launch (``broker/named.py``), because a plan
is older than the arguments of the launches that use it.
"""

from intents import catalogue, facts, paths, sandbox

# Everybody can write there, so that there only the user's own files are given: other programs keep what they hand to an
# app there.
_SHARED = ("/tmp", "/var/tmp")


def files(access: str, host: facts.HostFacts) -> sandbox.NamedFiles | None:
    """What an app takes on its command line on this host, with this access (``model.Grant.files``); None for none."""
    return sandbox.NamedFiles(access=sandbox.Access(access), rules=_rules(host)) if access else None


def _rules(host: facts.HostFacts) -> tuple[tuple[str, str], ...]:
    """(word, beginning of a path) pairs; of two words about the same thing the longer beginning counts.

    ``closed``: nothing is given, but what is ``open``; ``own``: only what belongs to the user; ``kept``: nothing to be
    changed, as this program or a ``strict`` app is made from it; ``guarded``: to be changed only when the user says so,
    but what is ``free``.
    """
    home = host.account.home
    closed = [*(root for root in paths.REFUSED_ROOTS if root not in _SHARED), *host.reserved, *host.kernel]
    closed += [each for each in (host.runtime_dir, f"{home}/.granted") if each]
    guarded = [root for root in catalogue.PROGRAMS if root != home]
    guarded += [host.directory("xdg-config") or f"{home}/.config"]
    guarded += [f"{home}/{name}" for name in catalogue.WRITE if not name.startswith(".")]
    media = host.directory(paths.REMOVABLE)  # may lie below /run
    kept = [*host.code, *(entry.path for entry in (host.closure.entries if host.closure else ()))]
    said = {"closed": closed, "open": [media] if media else [], "own": _SHARED, "kept": kept}
    said |= {"guarded": guarded, "free": [home]}
    rules = [(word, f"{each}/") for word, places in said.items() for each in dict.fromkeys(places)]
    return (*rules, ("guarded", f"{home}/."))  # all that is hidden says how programs start, or may
