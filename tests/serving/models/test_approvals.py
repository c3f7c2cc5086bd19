"""Approvals: who may approve, what counts, and that a promotion waits for them."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from components.contracts.serving_state import Approval, ApprovalPolicy, AuditEntry, ServedState
from components.errors import MasteryError
from serving.models import promotion
from serving.models.approval_policy import policy_for, policy_in, set_policy
from serving.models.approval_signatures import is_signed, public_key_of, sign
from serving.models.approvals import (
    ApprovalStatus,
    Approver,
    approve,
    manifest_digest,
    person,
    status_after,
)
from serving.models.audit_check import check_log
from serving.models.changes import RefusedError, change, read_entries
from serving.models.listing import Version, check_version, describe_log, list_versions
from serving.models.storage import Storage
from serving.models.stores import LocalStorage, open_storage

PrivateKey = Ed25519PrivateKey | EllipticCurvePrivateKey

ANN = Approver("ann@laptop", "account")
BEN = Approver("ben@desk", "account")
CHEN = Approver("chen", "board", "admin")


def amend(folder: Path, number: int, **changes: Any) -> None:
    """Changes a version's manifest, as a push with other settings would have written it."""
    path = folder / str(number) / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.fixture
def asking(folder: Path) -> Storage:
    """A serving folder whose versions were pushed by Ann and need one approval."""
    for number in (1, 2, 3, 4):
        amend(folder, number, pushed_by="ann@github", config={"approvals": {"needed": 1}})
    return open_storage(str(folder))


def version(storage: Storage, number: int = 1) -> Version:
    return check_version(storage, number)


def status(storage: Storage, number: int = 1) -> ApprovalStatus:
    return status_after(storage, version(storage, number))


def test_without_a_policy_nothing_is_needed(storage: Storage) -> None:
    assert promotion.promote(storage, 1) is not None
    assert status(storage).missing is None
    assert policy_in(read_entries(storage)) is None


def test_a_promotion_waits_for_another_person(asking: Storage) -> None:
    with pytest.raises(RefusedError, match="needs an approval by others than ann@github, who"):
        promotion.promote(asking, 1)
    with pytest.raises(RefusedError, match="ann@github pushed the version"):
        approve(asking, version(asking), ANN, "looks good")
    assert read_entries(asking) == []

    entry = approve(asking, version(asking), BEN, "read the report")
    assert entry is not None
    assert (entry.action, entry.version, entry.before) == ("approve", 1, entry.after)
    promoted = promotion.promote(asking, 1)
    assert promoted is not None
    assert promoted.after.stable == 1
    assert promoted.forced == ()
    assert check_log(asking).problems == []


def test_force_is_not_enough_and_doing_without_is_recorded(asking: Storage) -> None:
    with pytest.raises(RefusedError, match="--force is not enough"):
        promotion.promote(asking, 3, force=True, reason="hurry")
    with pytest.raises(RefusedError, match="expected --reason TEXT with --without-approval"):
        promotion.promote(asking, 1, without_approval=True)
    with pytest.raises(RefusedError, match="a gate failed"):  # one does not stand for the other
        promotion.promote(asking, 3, without_approval=True, reason="hurry")

    entry = promotion.promote(asking, 1, without_approval=True, reason="nobody is here")
    assert entry is not None
    assert entry.forced == (
        "without approval: it needs an approval by others than ann@github, who pushed it; "
        "found none",
    )
    assert "overruled: without approval" in promotion.describe_change(entry)


def test_a_canary_waits_too(asking: Storage) -> None:
    promotion.promote(asking, 1, without_approval=True, reason="the first one")
    with pytest.raises(RefusedError, match="version 2 is not approved"):
        promotion.start_canary(asking, 2, 10)
    approve(asking, version(asking, 2), CHEN, "try it")
    assert promotion.start_canary(asking, 2, 10) is not None


def test_two_approvals_are_by_two_people(asking: Storage) -> None:
    set_policy(asking, ApprovalPolicy(needed=2), "two from now on")
    approve(asking, version(asking), BEN, "fine")
    assert approve(asking, version(asking), Approver("Ben@home", "account"), "again") is None
    assert approve(asking, version(asking), Approver("ben", "board", "admin"), "again") is None
    assert status(asking).missing == (
        "it needs 2 approvals by others than ann@github, who pushed it; found 1, by ben@desk"
    )
    approve(asking, version(asking), CHEN, "fine")
    assert status(asking).missing is None


