"""The command line of the jobs: the options of a write, Beam's own options, and what cannot be meant."""

from __future__ import annotations

import argparse
import difflib
import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions, _BeamArgumentParser

from weaviate_io import CheckWeaviate, ModelProvider, OidcClientCredentials, WriteToWeaviate
from weaviate_io.schema import TENANT_NAME
from weaviate_io.verification import VERIFY

LOCAL_RUNNER = "FnApiRunner"
"""Runs in this process, and starts at once: the plain DirectRunner first tries to fetch another runner."""

_LOCAL_RUNNERS = (LOCAL_RUNNER, "DirectRunner", "BundleBasedDirectRunner", "SwitchingDirectRunner")


class Usage(Exception):
    """The command line asks for something that cannot be done; the text says what to do instead."""


class Parser(argparse.ArgumentParser):
    """An argument parser that leaves reporting to the job, and names not its own to Beam.

    Args:
      module: the name of the job's module.
      command: the job's name as a word of ``weaviate-io``.
      description: what the job does.
      examples: options that make an example each.
      codes: what the exit codes mean.
    """

    def __init__(
        self,
        module: str,
        command: str,
        description: str,
        examples: Sequence[str],
        codes: str = "0 all written, 1 some failed, 2 could not run",
    ) -> None:
        called = called_as(module, command)
        shown = "\n".join(f"  {called} {example}" for example in examples)
        super().__init__(
            prog=called,
            usage=f"{called} OPTIONS",
            description=description,
            epilog=f"examples:\n{shown}\n\n"
            "Every option of Beam works too: --runner, --project, --temp_location ...\n"
            f"Exit code: {codes}.",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> Any:
        raise Usage(f"{message}; see --help")


class _BeamOptions(_BeamArgumentParser):
    def error(self, message: str) -> Any:
        raise Usage(f"{message}; it is an option of Beam")


def called_as(module: str, command: str) -> str:
    """How the user calls a job: by its module from a checkout, by the console script where it is installed.

    >>> called_as("pipelines.import_files", "import")
    'python -m pipelines.import_files'
    """
    if __name__.startswith("weaviate_io"):
        return f"weaviate-io {command}"
    return f"python -m pipelines.{module.rpartition('.')[2]}"


def to_type(module: str, command: str) -> str:
    """How to call a job from here: as :func:`called_as`, with a Python that has what it needs."""
    called = called_as(module, command)
    if called.startswith("python ") and not _is_this_python(shutil.which("python")):
        return f"{shlex.quote(sys.executable)}{called.removeprefix('python')}"
    return called


def _is_this_python(path: str | None) -> bool:
    # Not samefile: the Python of an environment is a link to the one it was made with.
    return path is not None and os.path.abspath(path) == os.path.abspath(sys.executable)


def add_input(parser: argparse.ArgumentParser, text: str) -> Any:
    """The option ``--input`` with its help text; returns the group for what else is said of the input."""
    files = parser.add_argument_group("input")
    files.add_argument("--input", required=True, nargs="+", action="extend", metavar="FILE", help=text)
    return files


def add_server_options(parser: argparse.ArgumentParser) -> Any:
    """The options that say where the server is and how to get in; returns their group."""
    server = parser.add_argument_group("server")
    server.add_argument("--url", default="http://localhost:8080", help="REST address (default: %(default)s)")
    server.add_argument(
        "--grpc-url", metavar="HOST:PORT", help="gRPC address (default: port 50051 of the same host)"
    )
    server.add_argument(
        "--api-key",
        metavar="env:NAME",
        help="the environment variable that holds the key, or a secret as Beam writes it "
        "(type:GcpSecret;version_name:projects/P/secrets/S/versions/V)",
    )
    server.add_argument(
        "--oidc-client-secret",
        metavar="env:NAME",
        help="get tokens from the server's OIDC issuer, in place of a key",
    )
    server.add_argument(
        "--oidc-client-id", metavar="ID", help="client at the issuer (default: as the server says)"
    )
    server.add_argument(
        "--oidc-scopes", nargs="+", default=[], metavar="SCOPE", help="scopes to ask the issuer for"
    )
    _add_pairs(server, "--header", "NAME=VALUE", "request header; the value env:VARIABLE is looked up")
    server.add_argument("--tls-ca", metavar="PEM", help="certificate authority to trust")
    server.add_argument(
        "--tls-cert", metavar="PEM", help="certificate of the client, where the server wants one"
    )
    server.add_argument("--tls-key", metavar="PEM", help="its key, where that is in another file")
    server.add_argument(
        "--tls-server-name",
        metavar="HOST",
        help="name in the server's certificate (default: host of the address)",
    )
    return server


def add_write_options(parser: argparse.ArgumentParser) -> None:
    """The options that say where and how to write, named as the keywords of ``WriteToWeaviate``."""
    server = add_server_options(parser)
    _add_pairs(server, "--model-provider", "NAME=env:VARIABLE", "model provider, such as openai, and its key")
    rows = parser.add_argument_group("rows to objects")
    _add_pairs(
        rows, "--map", "PROPERTY=FIELD", "write this field as this property; without --map all are written"
    )
    rows.add_argument(
        "--id-field",
        nargs="+",
        metavar="FIELD",
        help="holds the id, or a key to make the id of; several are one key (default: made of the content)",
    )
    _add_pairs(rows, "--vector-field", "[NAME=]FIELD", "holds the vector, or the one of this name")
    _add_pairs(
        rows,
        "--references-field",
        "PROPERTY=FIELD",
        "holds the id, or a list of ids, that a reference points at",
    )
    rows.add_argument("--dimensions", type=int, metavar="N", help="length that vectors must have")
    rows.add_argument("--tenant-field", metavar="FIELD", help="holds the tenant")
    rows.add_argument("--tenant", metavar="NAME", help="tenant of all objects")
    rows.add_argument(
        "--allowed-tenants",
        nargs="+",
        action="extend",
        metavar="NAME",
        help="names, or one regular expression; objects of other tenants fail",
    )
    rows.add_argument("--timezone", metavar="ZONE", help="zone of dates that carry none, such as UTC")
    rows.add_argument(
        "--unknown-properties",
        choices=("fail", "drop"),
        default="fail",
        help="what to do about fields that the collection lacks (default: %(default)s)",
    )
    target = parser.add_argument_group("collection")
    target.add_argument(
        "--schema", metavar="JSON", help="file with its REST JSON, to create it where there is none"
    )
    target.add_argument("--auto-schema", action="store_true", help="let the server create it by its own guess")
    target.add_argument(
        "--create-disposition",
        default="CREATE_IF_NEEDED",
        choices=("CREATE_IF_NEEDED", "CREATE_NEVER"),
        metavar="WORD",
        help="CREATE_IF_NEEDED (default) or CREATE_NEVER",
    )
    target.add_argument(
        "--write-disposition",
        default="WRITE_APPEND",
        choices=("WRITE_APPEND", "WRITE_TRUNCATE", "WRITE_EMPTY"),
        metavar="WORD",
        help="WRITE_APPEND (default), WRITE_TRUNCATE (empty it first), or WRITE_EMPTY (refuse one with objects)",
    )
    target.add_argument("--create-tenants", action="store_true", help="create the tenants that do not exist")
    target.add_argument("--activate-tenants", action="store_true", help="wake the tenants that are inactive")
    target.add_argument("--yes", action="store_true", help="do delete all objects with WRITE_TRUNCATE")
    sending = parser.add_argument_group("sending")
    sending.add_argument("--dry-run", action="store_true", help="send nothing, but tell what would fail")
    sending.add_argument(
        "--dead-letter", default="failed", metavar="DIR", help="folder for what failed (default: %(default)s)"
    )
    sending.add_argument("--max-errors", type=int, metavar="N", help="stop when more than N rows failed")
    sending.add_argument(
        "--max-error-rate",
        type=float,
        metavar="SHARE",
        help="stop when a larger share of at least 1,000 objects failed, such as 0.01",
    )
    sending.add_argument(
        "--batch-size", type=int, metavar="N", help="most objects in a request (default: adapts, up to 2000)"
    )
    sending.add_argument(
        "--max-requests-in-flight",
        type=int,
        metavar="N",
        help="most requests in flight over all workers (default: 16 for each worker process)",
    )
    sending.add_argument(
        "--batching",
        default="auto",
        choices=("auto", "bundle", "group_into_batches"),
        metavar="WORD",
        help="bundle, group_into_batches, or auto (default)",
    )
    sending.add_argument(
        "--consistency-level", choices=("ONE", "QUORUM", "ALL"), help="replicas that must answer"
    )
    sending.add_argument(
        "--wait-for-indexing",
        type=float,
        nargs="?",
        const=True,
        metavar="SECONDS",
        help="end only when the vectors can be searched, or fail after so long (default: an hour)",
    )
    sending.add_argument(
        "--verify",
        default="existing",
        choices=VERIFY,
        metavar="WORD",
        help="which objects to look for in the vector index: existing (default), all, off, or repair all unasked",
    )
    add_verbose(sending)


def add_verbose(group: Any) -> None:
    """The option ``--verbose``."""
    group.add_argument("--verbose", action="store_true", help="show the runner's log and tracebacks")


def add_check_options(parser: argparse.ArgumentParser) -> None:
    """The options that say what to check and how, named as the keywords of ``CheckWeaviate``."""
    add_server_options(parser)
    checking = parser.add_argument_group("checking")
    checking.add_argument(
        "--tenants",
        nargs="+",
        action="extend",
        metavar="NAME",
        help="names, or one regular expression (default: all tenants)",
    )
    checking.add_argument("--repair", action="store_true", help="repair what is missing")
    checking.add_argument(
        "--exact",
        action="store_true",
        help="search for each object with its own vector, too: about a millisecond for each",
    )
    checking.add_argument(
        "--max-rate", type=float, metavar="N", help="most requests a second of each worker process"
    )
    checking.add_argument(
        "--wait-for-indexing",
        type=float,
        default=True,
        metavar="SECONDS",
        help="how long to wait for what is still to be indexed (default: an hour)",
    )
    checking.add_argument(
        "--output", metavar="FILE", help="JSON lines of what is or was missing, on any filesystem of Beam"
    )
    add_verbose(checking)


def check_transform(options: argparse.Namespace, collection: str) -> CheckWeaviate:
    """The check that the options describe; :class:`Usage` where they cannot be meant."""
    return CheckWeaviate(
        collection,
        **connection(options),
        tenants=_names_or_pattern(options.tenants),
        repair=options.repair,
        exact=options.exact,
        max_rate=options.max_rate,
        wait_for_indexing=options.wait_for_indexing,
    )


def connection(options: argparse.Namespace) -> dict[str, Any]:
    """The keywords that say where the server is and how to get in."""
    return {
        "url": options.url,
        "grpc_url": options.grpc_url,
        "api_key": _api_key(options),
        "headers": pairs("--header", options.header) or None,
        "tls_ca": options.tls_ca,
        "tls_cert": options.tls_cert,
        "tls_key": options.tls_key,
        "tls_server_name": options.tls_server_name,
    }


def write_transform(options: argparse.Namespace, collection: Any) -> WriteToWeaviate:
    """The write that the options describe; :class:`Usage` where they cannot be meant."""
    if options.write_disposition == "WRITE_TRUNCATE" and not (options.yes or options.dry_run):
        of = f" of {collection}" if isinstance(collection, str) else ""
        raise Usage(f"WRITE_TRUNCATE deletes all objects{of}; add --yes if you mean it")
    vectors = [text.rpartition("=")[::2] for text in options.vector_field]
    if len(vectors) > 1 and not all(name for name, _ in vectors):
        raise Usage("several --vector-field need names: --vector-field title=title_vector")
    return WriteToWeaviate(
        collection,
        **connection(options),
        id_field=options.id_field[0] if options.id_field and len(options.id_field) == 1 else options.id_field,
        model_providers=[
            ModelProvider(name, api_key=key)
            for name, key in pairs("--model-provider", options.model_provider).items()
        ],
        vector_field={name: field for name, field in vectors if name} or (vectors[0][1] if vectors else None),
        tenant_field=options.tenant_field,
        tenant=options.tenant,
        properties=pairs("--map", options.map) or None,
        references_field=pairs("--references-field", options.references_field) or None,
        schema=options.schema,
        create_disposition=options.create_disposition,
        write_disposition=options.write_disposition,
        auto_schema=options.auto_schema,
        dimensions=options.dimensions,
        unknown_properties=options.unknown_properties,
        timezone=options.timezone,
        batching=options.batching,
        batch_size=options.batch_size,
        max_requests_in_flight=options.max_requests_in_flight,
        max_errors=options.max_errors,
        max_error_rate=options.max_error_rate,
        consistency_level=options.consistency_level,
        dry_run=options.dry_run,
        create_tenants=options.create_tenants,
        activate_tenants=options.activate_tenants,
        allowed_tenants=_names_or_pattern(options.allowed_tenants),
        wait_for_indexing=options.wait_for_indexing,
        verify=options.verify,
    )


def beam_options(words: Sequence[str], verbose: bool) -> PipelineOptions:
    """Beam's options of the words that the job itself does not know.

    Raises:
      Usage: a word belongs to no option, or an option is not known to a local runner. A remote one may know
        options that are declared nowhere in Python.
    """
    parser = _BeamOptions(add_help=False, allow_abbrev=False)
    for kind in {str(kind): kind for kind in PipelineOptions.__subclasses__()}.values():
        kind._add_argparse_args(parser)
    unknown = parser.parse_known_args(list(words))[1]
    result = PipelineOptions(list(words))
    standard = result.view_as(StandardOptions)
    standard.runner = standard.runner or LOCAL_RUNNER
    before = ""
    for word in unknown:
        if word.startswith("-"):
            if standard.runner in _LOCAL_RUNNERS:
                raise Usage(f"{word.partition('=')[0]} is no option of this job, nor of Beam{_meant(word)}")
        elif not before.startswith("-") or "=" in before:
            raise Usage(f"{word!r} belongs to no option; see --help")
        before = word
    if runs_here(result) is False and standard.runner in _LOCAL_RUNNERS and not verbose:
        # Its worker processes write their own log to the terminal.
        result = PipelineOptions(
            [*words, f"--runner={standard.runner}", "--default_sdk_harness_log_level=CRITICAL"]
        )
    return result


def runs_here(options: PipelineOptions) -> bool:
    """Whether the job's steps run in this process."""
    everything = options.get_all_options()
    return everything["runner"] in _LOCAL_RUNNERS and everything["direct_running_mode"] != "multi_processing"


def check_dead_letter(folder: str) -> None:
    """Refuse a local folder that cannot be written, before anything is sent."""
    if FileSystems.get_scheme(folder) is not None:
        return
    place = Path(folder).absolute()
    while not place.exists():
        place = place.parent
    if not place.is_dir():
        raise Usage(f"--dead-letter {folder}: {place} is a file; name another folder")
    if not os.access(place, os.W_OK | os.X_OK):
        raise Usage(f"--dead-letter {folder}: {place} cannot be written; name another folder")


def pairs(option: str, texts: Sequence[str]) -> dict[str, str]:
    """The pairs of an option, by name.

    >>> pairs("--map", ["title=Title"])
    {'title': 'Title'}
    """
    found: dict[str, str] = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not (separator and name and value):
            raise Usage(f"{option} {text!r} is not of the form NAME=VALUE")
        if name in found:
            raise Usage(f"{option} is given twice for {name!r}")
        found[name] = value
    return found


def _names_or_pattern(words: list[str] | None) -> list[str] | str | None:
    # One name as a name: an error then tells which allowed tenant is close.
    return words[0] if words and len(words) == 1 and not TENANT_NAME.fullmatch(words[0]) else words


def _api_key(options: argparse.Namespace) -> Any:
    secret, client_id, scopes = options.oidc_client_secret, options.oidc_client_id, options.oidc_scopes
    if secret is None:
        if client_id or scopes:
            raise Usage("--oidc-client-id and --oidc-scopes need --oidc-client-secret env:NAME")
        return options.api_key
    if options.api_key is not None:
        raise Usage("give --api-key or --oidc-client-secret, not both")
    return OidcClientCredentials(secret, client_id, scopes)


def _add_pairs(group: Any, option: str, form: str, text: str) -> None:
    group.add_argument(option, nargs="+", action="extend", default=[], metavar=form, help=text)


def _meant(word: str) -> str:
    known = [*_own_options(), "--runner", "--project", "--region", "--temp_location"]
    near = difflib.get_close_matches(word.partition("=")[0], known, 1, 0.7)
    return f"; do you mean {near[0]}?" if near else "; see --help"


def _own_options() -> list[str]:
    own = []
    for add in (add_write_options, add_check_options):
        parser = argparse.ArgumentParser()
        add(parser)
        own += [option for action in parser._actions for option in action.option_strings]
    return [*own, "--input", "--collection", "--format", "--vectors"]
