"""The steps of a write, whatever it writes: in the bundle or by ``GroupIntoBatches``, and what its failures do.

A transform of one kind of things says what it writes with a :class:`~weaviate_io.kind.Kind` and wires with what
is here.
"""

from __future__ import annotations

import logging
import random
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Optional, TypeVar

import apache_beam as beam
from apache_beam import typehints
from apache_beam.options.pipeline_options import DebugOptions, DirectOptions
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner, SwitchingDirectRunner
from apache_beam.transforms.window import GlobalWindows

from weaviate_io import proto
from weaviate_io.batching import (
    BATCH_SIZE,
    MAX_BUFFERING_SECONDS,
    Batched,
    GroupBoundedIntoBatches,
    GroupUnboundedIntoBatches,
)
from weaviate_io.connection import WeaviateConnection
from weaviate_io.flow import MAX_OBJECTS
from weaviate_io.kind import Kind
from weaviate_io.limits import CheckTotal, Limit
from weaviate_io.providers import Providers, joined_headers
from weaviate_io.schema import TENANT_NAME
from weaviate_io.writing import FAILED, DryRunFn, EncodeFn, SendFn, SendInTurnFn, WriteInBundleFn

_LOGGER = logging.getLogger(__name__)

_Write = TypeVar("_Write", bound="Write")


