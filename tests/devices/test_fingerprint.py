from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from devices import fingerprint
from devices.fingerprint import Fingerprint, local_fingerprint
from devices.packages import installed_version


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> Fingerprint:
    """This machine as it looks without /proc and /sys."""
    monkeypatch.setattr(fingerprint, "_read", lambda _path: None)
    return local_fingerprint.__wrapped__()  # type: ignore[no-any-return]


def test_is_known_even_where_the_system_tells_nothing(bare: Fingerprint) -> None:
    assert bare.cpu
    assert bare.cores >= 1
    assert bare.memory_bytes > 2**20
    assert (bare.flags, bare.caches, bare.gpu, bare.clock_policy) == ((), (), None, "unknown")


@pytest.mark.parametrize(
    "change",
    [{"cpu": "another"}, {"flags": ("avx2",)}, {"cores": 99}, {"caches": (("L2", 1),)},
     {"memory_bytes": 1}, {"gpu": "one"}, {"clock_policy": "powersave"}, {"runtimes": ()}],
)  # fmt: skip
def test_the_id_follows_every_fact(change: dict[str, Any]) -> None:
    here = local_fingerprint()
    assert replace(here, **change).id != here.id


def test_reads_what_linux_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {
        "/proc/cpuinfo": "processor: 0\nmodel name: Some CPU\nflags: avx2 fpu hypervisor sse4_2",
        "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "performance",
    }
    monkeypatch.setattr(fingerprint, "_read", lambda path: told.get(str(path)))
    found = local_fingerprint.__wrapped__()
    assert (found.cpu, found.flags) == ("Some CPU", ("avx2", "sse4_2"))
    assert found.hypervisor
    assert found.clock_policy == "performance"


def test_versions_without_importing() -> None:
    assert installed_version("numpy")
    assert installed_version("no-such-package") is None
    assert dict(local_fingerprint().runtimes)["onnxruntime"] == installed_version("onnxruntime")


def test_devices_import_no_runtime() -> None:
    import subprocess
    import sys

    code = (
        "import sys, devices.target, devices.local, devices.fake, profiler.campaign;"
        "from devices.runtimes import RUNTIMES; [RUNTIMES.get(name) for name in RUNTIMES];"
        "print([m for m in ('torch', 'onnxruntime', 'openvino') if m in sys.modules])"
    )
    root = str(Path(fingerprint.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
