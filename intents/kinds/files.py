"""Kind ``files``: files that the user picks in the desktop's own dialog (SPEC §5.7)."""

import dataclasses

from intents import errors, facts, model, portals, sandbox, text

_DOCUMENTS, _PATH = "org.freedesktop.portal.Documents", "/org/freedesktop/portal/documents"
# Toolkits that find the identity here too (GTK 3, Qt) pick files through the portal.
_ALSO = "flatpak-info"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Files(portals.Portal):
    """The file chooser, and the directory in which the files that were picked appear."""

    def needs(self) -> tuple[facts.Need, ...]:
        return (facts.Need(what="bus", name="session"), facts.Need(what="documents", name="session"))

    def rules(self) -> tuple[tuple[str, str], ...]:
        """With those for files that are dropped or pasted."""
        return (
            *portals.Portal.rules(self),
            ("call", f"{_DOCUMENTS}=org.freedesktop.portal.FileTransfer.*@{_PATH}"),
            ("call", f"{_DOCUMENTS}=org.freedesktop.portal.Documents.GetMountPoint@{_PATH}"),
        )

    def ops(self, host: facts.HostFacts, because: str) -> tuple[sandbox.Op, ...]:
        """Besides those of a portal: the app's documents. Raises HostError ``no-service`` and as every portal does."""
        given = portals.Portal.ops(self, host, because)
        if not host.documents:
            raise errors.HostError("no-service", "the document portal (xdg-document-portal) does not answer here")
        runtime = f"/run/user/{host.account.uid}"
        documents = sandbox.Documents(root=host.documents, dest=host.documents, because=because)
        # Portals name documents by their path on the host; the app looks in its own runtime directory as well.
        link = sandbox.Symlink(target=host.documents, dest=f"{runtime}/doc", because=because)
        links = (link,) if link.dest != documents.dest else ()
        also = sandbox.LaunchFile(name=sandbox.IDENTITY, dest=f"{runtime}/{_ALSO}", because=because)
        return (*given, documents, *links, also)


KINDS = (
    Files(
        kind="files",
        doc="""Ask the user to pick files and folders, in a dialog that is not the app's own, and work with those that
were picked, dropped or pasted, and no others, at their next start too. Rather than `path` for what users open and save.
A toolkit that sees this prints through the desktop as well: ask for `print-dialog` where the program prints.""",
        title=text.said("files you pick"),
        allows=text.said("It can ask you to pick files and folders, and read and change those you pick."),
        level=model.Risk.LOW,
        interfaces=(("FileChooser", ("OpenFile", "SaveFile", "SaveFiles")),),
        notes=(text.said("It keeps what you picked for the next time."),),
    ),
)