class Write(beam.PTransform):
    """What the transforms that write have in common.

    Args:
      settings: what is written, without a name.
      types: the types of the outputs, of what was written and of what failed.
      batching: ``"auto"``, ``"bundle"`` or ``"group_into_batches"``.
      buffering: seconds an element of unbounded input waits for company.
    """

    def __init__(
        self, settings: Kind, types: tuple[Any, Any], batching: str, buffering: Optional[float]
    ) -> None:
        super().__init__()
        self._settings: Any = settings
        self._types = types
        self._batching = one_of("batching", batching, ("auto", "bundle", "group_into_batches"))
        self._buffering = buffering
        self._error_handler: Any = None
        if settings.batch_size is not None and not 1 <= settings.batch_size <= MAX_OBJECTS:
            raise ValueError(f"batch_size={settings.batch_size} is not between 1 and {MAX_OBJECTS}")
        if buffering is not None and buffering <= 0:
            raise ValueError(f"max_buffering_duration_secs={buffering} is not above 0")
        most = settings.max_requests_in_flight
        if most is not None and most < 1:
            raise ValueError(f"max_requests_in_flight={most} is below 1")
        if most is not None and batching == "bundle":
            raise ValueError(
                "max_requests_in_flight= cannot hold for batching='bundle', whose bundles know nothing of each "
                "other; leave batching= out"
            )

    def with_error_handler(self: _Write, error_handler: Any) -> _Write:
        """Send the failures to an :class:`~apache_beam.transforms.error_handling.ErrorHandler` as well.

        ``None`` means that nothing handles them: the first failure fails the job, as Beam's other transforms do.
        """
        self._error_handler = error_handler
        if error_handler is None:
            self._settings = replace(self._settings, limit=Limit(0))
        return self

    def _named(self) -> Any:
        """The settings under a new name, so that a second use does not take over the counts of the first."""
        return replace(self._settings, name=uuid.uuid4().hex)

    def _shown(self, collection: Any) -> dict[str, Any]:
        """What every write shows of itself in the job graph."""
        return {
            "collection": "chosen by a function" if callable(collection) else collection,
            "url": self._settings.connection.rest_url,
            "grpc_target": self._settings.connection.grpc_target,
            "batching": self._batching,
        }

    def _outputs(
        self, pcoll: beam.PCollection, settings: Kind, gate: Mapping[str, Any]
    ) -> tuple[beam.PCollection, beam.PCollection]:
        """What was written and what failed; ``gate`` is a side input that the write waits for."""
        limit = settings.limit
        checks_total = limit != Limit() and limit != Limit(0)  # the first failure is known where it happens
        if checks_total and not pcoll.is_bounded:
            _LOGGER.warning("%s counts per worker process only: the input is unbounded", limit)
        if settings.dry_run:
            written, failed = self._dry(pcoll, settings)
        elif self._groups(pcoll):
            written, failed = self._in_batches(pcoll, settings, gate)
        else:
            written, failed = self._in_bundles(pcoll, settings, gate)
        if checks_total and pcoll.is_bounded:
            (written, failed) | "CheckTotal" >> CheckTotal(limit, settings.things)
        if self._error_handler is not None:
            self._error_handler.add_error_pcollection(failed)
        return written, failed

    def _groups(self, pcoll: beam.PCollection) -> bool:
        if self._settings.max_requests_in_flight is not None or self._batching == "group_into_batches":
            return True
        return self._batching == "auto" and not pcoll.is_bounded

    def _in_batches(self, pcoll: beam.PCollection, settings: Kind, gate: Mapping[str, Any]) -> tuple[Any, Any]:
        _keep_whole(pcoll.pipeline)
        batch_size = settings.batch_size or BATCH_SIZE
        if pcoll.is_bounded:
            batches: beam.PTransform = GroupBoundedIntoBatches(batch_size)
        else:
            seconds = MAX_BUFFERING_SECONDS if self._buffering is None else self._buffering
            batches = GroupUnboundedIntoBatches(batch_size, seconds)
        encode = beam.ParDo(EncodeFn(settings), **gate).with_outputs(FAILED, main="encoded")
        encoded, unusable = self._typed(pcoll | "Encode" >> encode, typehints.Tuple[str, Batched])  # type: ignore[misc]
        grouped = encoded | "Global" >> beam.WindowInto(GlobalWindows()) | "GroupIntoBatches" >> batches
        send: beam.DoFn = SendFn(settings)
        if settings.max_requests_in_flight is not None:
            turns = beam.Map(_with_turn, settings.max_requests_in_flight)
            grouped = grouped | "Turns" >> turns.with_output_types(typehints.Tuple[int, Any])  # type: ignore[misc]
            send = SendInTurnFn(settings)
        sent, refused = self._typed(grouped | "Send" >> beam.ParDo(send).with_outputs(FAILED, main="written"))
        # What a timer lets out is lost or doubled in some local runners unless a shuffle follows; and what follows a
        # shuffle must not be a Flatten, also none of the user's, or Flink and Spark refuse the job.
        written = sent | "Reshuffle" >> beam.Reshuffle() | "Rewindow" >> beam.WindowInto(pcoll.windowing)
        refused = (
            refused
            | "ReshuffleFailed" >> beam.Reshuffle()
            | "RewindowFailed" >> beam.WindowInto(pcoll.windowing)
        )
        return written, (refused, unusable) | "Failed" >> beam.Flatten()

    def _dry(self, pcoll: beam.PCollection, settings: Kind) -> tuple[Any, Any]:
        return self._typed(
            pcoll | "Check" >> beam.ParDo(DryRunFn(settings)).with_outputs(FAILED, main="written")
        )

    def _in_bundles(self, pcoll: beam.PCollection, settings: Kind, gate: Mapping[str, Any]) -> tuple[Any, Any]:
        write = beam.ParDo(WriteInBundleFn(settings), **gate)
        return self._typed(pcoll | "Write" >> write.with_outputs(FAILED, main="written"))

    def _typed(self, outputs: Any, main: Any = None) -> tuple[beam.PCollection, beam.PCollection]:
        """The main output and the failures, with their types.

        Not by ``with_output_types``: with ``--runtime_type_check`` Beam holds every failure against the type of the
        main output.
        """
        first, failed = outputs
        written_type, failed_type = self._types
        first.element_type, failed.element_type = main or written_type, failed_type
        return first, failed

    def _check_runner(self, pcoll: beam.PCollection) -> None:
        runner = pcoll.pipeline.runner
        if not pcoll.is_bounded and isinstance(runner, (SwitchingDirectRunner, BundleBasedDirectRunner)):
            raise ValueError(
                "the DirectRunner loses streaming batches (apache/beam#28716); "
                "run with --runner=PrismRunner instead"
            )
        if not pcoll.is_bounded and _is_spark(runner):
            raise ValueError(
                "the SparkRunner takes no unbounded input from Python; run with --runner=FlinkRunner instead"
            )
        refuse_threads(pcoll.pipeline)


