"""What is typed behind a command -> flags, and settings `++name=value`; mistakes are errors of one line."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from funasr.errors import OptionError, did_you_mean


class Parser(argparse.ArgumentParser):
    """Answers a misspelt flag with the right one."""

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            raise self.unknown(unknown[0])
        return parsed

    def unknown(self, argument: str) -> OptionError:
        """What is wrong with a flag that there is not."""
        flag = argument.partition("=")[0]
        flags = [name for action in self._actions for name in action.option_strings]
        return OptionError(
            f"no flag {flag!r}{did_you_mean(flag, flags) or '.'} {self.prog} --help lists them"
        )

    def error(self, message: str) -> NoReturn:
        """A bad value is one line, like all mistakes."""
        raise OptionError(f"{message}. {self.prog} --help lists what there is")


class SettingsParser(Parser):
    """Of a command that takes settings, among its flags in any order."""

    def __init__(self, prog: str, description: str, epilog: str) -> None:
        from funasr import __version__

        super().__init__(
            prog=prog,
            allow_abbrev=False,
            description=description,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        self.add_argument("settings", nargs="*", metavar="++name=value")
        self.add_argument("--version", action="version", version=f"{prog} {__version__}")

    def read(self, argv: Sequence[str] | None) -> tuple[argparse.Namespace, list[str]]:
        """The flags, and the settings as they were typed. Raises OptionError for other flags."""
        known, rest = self.parse_known_args(argv)
        for argument in rest:
            if argument.startswith("-"):
                name, equals, _ = argument.lstrip("-").partition("=")
                if equals:
                    raise OptionError(f"{argument!r} is no flag; settings are written ++{name}=...")
                raise self.unknown(argument)
        return known, [*known.settings, *rest]
