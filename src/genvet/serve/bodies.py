"""The body of a request, read no further than anybody has asked for: what its headers say of it is a claim."""

from __future__ import annotations

import asyncio

from fastapi import Request

from genvet.serve.problems import Problem


async def read(request: Request, kind: str, most: int, seconds: float) -> bytes:
    """All of it; raises Problem where it is of another kind, larger than `most` bytes, or slower than `seconds`."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != kind:
        raise Problem(415, f"this comes as {kind}")
    said = request.headers.get("content-length", "")
    if said.isdecimal() and int(said) > most:
        raise Problem(413, f"a request has at most {most} bytes")
    parts, size = [], 0
    try:
        async with asyncio.timeout(seconds):
            async for part in request.stream():
                size += len(part)
                if size > most:
                    raise Problem(413, f"a request has at most {most} bytes")
                parts.append(part)
    except TimeoutError:
        raise Problem(408, "the request took too long to arrive") from None
    return b"".join(parts)