def refuse_threads(pipeline: beam.Pipeline) -> None:
    """Raise ``ValueError`` where Beam would lose elements.

    Of a bundle that takes over a second, a thread takes what there is out of the buffer each second, while another
    thread writes into it.
    """
    mode = pipeline.options.view_as(DirectOptions).direct_running_mode
    if mode == "multi_threading" and _is_local(pipeline.runner):
        raise ValueError(
            "the threads of --direct_running_mode=multi_threading lose and garble elements of bundles that take "
            "over a second; leave it out, or run with multi_processing instead"
        )


def _is_local(runner: Any) -> bool:
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner  # slow, and other runners need it not

    return isinstance(runner, (FnApiRunner, SwitchingDirectRunner, BundleBasedDirectRunner))


def _is_spark(runner: Any) -> bool:
    from apache_beam.runners.portability.spark_runner import SparkRunner  # slow, and only streams need it

    return isinstance(runner, SparkRunner)


def _keep_whole(pipeline: beam.Pipeline) -> None:
    """Tell Prism not to split bundles.

    It splits those that are slow, as a bundle is that waits for a server, and then runs both parts at the same time,
    also where both have elements of the same key: the later one to end overwrites the state of the other, with all
    objects that wait there.
    """
    from apache_beam.runners.portability.portable_runner import (
        PortableRunner,  # slow, and most writes need it not
    )

    if isinstance(pipeline.runner, (PortableRunner, SwitchingDirectRunner)):
        pipeline.options.view_as(DebugOptions).add_experiment("prism_disable_sdf_split")


def _with_turn(batch: Any, most: int) -> tuple[int, Any]:
    return random.randrange(most), batch


def connection_of(
    connection: Optional[WeaviateConnection], model_providers: Optional[Providers] = None, **given: Any
) -> WeaviateConnection:
    """The connection that a transform was given, whole or by its fields."""
    used = {name: value for name, value in given.items() if value is not None}
    if connection is not None:
        if used:
            raise ValueError(f"give connection= or {', '.join(used)}=, not both")
    elif "url" not in used:
        raise ValueError("say where Weaviate is: url='http://localhost:8080', or connection=")
    else:
        connection = WeaviateConnection(**used)
    if model_providers is not None:
        connection = replace(connection, headers=joined_headers(model_providers, connection.headers))
    return connection


def limit_of(on_failure: str, max_errors: Optional[int], max_error_rate: Optional[float]) -> Limit:
    """How much may fail, as the keywords of a write say it."""
    one_of("on_failure", on_failure, ("dead_letter", "raise"))
    if max_errors is not None and max_errors < 0:
        raise ValueError(f"max_errors={max_errors} is below 0")
    if max_error_rate is not None and not 0 <= max_error_rate <= 1:
        raise ValueError(f"max_error_rate={max_error_rate} is no share; use a number from 0 to 1")
    return Limit(0) if on_failure == "raise" else Limit(max_errors, max_error_rate)


def tenant_name(tenant: Optional[str]) -> Optional[str]:
    """The name of a tenant, if it can be one; else ``ValueError``."""
    if tenant is not None and not TENANT_NAME.fullmatch(tenant):
        raise ValueError(f"tenant={tenant!r} is not a tenant name: 1 to 64 letters, digits, '_' or '-'")
    return tenant


def one_of(name: str, value: str, allowed: Sequence[str]) -> str:
    """The value, if it is allowed; else ``ValueError``."""
    if value not in allowed:
        raise ValueError(f"{name}={value!r} is none of {', '.join(map(repr, allowed))}")
    return value


def level_of(level: Optional[str]) -> Optional[str]:
    """The name of a consistency level, if it is one; else ``ValueError``."""
    return None if level is None else one_of("consistency_level", level, tuple(proto.CONSISTENCY_LEVELS))
