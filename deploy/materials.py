"""The bill of materials of an artifact, in CycloneDX 1.6: what it needs to run and what made it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from devices.files import sha256

if TYPE_CHECKING:
    from cyclonedx.model.component import Component

FILE = "sbom.cdx.json"


def bill_of_materials(
    model: Path, needed: Iterable[str], versions: Mapping[str, str]
) -> dict[str, Any]:
    """One for the exported file ``model``; the same file and versions give the same bill.

    Args:
        needed: packages that it takes to run the model.
        versions: of every package that had a part in making it, the needed ones among them.
    """
    from cyclonedx.model import HashAlgorithm, HashType
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output.json import JsonV1Dot6

    digest = sha256(model)
    described = Component(
        name=model.name,
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref=model.name,
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)],
    )
    parts = [_package(name, versions[name]) for name in needed if name in versions]
    bill = Bom(components=parts, serial_number=uuid.uuid5(uuid.NAMESPACE_OID, digest))
    bill.metadata.component = described
    bill.metadata.tools.components.update(
        _package(name, version) for name, version in versions.items()
    )
    bill.register_dependency(described, parts)
    written: dict[str, Any] = json.loads(JsonV1Dot6(bill).output_as_string())
    del written["metadata"]["timestamp"]  # it is optional, and would make every bill another
    return written


def _package(name: str, version: str) -> Component:
    from cyclonedx.model.component import Component, ComponentType
    from packageurl import PackageURL

    url = PackageURL("pypi", name=name, version=version) if name != "python" else None
    return Component(
        name=name,
        version=version,
        type=ComponentType.LIBRARY,
        purl=url,
        bom_ref=f"{name}-{version}",
    )
