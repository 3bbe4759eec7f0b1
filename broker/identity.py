"""What is written at launch for an app that the desktop's portals recognise (SPEC §9.8). Imports ``os`` alone.

The identity file, which the sandboxes of the app and of its proxy show, names an *instance*. What xdg-desktop-portal
has to know of the running sandbox it reads from the directory of that name below ``$XDG_RUNTIME_DIR/.flatpak``.
"""

import os

_PREFIX = b"intents-"  # Flatpak's own instances are numbers, and it leaves alone what is none


def make(keyfile: bytes, instances: bytes, directory: bytes) -> int:
    """Write the identity file into the directory of the launch and make the instance below ``instances``.

    keyfile: the file but for the instance's name, which ends it. Returns an inheritable descriptor for what bubblewrap
    tells of the sandbox (bwrap(1), ``--info-fd``). Raises HostError ``identity-failed``.
    """
    instance = b"%s%d-%s" % (_PREFIX, os.getpid(), os.urandom(16).hex().encode())
    try:
        _write(directory + b"/identity", keyfile + instance + b"\n")
        for path in (instances, instances + b"/" + instance):
            if not os.path.isdir(path):
                os.mkdir(path, 0o700)
        return _create(path + b"/bwrapinfo.json", 0o600)
    except OSError as error:
        from intents import errors

        name = os.fsdecode(error.filename or b"").encode("utf-8", "backslashreplace").decode()
        raise errors.HostError("identity-failed", f"`{name}` could not be written ({error.strerror})") from error


def _create(path: bytes, mode: int) -> int:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    os.set_inheritable(handle, True)
    return handle


def _write(path: bytes, content: bytes) -> None:
    handle = _create(path, 0o400)
    os.write(handle, content)
    os.close(handle)


def remove_stale(instances: str, run: str) -> None:
    """Remove the instances whose launch left nothing in ``run`` any more."""
    try:
        found = [name for name in os.listdir(os.fsencode(instances)) if name.startswith(_PREFIX)]
    except OSError:
        return
    for name in found:
        pid = name[len(_PREFIX) :].partition(b"-")[0]
        if pid.isdigit() and not os.path.lexists(os.fsencode(run) + b"/" + pid):
            _remove(os.fsencode(instances) + b"/" + name)


def _remove(instance: bytes) -> None:
    try:
        for name in os.listdir(instance):
            os.unlink(instance + b"/" + name)
        os.rmdir(instance)
    except OSError:
        return  # another start removes it
