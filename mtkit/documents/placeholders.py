"""What a program or a browser reads in a text: placeholders, tags, entities, escapes, addresses."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from mtkit.documents.document import Protected

_VOID = frozenset(
    ["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"]
)

# In the order in which they are tried: what contains others comes first.
_PLACEHOLDER = re.compile(
    r"""
    (?P<tag> </?(?P<name>[A-Za-z][\w:.-]*|\d+(?=\s?/?>)) (?: \s (?: "[^"<>]*" | '[^'<>]*' | [^<>"'] )* )? /?> )
    | (?P<url> \b (?: https?|ftp|mailto|file) : [^\s<>"'“”«»]* [\w/}\])&=#%] )
    | \{\{ [^{}\n]* \}\} | \{% [^{}\n]* %\}                             # {{ name }}, {% name %}
    | [$%#]\{ [^{}\s]+ \}                                               # ${name}, %{name}
    | \{ [\w.!\[\]]* (?: :[^{}\s]* )? \}                                # {}, {0}, {name}, {0:.2f}
    | \{ \w+ , \s* (?:number|date|time|spellout|ordinal|duration) (?: , [^{}]* )? \}  # {0,number}, {when, date, short}
    | (?<![\w%]) % (?!(?:hh|h|ll|l|L|q|j|z|t)?[diouxXeEfFgGaAcrspS]%) [A-Za-z_][\w.-]* % (?![\w%])  # %name%
    | %\( [^()\s]+ \) [-+#0]* \d* (?:\.\d+)? [A-Za-z]                   # %(name)s
    | (?<!\d) (?P<printf> % (?P<position>\d+\$)? [-+#0']* (?:\d+|\*)? (?:\.(?:\d+|\*))? (?:hh|h|ll|l|L|q|j|z|t)?
        [diouxXeEfFgGaAcrsSpn@] ) (?! [a-z]{3} )                         # %s, %1$s
    | (?<!\d) %% | (?<![\d%]) %L?\d{1,2} (?!\w) | (?<!\w) % [A-Z][A-Z_]{2,} (?!\w)   # %%, %1, %PRODUCTNAME
    | \$\[ \w+ \] | \$ [A-Za-z_] [\w]* (?:\.[A-Za-z_]\w*)*              # $name, $user.name
    | & (?: \#\d+ | \#x[0-9A-Fa-f]+ | [A-Za-z][\w.-]* ) ;               # &name;
    | \\ [ntr"\\]                                                       # an escape as two characters
    | (?P<blank> (?<!\s) [^\S\n]* [\n\r\t\v\f\x1c-\x1e\x85\u2028\u2029] \s* )
    """,
    re.VERBOSE,
)


def find_placeholders(text: str) -> tuple[str | Protected, ...]:
    r"""Return a text as plain stretches and protected ones.

    Protected are `%s`, `%1$s`, `%(name)s`, `%name%`, `{0}`, `{name}`, `{0,number}`, `{{ name }}`, `${name}`, `$name`,
    `&name;`, URLs, escapes such as `\n` in two characters, line breaks and tabs, and tags, `<0>` too. An opening tag
    and the closing one that belongs to it are a pair; an opening tag that is never closed, as in `Enter <name>`, is a
    word. Tags and line breaks are not shown to the model, the others are.

    Args:
        text: Of a segment.
    """
    parts: list[str | Protected] = []
    end = 0
    for match in _PLACEHOLDER.finditer(text):
        if match.start() > end:
            parts.append(text[end : match.start()])
        end = match.end()
        is_hidden = match["tag"] is not None or match["blank"] is not None
        parts.append(Protected(match[0], shown="" if is_hidden else match[0]))
    if end < len(text):
        parts.append(text[end:])
    return _pair_tags(parts)


def protect_placeholders(parts: Sequence[str | Protected]) -> tuple[str | Protected, ...]:
    """Return the parts of a segment, with what `find_placeholders` finds in the plain ones protected too."""
    pairs = {part.pair for part in parts if isinstance(part, Protected) and part.pair is not None}
    first = max(pairs, default=-1) + 1
    protected: list[str | Protected] = []
    for part in parts:
        if isinstance(part, Protected):
            protected.append(part)
            continue
        found = find_placeholders(part)
        for inner in found:
            has_pair = isinstance(inner, Protected) and inner.pair is not None
            protected.append(replace(inner, pair=first + inner.pair) if has_pair else inner)  # type: ignore[operator, type-var, union-attr]
        first += len({inner.pair for inner in found if isinstance(inner, Protected)} - {None})
    return tuple(protected)


def find_order(texts: Sequence[str]) -> list[str]:
    """Return those of some placeholders whose meaning is their order: `%s` and `%d`, not `%1$s` nor `%(name)s`."""
    matches = ((text, _PLACEHOLDER.fullmatch(text)) for text in texts)
    return [text for text, match in matches if match and match["printf"] and not match["position"]]


def _pair_tags(parts: list[str | Protected]) -> tuple[str | Protected, ...]:
    """Number the pairs of tags; what has no partner stands alone."""
    opened: list[tuple[str, int]] = []
    num_pairs = 0
    for index, part in enumerate(parts):
        if isinstance(part, str) or not (match := _PLACEHOLDER.fullmatch(part.text)) or not match["tag"]:
            continue
        name = match["name"].lower()
        if part.text.startswith("</"):
            depth = next((d for d in reversed(range(len(opened))) if opened[d][0] == name), None)
            if depth is not None:
                first = opened[depth][1]
                del opened[depth:]
                parts[first] = Protected(parts[first].text, "open", num_pairs)  # type: ignore[union-attr]
                parts[index] = Protected(part.text, "close", num_pairs)
                num_pairs += 1
        elif not part.text.endswith("/>") and name not in _VOID:
            opened.append((name, index))
    for index, part in enumerate(parts):
        if isinstance(part, Protected) and part.kind == "standalone" and part.text.startswith("<"):
            match = _PLACEHOLDER.fullmatch(part.text)
            is_opening = not part.text.startswith("</") and not part.text.endswith("/>")
            if is_opening and match and match["name"].lower() not in _VOID:
                parts[index] = replace(part, shown=part.text)
    return tuple(parts)
