"""An artifact as a repository of a model hub: the same files, under the same hashes."""

from __future__ import annotations

from pathlib import Path

from deploy.artifact import Artifact
from devices.errors import CutonceError

_HUB_FILES = [".gitattributes"]
"""What the hub adds to every repository."""


def push_to_hub(artifact: Artifact, repository: str, *, private: bool = False) -> str:
    """Upload the artifact to ``USER/NAME``, made where there is none; returns the commit's address.

    With the token that ``hf auth login`` left, or HF_TOKEN. What the repository held besides is
    removed, for it would not belong to the artifact.

    Raises:
        ArtifactChanged: a file of it is not the one that was written.
        CutonceError: the hub refused, or cannot be reached.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    artifact.check_hashes()
    api = HfApi(library_name="cutonce")
    try:
        api.create_repo(repository, private=private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repository,
            folder_path=artifact.directory,
            commit_message=f"For {artifact.target}",
            delete_patterns="*",
        )
    except (HfHubHTTPError, LocalTokenNotFoundError, OSError, ValueError) as error:
        reason = str(error).strip().split("\n")[0]
        raise CutonceError(
            f"{artifact.directory} could not be pushed to {repository} ({reason}); check the name, the "
            "connection, and `hf auth login`."
        ) from error
    return str(commit.commit_url)


def fetch(repository: str, revision: str | None = None) -> Artifact:
    """The artifact that :func:`push_to_hub` put there, in the hub's local cache.

    Raises:
        CutonceError: it cannot be fetched.
        ArtifactError: the repository holds no artifact.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        place = snapshot_download(repository, revision=revision, ignore_patterns=_HUB_FILES)
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        reason = str(error).strip().split("\n")[0]
        raise CutonceError(
            f"{repository} cannot be fetched ({reason}); expected a directory, or the name of a "
            "repository on the hub."
        ) from error
    return Artifact.open(Path(place))
