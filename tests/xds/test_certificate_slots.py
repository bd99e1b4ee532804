from __future__ import annotations

from pilotage.xds.certificate_slots import MOST_CERTIFICATES, CertificateSlots
from pilotage.xds.served_certificates import CertificatePair, ServedCertificate

_FREE = CertificatePair(b"free", b"free")


def _served(*names: str, key: str = "1") -> ServedCertificate:
    return ServedCertificate(frozenset(names), CertificatePair("/".join(names).encode(), key.encode()))


def _bodies(slots: CertificateSlots) -> dict[str, bytes]:
    return {item.name: item.body for item in slots.secrets(_FREE)}


def _changed(slots: CertificateSlots, before: dict[str, bytes]) -> list[str]:
    after = _bodies(slots)
    assert before.keys() == after.keys()
    return [name for name, body in after.items() if body != before[name]]


def test_a_certificate_changes_one_secret() -> None:
    slots = CertificateSlots()
    slots.replace([_served("a.x"), _served("b.x")])
    assert len(slots.secret_names) == slots.size
    before = _bodies(slots)
    assert not slots.replace([_served("a.x"), _served("b.x"), _served("c.x")])
    (added,) = _changed(slots, before)
    before = _bodies(slots)
    assert not slots.replace([_served("a.x"), _served("b.x", key="2"), _served("c.x")])
    (renewed,) = _changed(slots, before)
    assert renewed != added
    assert {name for it in slots.certificates for name in it.names} == {"a.x", "b.x", "c.x"}


def test_a_retired_certificate_stays_until_envoy_has_its_successor() -> None:
    slots = CertificateSlots()
    slots.replace([_served("a.x"), _served("b.x")])
    before = _bodies(slots)
    assert slots.replace([_served("a.x", "b.x")])
    assert [it.names for it in slots.certificates] == [{"a.x", "b.x"}]
    assert len(_changed(slots, before)) == 1
    slots.clear()
    assert len(_changed(slots, before)) == 3
    # A certificate that comes back is not retired any more.
    slots.replace([_served("c.x")])
    assert not slots.replace([_served("c.x"), _served("a.x", "b.x")])


def test_the_slots_are_the_same_after_a_restart() -> None:
    certificates = [_served(f"h{number}.x") for number in range(10)]
    first, second = CertificateSlots(), CertificateSlots()
    first.replace(certificates)
    second.replace(certificates[::-1])
    assert _bodies(first) == _bodies(second)


def test_more_certificates_get_more_slots_and_no_fewer_later() -> None:
    slots, sizes = CertificateSlots(), []
    for count in (0, 12, 13, 60, 250, MOST_CERTIFICATES, 3):
        slots.replace([_served(f"h{number}.x") for number in range(count)])
        assert len(slots.certificates) == count
        sizes.append(slots.size)
    assert sizes == [16, 16, 64, 256, 1280, 1280, 1280]


def test_slots_of_retired_certificates_are_used_if_no_other_is_free() -> None:
    slots = CertificateSlots()
    for batch in range(5):
        slots.replace([_served(f"h{batch}-{number}.x") for number in range(12)])
    assert slots.size == 16
    assert {name for it in slots.certificates for name in it.names} == {f"h4-{number}.x" for number in range(12)}


def test_the_first_of_equal_names_is_served() -> None:
    slots = CertificateSlots()
    slots.replace([_served("a.x", key="1"), _served("a.x", key="2")])
    assert [it.pair.key_pem for it in slots.certificates] == [b"1"]
