import pytest

from models.errors import Unauthorized
from serve.auth import digest, tenant_of
from serve.settings import Settings

KEYED = Settings(api_keys={digest("secret"): "studio"})


@pytest.mark.parametrize(("authorization", "api_key"), [("Bearer secret", None), (None, "secret")])
def test_a_known_key_names_its_tenant_from_anywhere(authorization: str | None, api_key: str | None):
    assert tenant_of(KEYED, authorization, api_key, "203.0.113.7") == "studio"


@pytest.mark.parametrize("authorization", [None, "Bearer wrong", "Bearer "])
@pytest.mark.parametrize("peer", ["127.0.0.1", "203.0.113.7"])
def test_with_keys_configured_nobody_comes_in_without_one(authorization: str | None, peer: str):
    with pytest.raises(Unauthorized):
        tenant_of(KEYED, authorization, None, peer)


def test_the_open_tiny_profile_lets_in_this_machine_only():
    assert tenant_of(Settings(), None, None, "127.0.0.1") == "local"
    for peer in ("203.0.113.7", "10.0.0.5", None, "testclient"):
        with pytest.raises(Unauthorized):
            tenant_of(Settings(), None, None, peer)


def test_the_full_profile_is_never_open():
    with pytest.raises(Unauthorized):
        tenant_of(Settings(profile="full"), None, None, "127.0.0.1")


def test_keys_are_read_from_the_environment_as_hashes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RYLA_API_KEYS", f"studio={digest('a')}, lab={digest('b')}")
    assert tenant_of(Settings(), "Bearer b", None, None) == "lab"
    monkeypatch.setenv("RYLA_API_KEYS", "studio=plain-key")
    with pytest.raises(ValueError, match="sha256"):
        Settings()
