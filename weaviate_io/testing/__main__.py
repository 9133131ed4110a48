"""Run or install a Weaviate server from the command line: ``python -m weaviate_io.testing start``."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence

from weaviate_io.testing.binary import DEFAULT_VERSION, ServerUnavailable, find_binary
from weaviate_io.testing.install import install_binary
from weaviate_io.testing.server import WeaviateServer


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m weaviate_io.testing", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    start = commands.add_parser("start", help="run a server until Ctrl-C")
    install = commands.add_parser("install", help="only get the server's binary into the cache")
    for command in (start, install):
        command.add_argument(
            "--version", help=f"of the server (default: what is found, else {DEFAULT_VERSION})"
        )
    start.add_argument("--data", help="folder of the data, kept (default: temporary)")
    start.add_argument("--env", action="append", default=[], metavar="K=V", help="server setting; repeatable")
    start.add_argument("--nodes", type=int, default=1, choices=(1, 3), help="number of nodes (default: 1)")
    start.add_argument("--port", type=int, help="REST port (default: a free one)")
    start.add_argument("--grpc-port", type=int, help="gRPC port (default: a free one)")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code is 1 when no server can be had."""
    parser = _parser()
    options = parser.parse_args(arguments)
    # Both end the server in good order. A shell starts what runs in the background with SIGINT ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        if options.command == "install":
            found = find_binary(options.version)
            print(found.path if found else install_binary(options.version or DEFAULT_VERSION))
            return 0
        for setting in options.env:
            if "=" not in setting:
                parser.error(f"--env {setting}: write NAME=VALUE")
        with WeaviateServer(
            version=options.version,
            data_path=options.data,
            environment=dict(setting.split("=", 1) for setting in options.env),
            nodes=options.nodes,
            port=options.port,
            grpc_port=options.grpc_port,
        ) as server:
            print(f"Weaviate {server.version} runs; Ctrl-C ends it")
            for url, grpc_url in zip(server.urls, server.grpc_urls, strict=True):
                print(f"url={url} grpc_url={grpc_url}", flush=True)
            while True:
                signal.pause()
    except ServerUnavailable as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main())
