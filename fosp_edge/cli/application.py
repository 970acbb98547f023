"""The tree of verbs, in which every leaf is imported only when it is called."""

import inspect
import os
from importlib import import_module
from importlib.util import find_spec
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption
from typer.main import get_command, get_group

from fosp_edge import __version__
from fosp_edge.cli.extras import missing_extra
from fosp_edge.cli.failures import DEBUG_VARIABLE, fail, interrupted
from fosp_edge.cli.verbs import GROUPS, VERBS, Verb


class LazyCommand(TyperCommand):
    """Stands for a verb in help and completion; becomes the real one when it is called."""

    def __init__(self, name: str, verb: Verb) -> None:
        super().__init__(name, help=verb.summary)
        self._verb = verb

    def load(self) -> Any:
        """The real command or group.

        Raises:
            MissingExtra: its module needs something that the base install leaves out.
        """
        module, _, attribute = self._verb.target.partition(":")
        try:
            target = getattr(import_module(module), attribute)
        except ModuleNotFoundError as error:
            raise missing_extra(error) or error from error
        if not isinstance(target, typer.Typer):
            application = typer.Typer(add_completion=False)
            application.command(self.name)(target)
            target = application
        else:
            target._add_completion = False
        command = get_command(target)
        command.name = self.name
        for item in (command, *getattr(command, "commands", {}).values()):
            item.help = _flowing(item.help)
        for parameter in command.params:
            if isinstance(parameter, TyperOption) and parameter.name in self._verb.panels:
                parameter.rich_help_panel = self._verb.panels[parameter.name]
        if "Example" not in (command.help or ""):
            command.epilog = command.epilog or f"Example: {self._verb.example}"
        return command

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Parse the arguments with the real command, which the context then belongs to."""
        context = self.load().make_context(info_name, args, parent, **extra)
        _refuse_what_says_nothing(context, self._verb)
        return context


class Root(TyperGroup):
    """The top of the tree, and the one place where errors turn into sentences."""

    def invoke(self, ctx: Any) -> Any:
        """Run the verb; whatever it raises ends as a sentence and an exit status."""
        # What typer raises itself (a mistyped option, an exit, an abort) it also renders itself; so is a pipe that
        # nobody reads any more.
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise interrupted() from None
        except (BrokenPipeError, EOFError):
            raise
        except Exception as error:
            if _is_typers(error):
                raise
            raise fail(error) from None


def build() -> TyperGroup:
    """The application, ready to be called. Verbs whose module is not there are left out."""
    application = typer.Typer(cls=Root, no_args_is_help=True, pretty_exceptions_enable=False)
    application.callback(epilog="Example: fosp-edge run --episodes 5")(_options)
    root = get_command(application)
    assert isinstance(root, TyperGroup)
    for path, verb in VERBS.items():
        if find_spec(verb.target.partition(":")[0]) is None:
            continue
        roof, _, name = path.rpartition(" ")
        parent = root.commands.setdefault(roof, _group(roof)) if roof else root
        assert isinstance(parent, TyperGroup)
        parent.add_command(LazyCommand(name, verb))
    return root


def _group(name: str) -> TyperGroup:
    application = typer.Typer(name=name, help=GROUPS[name], no_args_is_help=True)
    application.callback()(_roof)
    group = get_group(application)
    group.name, group.help = name, GROUPS[name]
    group.epilog = f"Example: {next(verb.example for path, verb in VERBS.items() if path.startswith(name + ' '))}"
    return group


def _flowing(text: str | None) -> str | None:
    """Paragraphs as one line each, for the terminal to break: its columns are not those of the source. Indented lines
    and lists stay as they are."""
    if text is None:
        return None
    paragraphs = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join(
        item if any(line.startswith((" ", "- ", "\b")) for line in item.splitlines()) else " ".join(item.splitlines())
        for item in paragraphs
    )


def _refuse_what_says_nothing(context: Any, verb: Verb) -> None:
    """An option that was given without the one it belongs to is a mistake, and silence about it a worse one."""
    flags = {parameter.name: parameter.opts[0] for parameter in context.command.params}
    given = {name for name in flags if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"}
    for name, needed in verb.only_with.items():
        if name in given and needed not in given:
            raise typer.BadParameter(
                f"says nothing without {flags[needed]}: add that, or leave it out",
                ctx=context,
                param_hint=f"'{flags[name]}'",
            )


def _roof() -> None:
    pass


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fosp-edge {__version__}")
        raise typer.Exit


def _options(
    debug: Annotated[bool, typer.Option("--debug", help=f"Show tracebacks; {DEBUG_VARIABLE}=1 does the same.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Safe vision policies on a robot that keeps learning there."""
    if debug:
        os.environ[DEBUG_VARIABLE] = "1"


def _is_typers(error: Exception) -> bool:
    """Whether typer raised this, which has brought its own copy of click along since 0.26 and imported it before."""
    return type(error).__module__.split(".")[0] in ("typer", "click")
