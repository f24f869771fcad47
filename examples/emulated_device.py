"""Make an aarch64 machine on this one: its Python and runtimes under qemu's user-mode emulation.

    python examples/emulated_device.py DIR [--name arm] [--cpu max]

Fetches Debian's Python for arm64 and its libraries with apt-get, qemu from Debian too, and the aarch64
wheels of numpy, onnxruntime and OpenVINO with pip; unpacks them below DIR, which changes nothing else
here, and adds the device qemu:NAME. About 400 MB. Models answer there as on the real processor; times
are the emulator's. --cpu takes what qemu knows: cortex-a53 has no dot products, so that runtimes choose
other kernels than for cortex-a76 or max. Needs a Debian or Ubuntu with apt-get and dpkg.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from devices.device import open_device
from devices.known import remember_device

PYTHON, RELEASE = "3.11", "bookworm"  # which has that Python
QEMU, QEMU_RELEASE = "qemu-user", "trixie"  # onnxruntime crashes under the one of bookworm
MIRROR = "http://deb.debian.org/debian"
FOREIGN = (
    "libc6", "libgcc-s1", "libstdc++6", "zlib1g", "libexpat1", "libffi8", "libssl3", "libbz2-1.0",
    "liblzma5", "libsqlite3-0", "libuuid1", "libncursesw6", "libtinfo6", "libreadline8", "libdb5.3",
    "libcrypt1", "libnsl2", "libtirpc3", f"python{PYTHON}-minimal", f"libpython{PYTHON}-minimal",
    f"libpython{PYTHON}-stdlib",
)  # fmt: skip
WHEELS = ("numpy", "onnxruntime", "openvino")
PLATFORMS = ("manylinux_2_17_aarch64", "manylinux_2_28_aarch64", "manylinux_2_35_aarch64")


def main() -> int:
    args = parse()
    place = args.place.resolve()
    root, packages = place / "root", place / "packages"
    if not root.exists():
        fetch("arm64", RELEASE, FOREIGN, place / "debs", root)
    if not (place / "qemu").exists():
        fetch("amd64", QEMU_RELEASE, (QEMU,), place / "debs", place / "qemu")
    if not packages.exists():
        install(packages)
    facts = {
        "emulator": str(place / "qemu" / "usr" / "bin" / "qemu-aarch64"),
        "cpu": args.cpu,
        "root": str(root),
        "python": f"usr/bin/python{PYTHON}",
        "packages": str(packages),
    }
    remember_device("qemu", args.name, facts)
    print(open_device(f"qemu:{args.name}").fingerprint())
    return 0


def fetch(architecture: str, release: str, names: tuple[str, ...], debs: Path, place: Path) -> None:
    """Download Debian packages and unpack them below ``place``, by a package list of our own."""
    lists = debs / architecture
    for directory in (lists / "lists" / "partial", lists / "archives" / "partial", place):
        directory.mkdir(parents=True, exist_ok=True)
    sources = lists / "sources.list"
    sources.write_text(
        f"deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {MIRROR} {release} main\n"
    )
    options = {
        "APT::Architecture": architecture,
        "APT::Architectures": architecture,
        "APT::Sandbox::User": "",
        "Dir::Etc::SourceList": sources,
        "Dir::Etc::SourceParts": "-",
        "Dir::State::Lists": lists / "lists",
        "Dir::Cache::Archives": lists / "archives",
        "Dir::Cache::PkgCache": "",
        "Dir::Cache::SrcPkgCache": "",
    }
    apt = ["apt-get", "-qq", *(f"-o{name}={value}" for name, value in options.items())]
    subprocess.run([*apt, "update"], check=True)
    subprocess.run([*apt, "download", *names], check=True, cwd=lists)
    for deb in sorted(lists.glob("*.deb")):
        subprocess.run(["dpkg", "-x", str(deb), str(place)], check=True)


def install(packages: Path) -> None:
    """Install the foreign wheels below ``packages``."""
    platforms = [word for name in PLATFORMS for word in ("--platform", name)]
    command = [sys.executable, "-m", "pip", "install", "-q", "--target", str(packages), *platforms]
    subprocess.run(
        [*command, "--python-version", PYTHON, "--only-binary=:all:", *WHEELS], check=True
    )


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("place", type=Path, metavar="DIR", help="where it is to lie")
    parser.add_argument("--name", default="arm", help="targets call it qemu:NAME (default arm)")
    parser.add_argument(
        "--cpu", default="max", help="the processor, as qemu knows it (default max)"
    )
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
