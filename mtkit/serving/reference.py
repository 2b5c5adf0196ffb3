"""The description of the API as a page, from its OpenAPI schema."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from html import escape
from typing import Any

_CODE = re.compile(r"`([^`]*)`")

_SHELL = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>mtkit: API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="assets/base.css">
<link rel="stylesheet" href="assets/reference.css">
</head>
<body>
<main>
<p><a href="./">Translate</a></p>
<h1>API</h1>
<p>{description} The whole as <a href="openapi.json">OpenAPI schema</a>.</p>
{sections}
</main>
</body>
</html>
"""


def build_reference(schema: Mapping[str, Any]) -> str:
    """Return a page that describes the API.

    Args:
        schema: OpenAPI 3.
    """
    sections = [
        _describe_route(method.upper(), path, route, schema)
        for path, methods in schema["paths"].items()
        for method, route in methods.items()
    ]
    return _SHELL.format(description=escape(schema["info"]["description"]), sections="\n".join(sections))


def _describe_route(method: str, path: str, route: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    parts = [f"<section><h2><code>{method} {escape(path)}</code></h2><p>{escape(route['summary'])}.</p>"]
    content = route.get("requestBody", {}).get("content", {})
    if content:
        body = next(iter(content.values()))["schema"]
        required = set(body.get("required", ()))
        parts.append(_build_table("Takes", body["properties"], schema, required))
        parts.append(f"<p class='faint'>As {', '.join(f'<code>{escape(kind)}</code>' for kind in content)}.</p>")
        parts.append(f"<pre><code>{escape(_build_example(path, body))}</code></pre>")
    for status, response in route["responses"].items():
        if status == "200":
            shape = response["content"]["application/json"]["schema"]
            is_list = "items" in shape
            found = _resolve(shape["items"] if is_list else shape, schema)
            parts.append(_build_table("Gives a list of" if is_list else "Gives", found.get("properties", {}), schema))
    errors = [
        f"<tr><td class='number'>{status}</td><td>{_mark_code(response.get('description', ''))}</td></tr>"
        for status, response in route["responses"].items()
        if status not in ("200", "422")
    ]
    if errors:
        parts.append(f"<div class='scroll'><table><caption>Errors</caption>{''.join(errors)}</table></div>")
    return "\n".join([*parts, "</section>"])


def _build_table(
    caption: str, properties: Mapping[str, Any], schema: Mapping[str, Any], required: set[str] | None = None
) -> str:
    rows = []
    for name, one in properties.items():
        meaning = one.get("description", "")
        if required is not None and name in required:
            meaning += " Required."
        elif one.get("default") is not None:
            meaning += f" Default: {json.dumps(one['default'])}."
        rows.append(
            f"<tr><th scope='row'><code>{escape(name)}</code></th><td>{escape(_name_type(one, schema))}</td>"
            f"<td>{_mark_code(meaning)}</td></tr>"
        )
    return f"<div class='scroll'><table><caption>{caption}</caption>{''.join(rows)}</table></div>"


def _name_type(one: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """Return the type of a property in a few words."""
    if "$ref" in one:
        properties = _resolve(one, schema).get("properties", {})
        return f"{{{', '.join(properties)}}}"
    if "anyOf" in one:
        kinds = [_name_type(kind, schema) for kind in one["anyOf"] if kind.get("type") != "null"]
        return " or ".join(kinds)
    if "enum" in one:
        return " or ".join(map(str, one["enum"]))
    if "const" in one:
        return str(one["const"])
    if one.get("type") == "array":
        items = one.get("items") or {}
        return f"list of {_name_type(items, schema)}" if items else "list"
    return str(one.get("type", ""))


def _resolve(one: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Any = one
    if "$ref" in one:
        found = schema
        for name in one["$ref"].removeprefix("#/").split("/"):
            found = found[name]
    assert isinstance(found, Mapping)
    return found


def _mark_code(text: str) -> str:
    """Return text as HTML, with what stands between backticks as code."""
    return _CODE.sub(r"<code>\1</code>", escape(text, quote=False))


def _build_example(path: str, body: Mapping[str, Any]) -> str:
    values = {name: one["examples"][0] for name, one in body["properties"].items() if one.get("examples")}
    return f"curl http://127.0.0.1:5000{path} -H 'Content-Type: application/json' -d '{json.dumps(values)}'"