def test_a_revoked_approval_counts_no_more_and_can_be_given_again(asking: Storage) -> None:
    with pytest.raises(RefusedError, match="expected an approval by ben@desk to revoke"):
        approve(asking, version(asking), BEN, "no", revoke=True)
    approve(asking, version(asking), BEN, "fine")
    approve(asking, version(asking), Approver("ben", "board", "teacher"), "no", revoke=True)
    assert status(asking).given == []
    with pytest.raises(RefusedError, match="version 1 is not approved"):
        promotion.promote(asking, 1)
    approve(asking, version(asking), BEN, "fine after all")
    assert promotion.promote(asking, 1) is not None


def test_a_changed_version_needs_new_approvals(asking: Storage, folder: Path) -> None:
    approve(asking, version(asking), BEN, "fine")
    amend(folder, 1, metrics={"f1_macro": 1.0})
    (item,) = status(asking).given
    assert item.why_not == "the version was changed since"
    with pytest.raises(RefusedError, match="that by ben@desk does not count: the version was"):
        promotion.promote(asking, 1)

    (folder / "1" / "saved_model.pb").write_bytes(b"another graph")
    with pytest.raises(RefusedError, match="cannot be approved: its files are not those"):
        approve(asking, version(asking), CHEN, "fine")
    (folder / "1" / "manifest.json").unlink()
    with pytest.raises(RefusedError, match=r"no manifest\.json with the digests"):
        approve(asking, version(asking), CHEN, "fine")


def test_a_version_cannot_ask_for_less_than_the_log(asking: Storage, folder: Path) -> None:
    promotion.promote(asking, 1, without_approval=True, reason="the first one")
    assert policy_in(read_entries(asking)) == ApprovalPolicy(needed=1)
    ours = {"needed": 0, "roles": ["teacher"], "keys": {"eve": "MCow"}}
    amend(folder, 2, config={"approvals": ours})

    found = policy_for(version(asking, 2).manifest, read_entries(asking))
    assert found == ApprovalPolicy(needed=1)
    with pytest.raises(RefusedError, match="version 2 is not approved"):
        promotion.promote(asking, 2)
    with pytest.raises(RefusedError, match="the role teacher is none of those that approve"):
        approve(asking, version(asking, 2), Approver("eve", "board", "teacher"), "fine")


def test_the_caller_s_configuration_can_ask_for_more(folder: Path) -> None:
    storage = open_storage(str(folder))
    amend(folder, 1, pushed_by="ann@github")
    with pytest.raises(RefusedError, match="version 1 is not approved"):
        promotion.promote(storage, 1, policy=ApprovalPolicy(needed=1))
    approve(storage, version(storage), BEN, "fine")
    promotion.promote(storage, 1, policy=ApprovalPolicy(needed=1, roles=("manager",)))
    assert policy_in(read_entries(storage)) == ApprovalPolicy(needed=1, roles=("manager",))


def test_what_nobody_can_read_is_never_enough(asking: Storage, folder: Path) -> None:
    amend(folder, 1, config={"approvals": {"needed": "none"}})
    with pytest.raises(RefusedError, match="approvals by account are not accepted"):
        approve(asking, version(asking), BEN, "fine")
    with pytest.raises(RefusedError, match="version 1 is not approved"):
        promotion.promote(asking, 1)


def test_a_version_of_an_unknown_pusher_needs_one_more(asking: Storage, folder: Path) -> None:
    amend(folder, 1, pushed_by=None)
    approve(asking, version(asking), ANN, "fine")
    missing = status(asking).missing
    assert missing == (
        "it needs 2 approvals, one more than usual, as its manifest does not say who pushed it; "
        "found 1, by ann@laptop"
    )
    approve(asking, version(asking), BEN, "fine")
    assert status(asking).missing is None


def test_lists_show_who_approved(asking: Storage) -> None:
    approve(asking, version(asking), BEN, "read the report")
    first, second, *_ = list_versions(asking).versions
    assert [item.by for item in first.approvals.given] == ["ben@desk"]
    assert (first.unapproved, first.pushed_by) == (None, "ann@github")
    assert second.unapproved == (
        "it needs an approval by others than ann@github, who pushed it; found none"
    )
    assert "approve: 1 by ben@desk (account)" in describe_log(read_entries(asking))


def test_a_policy_is_set_with_a_reason_and_once(storage: Storage) -> None:
    with pytest.raises(MasteryError, match="expected --reason TEXT"):
        set_policy(storage, ApprovalPolicy(needed=1), " ")
    entry = set_policy(storage, ApprovalPolicy(needed=1), "the board decided")
    assert entry is not None
    assert (entry.policy, entry.reason) == (ApprovalPolicy(needed=1), "the board decided")
    assert set_policy(storage, ApprovalPolicy(needed=1), "again") is None
    assert "policy: approvals needed: 1" in describe_log(read_entries(storage))


