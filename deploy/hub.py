"""An artifact as a repository of a model hub: the same files, under the same hashes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deploy.artifact import Artifact
from deploy.manifest import MANIFEST
from devices.errors import CutonceError

FETCHING = ("revision", "token", "cache_dir", "local_files_only")
"""What :func:`fetch` may be told."""


def push_to_hub(artifact: Artifact, repository: str, *, private: bool = False) -> str:
    """Upload the artifact to ``USER/NAME``, made where there is none; returns the commit's address.

    With the token that ``hf auth login`` left, or HF_TOKEN. What the repository held besides is
    removed, for it would not belong to the artifact.

    Raises:
        ArtifactChanged: a file of it is not the one that was written.
        CutonceError: the hub refused, or cannot be reached.
    """
    from huggingface_hub import HfApi

    artifact.check_hashes()
    api = HfApi(library_name="cutonce")
    try:
        # None leaves it to what the user or the organisation has set.
        made = api.create_repo(repository, private=private or None, exist_ok=True)
        commit = api.upload_folder(
            repo_id=made.repo_id,
            folder_path=artifact.directory,
            commit_message=f"For {artifact.target}",
            # Hidden files that lie there are the user's own.
            allow_patterns=[MANIFEST, *(file["path"] for file in artifact.manifest["files"])],
            delete_patterns="*",
        )
    except Exception as error:  # of whatever HTTP library its client is built on
        reason = str(error).strip().split("\n")[0]
        raise CutonceError(
            f"{artifact.directory} could not be pushed to {repository} ({reason}); check the name, the "
            "connection, and `hf auth login`."
        ) from error
    return str(commit.commit_url)


def fetch(repository: str, **asked: Any) -> Artifact:
    """The artifact that :func:`push_to_hub` put there, in the hub's local cache.

    Args:
        asked: of :data:`FETCHING`, as the hub's client takes them.

    Raises:
        CutonceError: it cannot be fetched.
        ArtifactError: the repository holds no artifact.
    """
    from huggingface_hub import snapshot_download

    try:
        place = snapshot_download(repository, **asked)
    except Exception as error:  # of whatever HTTP library its client is built on
        reason = str(error).strip().split("\n")[0]
        raise CutonceError(
            f"{repository} cannot be fetched ({reason}); expected a directory, or the name of a "
            "repository on the hub."
        ) from error
    return Artifact.open(Path(place))
