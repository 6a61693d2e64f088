"""Events in the Open Cybersecurity Schema Framework, version 1.3.0: class API Activity (6003), activity Create.

Each leaf is a statement that somebody made through the hub's API; its type is the operation. What the schema has no
place for stands under ``unmapped``, as the schema asks.
"""

from importlib.metadata import version
from typing import Any, Final

from client.audit.events import Event, Severity
from protocol import canonical

SCHEMA: Final = "1.3.0"
CLASS_UID: Final = 6003
CREATE: Final = 1

SEVERITY_NAMES: Final = {Severity.INFORMATIONAL: "Informational", Severity.LOW: "Low", Severity.MEDIUM: "Medium"}


def ocsf_line(event: Event) -> str:
    """One JSON object."""
    return canonical.encode(ocsf_event(event)).decode()


def ocsf_event(event: Event) -> dict[str, Any]:
    entry = event.entry
    return {
        "activity_id": CREATE,
        "activity_name": "Create",
        "actor": _actor(entry.issuer),
        "api": {"operation": entry.kind, "service": {"name": event.origin}},
        "category_name": "Application Activity",
        "category_uid": CLASS_UID // 1000,
        "class_name": "API Activity",
        "class_uid": CLASS_UID,
        "message": event.message,
        "metadata": {
            "log_name": event.origin,
            "logged_time": event.milliseconds,
            "original_time": event.said_at or entry.recorded_at,
            "product": {"name": "Consortia", "vendor_name": "Consortia", "version": version("consortia")},
            "sequence": event.index,
            "uid": f"{event.origin}/{event.index}",
            "version": SCHEMA,
        },
        "resources": [] if entry.study is None else [{"type": "study", "uid": entry.study}],
        "severity": SEVERITY_NAMES[event.severity],
        "severity_id": event.severity.value,
        "src_endpoint": {"name": entry.issuer},
        "status": "Failure" if event.refused else "Success",
        "status_id": 2 if event.refused else 1,
        "time": event.milliseconds,
        "type_name": "API Activity: Create",
        "type_uid": CLASS_UID * 100 + CREATE,
        "unmapped": {"digest": entry.digest, "leaf": event.index, "leaf_hash": event.leaf_hash, "round": event.round},
    }


def _actor(issuer: str) -> dict[str, Any]:
    kind, _, name = issuer.partition(":")
    if kind == "person":
        return {"user": {"name": name, "type": "User", "type_id": 1, "uid": issuer}}
    return {"app_name": issuer, "user": {"name": issuer, "type": "Service", "type_id": 4, "uid": issuer}}
