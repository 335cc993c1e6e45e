"""Hold what is sent to Discord to its published OpenAPI description, where that is present."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

ROOT = "urn:discord"
IDS = ("message_id", "channel_id", "recipient_id")


@dataclass
class Specification:
    """Keep bodies, and hold them to the file once all is over: nobody waits for it."""

    file: Path
    kept: list[tuple[str, str, Any]] = field(default_factory=list)
    validated: int = 0
    rejected: list[str] = field(default_factory=list)

    @property
    def present(self) -> bool:
        return self.file.is_file()

    def keep(self, method: str, path: str, body: Any) -> None:
        """Keep a request's JSON body."""
        self.kept.append((method, path, body))

    def verify(self) -> None:
        """Note what is wrong with the bodies that were kept; without a file, nothing is."""
        while self.present and self.kept:
            self._check(*self.kept.pop())

    def _check(self, method: str, path: str, body: Any) -> None:
        route = _find(self.file, method.lower(), path)
        if route is None:
            self.rejected.append(f"{method} {path}: no such route")
            return
        errors = list(_validator(self.file, route).iter_errors(_normalised(body)))
        self.validated += 1
        self.rejected += [f"{method} {path}: {error.message[:300]}" for error in errors]


@cache
def _document(file: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return document


@cache
def _routes(file: Path) -> list[tuple[re.Pattern[str], str]]:
    """Return every path as a pattern; those with fewest placeholders are tried first."""
    paths = sorted(_document(file)["paths"], key=lambda path: path.count("{"))
    return [(re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), path) for path in paths]


@cache
def _find(file: Path, method: str, path: str) -> str | None:
    """Return the JSON pointer of the schema of a route's body."""
    for pattern, template in _routes(file):
        operation = _document(file)["paths"][template].get(method)
        if operation and pattern.fullmatch(path) and "requestBody" in operation:
            escaped = template.replace("~", "~0").replace("/", "~1")
            kinds = operation["requestBody"]["content"]
            kind = "application/json" if "application/json" in kinds else "multipart/form-data"
            kind = kind.replace("/", "~1")
            return f"#/paths/{escaped}/{method}/requestBody/content/{kind}/schema"
    return None


@cache
def _validator(file: Path, pointer: str) -> Draft202012Validator:
    resource = Resource(contents=_document(file), specification=DRAFT202012)
    registry = Registry().with_resource(ROOT, resource)
    pointer = pointer.replace("{", "%7B").replace("}", "%7D")
    return Draft202012Validator({"$ref": f"{ROOT}{pointer}"}, registry=registry)


def _normalised(body: Any) -> Any:
    """Write ids as text: discord.py sends some as integers, which Discord takes just as well."""
    if isinstance(body, list):
        return [_normalised(each) for each in body]
    if not isinstance(body, dict):
        return body
    return {
        key: str(value) if key in IDS and type(value) is int else _normalised(value)
        for key, value in {**body, **_attachments(body)}.items()
    }


def _attachments(body: dict[str, Any]) -> dict[str, Any]:
    """Return the attachments of a body with their ids as text."""
    if not isinstance(body.get("attachments"), list):
        return {}
    return {"attachments": [{**each, "id": str(each["id"])} for each in body["attachments"]]}
