"""The command line: parse, run one command, show or print its result, choose the exit code.

Exit codes: 0 done, 1 failed, 2 usage, 3 result not trustworthy or gate not met, 130 interrupted.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any

from cutonce import __version__
from cutonce.commands import SUMMARIES
from devices.errors import CutonceError, UnknownName

INTERRUPTED = 130
INTERRUPTION = (
    "Interrupted; nothing is left half written. A search, profile, training or demo goes on where it "
    "stopped when the same command is given again."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    verbose = "-v" in words or "--verbose" in words
    try:
        return _dispatch(words)
    except KeyboardInterrupt:
        return _fail(INTERRUPTION, INTERRUPTED)
    except CutonceError as error:
        if verbose:
            traceback.print_exc()
        return _fail(str(error), error.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if verbose:
            traceback.print_exc()
        where = f" ({error.filename})" if error.filename else ""
        return _fail(
            f"{error.strerror or error}{where}; free the space or fix the path and repeat.", 1
        )
    except Exception as error:
        if verbose:
            traceback.print_exc()
        if "No space left on device" in str(
            error
        ):  # safetensors and torch have errors of their own
            return _fail("The disk is full (No space left on device); free space and repeat.", 1)
        return _fail(f"Unexpected {type(error).__name__}: {error} (-v shows where).", 1)


def _dispatch(words: list[str]) -> int:
    if not words or words[0].startswith("-"):
        _top_parser().parse_args(words or ["--help"])
        return 0
    name = words[0]
    if name not in SUMMARIES:
        raise UnknownName("command", name, SUMMARIES)
    command = importlib.import_module(f"cutonce.commands.{name}")
    args = _command_parser(name, command).parse_args(words[1:])
    _quiet_libraries(args.verbose)
    result, code = command.run(args)
    if args.json:
        json.dump(result, sys.stdout, indent=2, ensure_ascii=False)
        sys.stdout.write("\n")
    else:
        command.show(result)
    sys.stdout.flush()
    return int(code)


def _top_parser() -> argparse.ArgumentParser:
    width = max(map(len, SUMMARIES))
    listing = "\n".join(f"  {name:<{width}}  {text}" for name, text in SUMMARIES.items())
    parser = argparse.ArgumentParser(
        prog="cutonce",
        usage="cutonce COMMAND [options]",
        description="Measure twice, cut once: cut a BERT-family encoder to a millisecond budget, "
        "and prove it on the device.",
        epilog=f"commands:\n{listing}\n\n`cutonce COMMAND --help` explains one. Start: cutonce demo",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"cutonce {__version__}")
    return parser


def _command_parser(name: str, command: Any) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"cutonce {name}",
        description=command.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.arguments(parser)
    parser.add_argument("--json", action="store_true", help="print the result as JSON on stdout")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything random (default 0)")
    parser.add_argument("-v", "--verbose", action="store_true", help="show tracebacks and details")
    return parser


def _quiet_libraries(verbose: bool) -> None:
    """Keep the libraries' own chatter off the terminal unless asked for, and ours on it."""
    level, form = (
        (logging.INFO, logging.BASIC_FORMAT) if verbose else (logging.ERROR, "%(message)s")
    )
    logging.basicConfig(level=level, format=form, stream=sys.stderr)
    logging.getLogger("profiler").setLevel(logging.WARNING)
    if not verbose:
        os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def _fail(sentence: str, code: int) -> int:
    label = "Interrupted" if code == INTERRUPTED else "Error"
    text = sentence if code == INTERRUPTED else f"{label}: {sentence}"
    print(text, file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
