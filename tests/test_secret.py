from __future__ import annotations

import pickle
import warnings

import pytest
from apache_beam.internal.cloudpickle import cloudpickle

from weaviate_io.errors import WeaviateError
from weaviate_io.secret import Secret

KEY = "sk-do-not-show-me"


class BeamSecret:
    """What a secret of Beam looks like: it fetches bytes."""

    def get_secret_bytes(self):
        return KEY.encode() + b"\n"


def literal(text=KEY):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Secret(text)


def test_an_environment_variable_is_read_when_resolved(monkeypatch):
    secret = Secret("env:SOME_KEY")
    monkeypatch.setenv("SOME_KEY", f"{KEY}\n")
    assert secret.resolve() == KEY


@pytest.mark.parametrize("value", [None, ""])
def test_an_unset_variable_says_which_and_what_to_do(monkeypatch, value):
    monkeypatch.delenv("SOME_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("SOME_KEY", value)
    with pytest.raises(WeaviateError, match="SOME_KEY is not set on this worker; on Dataflow use"):
        Secret("env:SOME_KEY").resolve()


@pytest.mark.parametrize(
    "source",
    [lambda: KEY, lambda: KEY.encode(), lambda: KEY + "\n", BeamSecret()],
    ids=["text", "bytes", "line", "beam"],
)
def test_functions_and_beam_secrets_are_asked(source):
    assert Secret(source).resolve() == KEY


@pytest.mark.parametrize("given", [None, "", b"", " \n", 5])
def test_a_source_that_gives_no_text_is_refused_and_not_sent_as_its_repr(given):
    with pytest.raises(WeaviateError, match="it has to give text or bytes"):
        Secret(lambda: given).resolve()


@pytest.mark.parametrize("source", [None, 5, b"bytes", ["env:X"]])
def test_what_cannot_be_a_secret_is_refused(source):
    with pytest.raises(TypeError, match="a secret is 'env:NAME', a function or"):
        Secret(source)


def test_an_empty_variable_name_is_refused():
    with pytest.raises(ValueError, match="env:NAME"):
        Secret("env:")


def test_a_literal_works_with_a_warning():
    with pytest.warns(UserWarning, match="a literal secret becomes part of the job") as warned:
        secret = Secret(KEY)
    assert secret.resolve() == KEY
    assert KEY not in str(warned[0].message)


@pytest.mark.parametrize("source", ["env:SOME_KEY", lambda: KEY, BeamSecret()])
def test_references_give_no_warning(source):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Secret(source)


@pytest.mark.parametrize("show", [repr, str, "{}".format, lambda s: f"{[s]}"])
def test_only_the_name_of_a_variable_is_shown(show):
    assert KEY not in show(literal())
    assert "***" in show(literal())
    assert "env:SOME_KEY" in show(Secret("env:SOME_KEY"))
    assert "BeamSecret" not in show(Secret(BeamSecret()))


@pytest.mark.parametrize("dumps", [pickle.dumps, cloudpickle.dumps])
def test_a_reference_crosses_to_a_worker_and_stays_equal(dumps):
    for secret in (Secret("env:SOME_KEY"), Secret(BeamSecret()), literal()):
        copy = pickle.loads(dumps(secret))
        assert copy == secret
        assert hash(copy) == hash(secret)


def test_a_function_crosses_to_a_worker_and_its_copies_stay_equal():
    pickled = cloudpickle.dumps(Secret(lambda: KEY))
    one, two = pickle.loads(pickled), pickle.loads(pickled)
    assert one == two
    assert hash(one) == hash(two)
    assert one.resolve() == KEY


def test_secrets_are_equal_by_what_they_refer_to():
    def source():
        return KEY

    assert Secret(source) == Secret(source)
    assert Secret("env:A") == Secret("env:A")
    assert Secret("env:A") != Secret("env:B")
    assert Secret("env:A") != Secret(source)
    assert Secret("env:A") != "env:A"


MANAGED = "type:GcpSecret;version_name:projects/p/secrets/weaviate/versions/7"


def test_a_text_of_beam_names_a_secret_of_a_secret_manager(monkeypatch):
    from apache_beam.transforms.util import GcpSecret

    asked = []

    def fetch(self):
        asked.append(self._version_name)
        return KEY.encode()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        secret = Secret(MANAGED)
    monkeypatch.setattr(GcpSecret, "get_secret_bytes", fetch)
    assert pickle.loads(pickle.dumps(secret)).resolve() == KEY
    assert asked == ["projects/p/secrets/weaviate/versions/7"]
    assert MANAGED in repr(secret)
    assert secret.hidden


@pytest.mark.parametrize("text", ["type:", "type:Vault;path:x", "type:GcpSecret;versionname:x"])
def test_a_text_that_beam_does_not_know_is_refused_at_once(text):
    with pytest.raises(ValueError, match="is no secret of Beam; write type:GcpSecret"):
        Secret(text)