def test_a_revocation_at_the_last_moment_is_seen(asking: Storage) -> None:
    approve(asking, version(asking), BEN, "fine")

    class Revoking(LocalStorage):
        """A folder in which an approval is taken back while another process promotes."""

        done = False

        def append(self, revision: int, entry: bytes) -> bool:
            if not self.done:
                self.done = True
                approve(asking, version(asking), BEN, "no", revoke=True)
            return super().append(revision, entry)

        def exclusive(self) -> nullcontext[None]:  # type: ignore[override]
            return nullcontext()

    with pytest.raises(RefusedError, match="version 1 is not approved"):
        promotion.promote(Revoking(Path(asking.address)), 1)


# Signatures


def signing(storage: Storage, key: PrivateKey, name: str = "dora") -> Approver:
    keys = {name: public_key_of(key)}
    set_policy(storage, ApprovalPolicy(needed=1, accept=("signature",), keys=keys), "keys")
    return Approver(name, "signature", key=key)


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa"])
def test_a_signed_approval_counts(asking: Storage, kind: str) -> None:
    key = Ed25519PrivateKey.generate() if kind == "ed25519" else generate_private_key(SECP256R1())
    dora = signing(asking, key)
    with pytest.raises(RefusedError, match="approvals by account are not accepted"):
        approve(asking, version(asking), BEN, "fine")
    entry = approve(asking, version(asking), dora, "fine ✓")
    assert entry is not None
    assert entry.approval is not None
    assert entry.approval.model_sha256 == version(asking).manifest.model_sha256  # type: ignore[union-attr]
    assert entry.approval.manifest_sha256 == manifest_digest(asking, 1)
    assert promotion.promote(asking, 1) is not None


@given(
    change_=st.sampled_from(
        ["version", "time", "reason", "action", "by", "model", "manifest", "sig"]
    )
)
def test_a_signature_is_good_for_nothing_else(change_: str) -> None:
    key = Ed25519PrivateKey.from_private_bytes(bytes(32))
    entry = signed_entry(key)
    public = public_key_of(key)
    assert is_signed(entry, public)

    approval = entry.approval
    assert approval is not None
    other = {
        "version": {"version": 2},
        "time": {"time": "2026-11-28T00:00:00.000+00:00"},
        "reason": {"reason": "another"},
        "action": {"action": "revoke"},
        "by": {"approval": approval.model_copy(update={"by": "eve"})},
        "model": {"approval": approval.model_copy(update={"model_sha256": "0" * 64})},
        "manifest": {"approval": approval.model_copy(update={"manifest_sha256": "0" * 64})},
        "sig": {"approval": approval.model_copy(update={"signature": "no base64"})},
    }[change_]
    assert not is_signed(entry.model_copy(update=other), public)


def signed_entry(key: PrivateKey) -> AuditEntry:
    """Returns an approval that is signed, outside any log."""
    approval = Approval(
        by="dora", means="signature", model_sha256="a" * 64, manifest_sha256="b" * 64
    )
    entry = AuditEntry(
        revision=1, action="approve", version=1, reason="fine",
        before=ServedState(), after=ServedState(), approval=approval,
    )  # fmt: skip
    signature = sign(key, entry)
    signed = approval.model_copy(update={"signature": signature})
    return entry.model_copy(update={"approval": signed})


def test_a_signature_by_another_key_or_for_a_name_in_the_list_does_not_count(
    asking: Storage,
) -> None:
    signing(asking, Ed25519PrivateKey.generate())
    eve = Ed25519PrivateKey.generate()
    with pytest.raises(RefusedError, match="its signature is wrong"):
        approve(asking, version(asking), Approver("dora", "signature", key=eve), "fine")
    with pytest.raises(RefusedError, match=r"approvals\.keys does not list the key"):
        approve(asking, version(asking), Approver("eve", "signature", key=eve), "fine")


def test_a_revoked_signature_does_not_come_back_by_adding_it_again(asking: Storage) -> None:
    dora = signing(asking, Ed25519PrivateKey.generate())
    entry = approve(asking, version(asking), dora, "fine")
    assert entry is not None
    approve(asking, version(asking), dora, "no", revoke=True)

    change(asking, lambda _, revision: entry.model_copy(update={"revision": revision}))
    assert status(asking).given == []
    assert check_log(asking).problems == []  # the log is sound, and the approval is not


@given(
    st.text(st.characters(codec="utf-8", exclude_characters="@"), min_size=1),
    st.sampled_from(["", "@laptop", "@github", "@example.org"]),
)
def test_what_stands_after_the_at_does_not_make_another_person(name: str, where: str) -> None:
    assert person(f"{name}{where}") == person(name)
