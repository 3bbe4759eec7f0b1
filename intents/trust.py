"""Whether a manifest's publisher counts (SPEC §7). Takes what was verified and what is remembered; touches nothing."""

from datetime import UTC, datetime

from intents import errors, model, paths, sign

UNNAMED = "0" * 16  # the lineage of a manifest that only its root-owned catalog stands for, without a key
_REKEY = "If you have reason to trust this one, `intent-ctl trust rekey {}` shows what would change."


def vet(
    manifest: model.Manifest,
    key: sign.PublicKey | None,
    *,
    vouched: bool,
    pin: model.Pin | None,
    allow_unsigned: bool,
) -> model.Vetted:
    """Settle who publishes ``manifest``; the only maker of ``model.Vetted``.

    key: whose signature over the manifest's bytes was verified, None without a signature; vouched: the manifest comes
    from a root-owned catalog or the checkout; pin: what is remembered of the app id; allow_unsigned: ``--unsigned``.
    An unsigned manifest is its own lineage, so that it meets no decision and no data of another. One that is vouched
    for keeps its key as lineage, whatever is pinned, because root says who publishes it; its serial must rise like any
    other. Raises SignatureError ``signature-missing``, ``unsigned``, ``key-changed``, ``serial-rollback`` or
    ``serial-equivocation``.
    """
    if vouched:
        lineage = UNNAMED if key is None else sign.lineage(key)
        known = pin if pin is not None and (pin.lineage, pin.fingerprint) == (lineage, _fingerprint(key)) else None
        return _vetted(manifest, model.Trust.VOUCHED, lineage, _fingerprint(key), known)
    if key is None or key.text == sign.REPOSITORY_KEY:
        if not allow_unsigned:
            raise _unsigned(manifest, key)
        return _vetted(manifest, model.Trust.UNSIGNED, manifest.digest[:16], "", None)
    if pin is None:
        return _vetted(manifest, model.Trust.FIRST_USE, sign.lineage(key), key.fingerprint, None)
    if pin.fingerprint != key.fingerprint:
        raise _key_changed(manifest, key, pin)
    return _vetted(manifest, model.Trust.PINNED, pin.lineage, key.fingerprint, pin)


def _fingerprint(key: sign.PublicKey | None) -> str:
    return "" if key is None else key.fingerprint


def _vetted(
    manifest: model.Manifest, trust: model.Trust, lineage: str, fingerprint: str, pin: model.Pin | None
) -> model.Vetted:
    """The result, unless the manifest is older than what ``pin`` remembers, or another one of the same serial."""
    app = manifest.app
    if pin is not None and app.serial < pin.serial:
        raise errors.SignatureError(
            "serial-rollback",
            f"`{app.id}` has serial {app.serial}, but serial {pin.serial} already ran here",
            hint="Install the newer one again. " + _REKEY.format(app.id),
        )
    if pin is not None and app.serial == pin.serial and manifest.digest != pin.digest:
        raise errors.SignatureError(
            "serial-equivocation",
            f"`{app.id}` has serial {app.serial} like the manifest that already ran here, but other contents",
            hint="Whoever publishes it must raise the serial. " + _REKEY.format(app.id),
        )
    return model.Vetted(manifest=manifest, trust=trust, lineage=lineage, fingerprint=fingerprint)


def _unsigned(manifest: model.Manifest, key: sign.PublicKey | None) -> errors.SignatureError:
    app_id = manifest.app.id
    hint = "Sign it, or start it with `--unsigned`: then nothing of it outlives the session."
    if key is None:
        return errors.SignatureError("signature-missing", f"nobody has signed the manifest of `{app_id}`", hint=hint)
    why = f"the manifest of `{app_id}` is signed by the example key, with which everybody can sign"
    return errors.SignatureError("unsigned", why, hint=hint)


def _key_changed(manifest: model.Manifest, key: sign.PublicKey, pin: model.Pin) -> errors.SignatureError:
    pinned = paths.printable(pin.fingerprint) or "the catalog of this machine"
    since = datetime.fromtimestamp(pin.since, UTC).strftime("%Y-%m-%d")
    return errors.SignatureError(
        "key-changed",
        f"`{manifest.app.id}` is signed by {key.fingerprint}, but since {since} it belongs to {pinned}",
        hint=_REKEY.format(manifest.app.id),
    )
