"""What can go wrong at Discord, by script: the next requests to a route are answered so."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass
class Fault:
    """Answer requests whose "METHOD path" matches, a number of times."""

    route: str
    status: int
    body: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)
    times: int = 1
    seen: int = 0
    lost: bool = False  # the request is heard, and its answer is not
    page: bool = False  # what answers is not Discord, but something before it


@dataclass
class Faults:
    """Hold the faults that are still to come."""

    waiting: list[Fault] = field(default_factory=list)

    def add(self, route: str, status: int, code: int = 0, *, times: int = 1, **more: Any) -> Fault:
        """Refuse requests as the API does; 5xx answers have no JSON."""
        body = {"message": f"scripted {status}", "code": code, **more}
        return self._keep(Fault(route, status, body, times=times))

    def page(self, route: str, status: int, *, times: int = 1, **headers: str) -> Fault:
        """Answer in Discord's stead, as Cloudflare and proxies do."""
        return self._keep(Fault(route, status, {}, headers, times=times, page=True))

    def limit(
        self, route: str, seconds: float, *, everywhere: bool = False, times: int = 1
    ) -> Fault:
        """Answer 429 as the API does, for a route's bucket or for all of them."""
        body = {"message": "scripted", "retry_after": seconds, "global": everywhere, "code": 0}
        headers = {
            "Via": "1.1 fake",
            "Retry-After": str(seconds),
            "X-RateLimit-Limit": "5",
            "X-RateLimit-Remaining": "0",
            "X-RateLimit-Reset-After": str(seconds),
            "X-RateLimit-Scope": "global" if everywhere else "user",
        }
        return self._keep(Fault(route, 429, body, headers, times))

    def lose(self, route: str, *, times: int = 1) -> Fault:
        """Hear requests, and cut the connection instead of answering."""
        fault = Fault(route, 0, {}, times=times, lost=True)
        return self._keep(fault)

    def loses(self, method: str, path: str) -> bool:
        """Say whether the answer to a request is to be lost."""
        return self._next(method, path, lost=True) is not None

    def answer(self, method: str, path: str) -> web.Response | None:
        """Return the answer of the next fault for a request, if there is one."""
        fault = self._next(method, path, lost=False)
        return _respond(fault) if fault else None

    def _next(self, method: str, path: str, *, lost: bool) -> Fault | None:
        for fault in self.waiting:
            if fault.lost is not lost or fault.seen >= fault.times:
                continue
            if re.fullmatch(fault.route, f"{method} {path}"):
                fault.seen += 1
                return fault
        return None

    def _keep(self, fault: Fault) -> Fault:
        self.waiting.append(fault)
        return fault


def _respond(fault: Fault) -> web.Response:
    if fault.page:
        text = "<html><body><h1>Access denied</h1>cloudflare</body></html>"
        headers = {name.replace("_", "-"): value for name, value in fault.headers.items()}
        return web.Response(
            text=text, status=fault.status, content_type="text/html", headers=headers
        )
    text = "upstream" if fault.status >= 500 else json.dumps(fault.body)
    kind = "text/plain" if fault.status >= 500 else "application/json"
    return web.Response(
        body=text.encode(), status=fault.status, content_type=kind, headers=fault.headers
    )
